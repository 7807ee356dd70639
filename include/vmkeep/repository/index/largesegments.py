"""A segment too large to be kept in memory: its filter is mapped, all else is searched by small reads of its file.

The filter answers most look-ups that miss, without a system call. Mapped, it is in memory once for all processes, the
kernel may take it back, and it grows to 2 bytes for an entry. Other columns, mapped and looked up at random, would
never be given back while memory is free: over an index of 18 GB a copy would grow by gigabytes. Reads leave them to
the page cache, let other threads run while a disk seeks, and fail with an error where a mapping kills the process:
when a file is cut off, or deleted from an NFS folder by another machine. So no such file is given to this class.
"""

from __future__ import annotations

import mmap
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from weakref import finalize

from vmkeep.errors import CorruptError, StoreError
from vmkeep.repository.index.layout import PACK_ROW, PREFIX_SIZE, REST_SIZE
from vmkeep.repository.index.segments import Segment

_ROWS = 512
"""Prefixes that are read at once: a page of the file."""
_LEARN = 200
"""Look-ups after which some of the prefixes are kept in memory; few look-ups are not worth reading them."""
_STRIDE = 128
"""Every 128th prefix is kept: 25 MB for 400 million entries, and one short read finds the row."""
_SPARSE = 2000
"""If more than one in 2,000 entries is asked for, reading whole columns takes less time than single reads."""
_TRIES = 4
"""Pages that are read before all of the column is searched, which digests do not need."""


class LargeSegment(Segment):
    """A segment in a file, which is mapped for the filter, and to be taken as a whole."""

    def __init__(self, file: int, *, start: int) -> None:
        """Lay the columns over the open ``file`` from byte ``start`` on; the file is ours to close.

        :raises CorruptError: the file has another length than its header says.
        """
        finalize(self, os.close, file)
        self._file = file
        self._asked = 0
        self._fences: array[int] | None = None
        self._mapping = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
        super().__init__(memoryview(self._mapping)[start:])
        self._numbers_at = start + len(self.content) - 12 * self.entries
        self._table_at = self._numbers_at - PACK_ROW.size * self.packs
        self._rests_at = self._table_at - REST_SIZE * self.entries
        self._prefixes_at = self._rests_at - PREFIX_SIZE * self.entries
        self.few = max(Segment.few, self.entries // _SPARSE)

    def rows_at(self, prefix: int, digest: bytes) -> Iterator[int]:
        """Yield the rows that list a digest; the filter is not asked."""
        row = self.row_at(prefix, digest) if self.entries else -1
        while 0 <= row < self.entries and self.prefixes[row] == prefix:
            if self.rests[row * REST_SIZE : (row + 1) * REST_SIZE] == digest[PREFIX_SIZE:]:
                yield row
            row += 1

    def row_at(self, prefix: int, digest: bytes) -> int:
        """Return the first row that lists a digest, or -1."""
        row = self._first(prefix)
        while row >= 0 and self._read(self._rests_at + row * REST_SIZE, REST_SIZE) != digest[PREFIX_SIZE:]:
            row += 1
            if row == self.entries or self.prefixes[row] != prefix:
                row = -1
        return row

    def _first(self, prefix: int) -> int:
        """Return the first row of a prefix, or -1."""
        if (fences := self._fences) is None:
            self._asked += 1
            if self._asked <= _LEARN:
                return self._guessed(prefix)
            fences = self._fences = array("Q", self.prefixes[::_STRIDE].tobytes())
            self.release()
        number = max(0, bisect_left(fences, prefix) - 1)
        low, rows = number * _STRIDE, min(_STRIDE, self.entries - number * _STRIDE)
        page = memoryview(self._read(self._prefixes_at + PREFIX_SIZE * low, PREFIX_SIZE * rows)).cast("Q")
        at = bisect_left(page, prefix)
        if at == rows:
            return low + at if number + 1 < len(fences) and fences[number + 1] == prefix else -1
        return low + at if page[at] == prefix else -1

    def _guessed(self, prefix: int) -> int:
        """Return the first row of a prefix, or -1: one or two pages are read, for digests are evenly spread."""
        guess, rows = int((prefix - self.first) * self._slope), min(_ROWS, self.entries)
        for _ in range(_TRIES):
            low = max(0, min(guess - rows // 2, self.entries - rows))
            page = memoryview(self._read(self._prefixes_at + PREFIX_SIZE * low, PREFIX_SIZE * rows)).cast("Q")
            if low and page[0] >= prefix:
                guess = low + int((prefix - page[0]) * self._slope)
            elif low + rows < self.entries and page[-1] < prefix:
                guess = low + rows + int((prefix - page[-1]) * self._slope)
            else:
                at = bisect_left(page, prefix)
                return low + at if at < rows and page[at] == prefix else -1
        row = bisect_left(self.prefixes, prefix)
        return row if row < self.entries and self.prefixes[row] == prefix else -1

    def release(self) -> None:
        """Give the memory back into which columns were mapped, but for the filter; they can be used as before."""
        start = -(-self._prefixes_at // mmap.PAGESIZE) * mmap.PAGESIZE
        if start < len(self._mapping):
            self._mapping.madvise(mmap.MADV_DONTNEED, start, len(self._mapping) - start)

    def _numbers(self, row: int) -> tuple[int, int, int]:
        at, column = self._numbers_at + 4 * row, 4 * self.entries
        places = b"".join((self._read(at, 4), self._read(at + column, 4), self._read(at + 2 * column, 4)))
        number, offset, length = memoryview(places).cast("I")
        return number, offset, length

    def _pack(self, number: int) -> bytes:
        return self._read(self._table_at + PACK_ROW.size * number, PACK_ROW.size)

    def _read(self, at: int, length: int) -> bytes:
        try:
            data = os.pread(self._file, length, at)
        except OSError as error:
            raise StoreError(f"index segment cannot be read: {error.strerror}") from error
        if len(data) != length:
            raise CorruptError("index segment was cut off while it was in use")
        return data
