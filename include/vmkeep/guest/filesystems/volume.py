"""The disk below a file system, read for its metadata: small reads from a bounded cache, and errors that say where."""

from __future__ import annotations

from typing import Final

from vmkeep.errors import CorruptError, UnsupportedError
from vmkeep.guest.filesystems.recent import Recent
from vmkeep.model.blockio import RandomDisk

_PAGE: Final = 1 << 16
"""Bytes that are read at once."""
_PAGES: Final = 192
"""Pages that are kept: 12 MiB."""
MOST_AT_ONCE: Final = 16 << 20
"""Most bytes of one structure, e.g. of an NTFS attribute list or of a value of an extended attribute."""


class Volume:
    """A disk, partition or logical volume that holds a file system. Not thread-safe, because of the cache."""

    def __init__(self, disk: RandomDisk, *, what: str) -> None:
        """Read nothing yet.

        :param what: the volume's name, with which each message begins.
        """
        self.disk = disk
        self.capacity = disk.capacity
        self.what = what
        self._pages: Recent[int, bytes] = Recent(_PAGES)

    def read(self, start: int, length: int) -> bytes:
        """Return the bytes of a small structure.

        :raises CorruptError: a stored block is damaged, or the range is not on the volume, or is too long.
        """
        if not 0 <= start <= start + length <= self.capacity:
            raise self.damaged(f"it points at the bytes {start} to {start + length}, which are not on the volume")
        if length > MOST_AT_ONCE:
            raise self.damaged(f"a structure at byte {start} claims a length of {length} bytes")
        page = start // _PAGE
        offset = start - page * _PAGE
        if offset + length <= _PAGE:
            return self._page(page)[offset : offset + length]
        parts = [self._page(page)[offset:]]
        left = length - len(parts[0])
        while left > 0:
            page += 1
            parts.append(self._page(page)[:left])
            left -= len(parts[-1])
        return b"".join(parts)

    def _page(self, number: int) -> bytes:
        found = self._pages.get(number)
        if found is not None:
            return found
        start = number * _PAGE
        data = bytearray(min(_PAGE, self.capacity - start))
        self.disk.read_into(start, memoryview(data))
        return self._pages.put(number, bytes(data))

    def damaged(self, why: str) -> CorruptError:
        """Return the error for a structure that contradicts itself or others."""
        return CorruptError(f"{self.what}: the file system is damaged: {why}")

    def refused(self, why: str) -> UnsupportedError:
        """Return the error for a thing that is sound, but that vmkeep cannot read."""
        return UnsupportedError(f"{self.what}: {why}")
