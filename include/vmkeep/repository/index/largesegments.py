"""A segment too large to be kept in memory: its filter is mapped, the rest is searched by small reads of its file.

The filter answers most look-ups that miss without a system call. Because it is mapped, all processes share one copy in
memory, and the kernel may reclaim it. It takes 2 bytes for each entry. Other columns are looked up at random. If they
were mapped, the kernel would not reclaim them while memory is free, and with an index of 18 GB a copy would grow by
gigabytes. Reads leave these columns to the page cache, and let other threads run while a disk seeks. If a file is cut
off, or another machine deletes it from an NFS folder, a read fails with an error, where a mapping would kill the
process. Because the filter is mapped all the same, this class is never given a file to which that can happen.
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
"""Prefixes that one read takes: a page of the file."""
_LEARN = 200
"""Number of look-ups after which some prefixes are kept in memory. Fewer look-ups do not pay for reading them."""
_STRIDE = 128
"""Every 128th prefix is kept: 25 MB for 400 million entries. One short read then finds the row."""
_SPARSE = 2000
"""If more than one in 2,000 entries is asked for, reading whole columns is faster than single reads."""
_TRIES = 4
"""Number of pages to read before the whole column is searched. Evenly spread digests never get that far."""


class LargeSegment(Segment):
    """A segment in a file. Only its filter is mapped; its other columns are meant for reads."""

    def __init__(self, file: int, *, start: int) -> None:
        """Lay the columns over the open ``file`` from byte ``start`` on. This object closes the file.

        :raises CorruptError: the file's length differs from the one in its header.
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
        """Yield the rows that list a digest. Does not ask the filter."""
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
        """Return the first row of a prefix, or -1. Reads one or two pages, because digests are evenly spread."""
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
        """Return the memory into which columns were mapped, except for the filter. They remain usable."""
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
