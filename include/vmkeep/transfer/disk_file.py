"""A disk as a file that can be read and sought, for programs that read file systems."""

from __future__ import annotations

import io
import os

from vmkeep.model.blockio import RandomDisk


class DiskFile(io.RawIOBase):
    """A read-only file over a disk. Each has its own position, so every thread takes one of its own.

    Wrap it in :class:`io.BufferedReader` for many small reads.
    """

    def __init__(self, disk: RandomDisk) -> None:
        super().__init__()
        self._disk = disk
        self._at = 0

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def seekable(self) -> bool:
        """Return ``True``."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position, also beyond the end, and return it.

        :raises ValueError: the position would be below 0, or ``whence`` is unknown.
        """
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise ValueError(f"whence {whence} is not supported")
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._disk.capacity}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} is before the start of the disk")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill a buffer from the position on, up to the end of the disk; return the number of bytes.

        :raises CorruptError: a stored block is damaged.
        """
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._disk.capacity - self._at))
        if length:
            self._disk.read_into(self._at, view[:length])
        self._at += length
        return length
