"""The disks that a server offers, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk
from vmkeep.nbd.wire import Abilities


class WritableDisk(RandomDisk, Protocol):
    """A disk that can be read and written anywhere, by many threads."""

    def write(self, start: int, data: memoryview) -> None:
        """Write bytes. ``data`` may be reused when this returns.

        :raises OSError: there is no room (``ENOSPC``).
        """

    def write_zeroes(self, start: int, length: int) -> None:
        """Make a range read as zeros."""

    def discard(self, start: int, length: int) -> None:
        """Take a range for unneeded: it may read as anything from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A disk under the name by which clients ask for it."""

    name: str
    description: str
    """For people: which disk of which restore point this is."""
    disk: RandomDisk
    writable: WritableDisk | None = None
    """The same disk, if clients may write to it."""

    def abilities(self, *, structured: bool) -> Abilities:
        """Return the flags that tell a client which requests it may send.

        :param structured: the client takes replies in chunks.
        """
        # Several connections see one disk and one overlay, so a client may spread its requests over them.
        able = Abilities.HAS_FLAGS | Abilities.MULTI_CONN | Abilities.CACHE
        if structured:
            able |= Abilities.DF
        if self.writable is None:
            return able | Abilities.READ_ONLY
        return able | Abilities.FLUSH | Abilities.FUA | Abilities.TRIM | Abilities.WRITE_ZEROES


class Exports:
    """The exports of one server. The first is also the one that a client gets if it names none."""

    def __init__(self, exports: Sequence[Export]) -> None:
        """:raises ValueError: there is none, or two have one name."""
        self._by_name = {export.name: export for export in exports}
        if not exports or len(self._by_name) < len(exports):
            raise ValueError("a server needs exports with names of their own")

    def __iter__(self) -> Iterator[Export]:
        """Yield the exports in their order."""
        return iter(self._by_name.values())

    def find(self, name: str) -> Export | None:
        """Return the export of a name; an empty name: the first one."""
        return self._by_name.get(name) if name else next(iter(self._by_name.values()))
