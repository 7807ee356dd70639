"""What each client waits for: the state of property filters, by session and property collector.

A filter remembers the value last sent of every path, as XML, so that an answer holds only what has changed since.
"""

from dataclasses import dataclass, field
from typing import Any

Known = dict[str, tuple[Any, dict[str, str]]]
"""What a client has been told: id → (reference, XML by path)."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """One filter: its reference, its spec, what was told."""

    ref: Any
    spec: Any
    known: Known = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Collector:
    """The waiting state of one property collector of one session."""

    watches: list[Watch] = field(default_factory=list)
    version: int = 0
    checked: int = -1
    cancelled: int = 0


class Collectors:
    """Waiting states by session cookie and collector id; used under the world's lock."""

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
