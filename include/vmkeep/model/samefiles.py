"""Tells whether two files in restore points hold the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, GuestFileSystem
from vmkeep.model.prints import doubtful

_AT_ONCE: Final = 1 << 20
"""Bytes of each file that are read and compared together."""


def same_content(older: GuestFileSystem, before: FileEntry, newer: GuestFileSystem, after: FileEntry) -> bool:
    """Return whether two files hold the same bytes. Only those whose prints differ are read.

    :raises CorruptError: a block is damaged, or a file system contradicts itself.
    :raises UnsupportedError: one of the files cannot be read.
    """
    if before.size != after.size:
        return False
    doubts = doubtful(older.prints(before.path), newer.prints(after.path), after.size)
    first = next(doubts, None)  # a file has no bound to its ranges, so that only one is in memory
    return first is None or _read_alike(older, before, newer, after, chain([first], doubts))


def _read_alike(
    older: GuestFileSystem, before: FileEntry, newer: GuestFileSystem, after: FileEntry, doubts: Iterable[Extent]
) -> bool:
    with older.open(before.path) as old, newer.open(after.path) as new:
        for extent in doubts:
            for at in range(extent.start, extent.stop, _AT_ONCE):
                length = min(_AT_ONCE, extent.stop - at)
                parts = []
                for content in (old, new):
                    content.seek(at)
                    parts.append(content.read(length))
                if parts[0] != parts[1] or len(parts[0] or b"") != length:
                    return False
    return True
