"""The state of property filters, by session and property collector: the values each client was told last.

A filter remembers the value last sent of every path, as XML, so that an answer holds only what has changed since.
"""

from dataclasses import dataclass, field
from typing import Any

Known = dict[str, tuple[Any, dict[str, str]]]
"""The values that a client was told: id → (reference, XML by path)."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """One filter: its reference, its spec, and the values that the client was told."""

    ref: Any
    spec: Any
    known: Known = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Collector:
    """The state of one property collector of one session."""

    watches: list[Watch] = field(default_factory=list)
    version: int = 0
    checked: int = -1
    cancelled: int = 0


class Collectors:
    """The state of each collector, by session cookie and collector id. Used under the world's lock."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], Collector] = {}

    def of(self, cookie: str, ref: Any) -> Collector:
        """The state of a collector; the default collector is one per session."""
        return self._states.setdefault((cookie, ref._moId), Collector())

    def forget(self, cookie: str, ref: Any = None) -> None:
        """Drop one collector's state, or all of a session's."""
        for key in [key for key in self._states if key[0] == cookie and ref in (None, key[1])]:
            del self._states[key]

    def drop_filter(self, ref: Any) -> None:
        """Drop one filter wherever it is."""
        for state in self._states.values():
            state.watches = [watch for watch in state.watches if watch.ref != ref]
