"""Reads a LUN's block device in pieces, several threads at once, past the page cache."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from vmkeep.errors import TransferError
from vmkeep.model.diskaccess import CallTiming
from vmkeep.model.extents import Extent, Extents, split
from vmkeep.model.lun import DRIVER
from vmkeep.proxy.lundevice import OpenLun


class ReadTimes:
    """The times of the reads of one process, for the table of calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls, self._bytes = 0, 0
        self._seconds, self._longest = 0.0, 0.0

    def add(self, seconds: float, count: int) -> None:
        """Count one read."""
        with self._lock:
            self._calls += 1
            self._bytes += count
            self._seconds += seconds
            self._longest = max(self._longest, seconds)

    def row(self) -> CallTiming:
        """Return the sums."""
        with self._lock:
            return CallTiming(
                name="preadv", calls=self._calls, seconds=self._seconds, longest=self._longest, bytes=self._bytes
            )


class LunPiece:
    """A piece of the LUN, in one of the reader's buffers."""

    __slots__ = ("_buffer", "_free", "data", "start")

    def __init__(self, start: int, data: memoryview, buffer: memoryview, free: SimpleQueue[memoryview | None]) -> None:
        self.start = start
        self.data = data
        self._buffer = buffer
        self._free = free

    def release(self) -> None:
        """Give the buffer back. Call it exactly once."""
        self._free.put(self._buffer)


class LunReader:
    """A running read. Each worker reads by itself into a buffer of the pool."""

    def __init__(
        self, lun: OpenLun, extents: Sequence[Extent], times: ReadTimes, *, piece_size: int, buffers: int
    ) -> None:
        self._lun = lun
        self._times = times
        self._pieces = split(extents, piece_size)
        self._lock = threading.Lock()
        self._closed = False
        self._free: SimpleQueue[memoryview | None] = SimpleQueue()
        for _ in range(buffers):
            # A page of its own each, because direct reads need an aligned buffer, and room for the sectors at the ends.
            self._free.put(memoryview(mmap.mmap(-1, piece_size + 2 * lun.sector)))

    def next_piece(self) -> LunPiece | None:
        """Return the next piece; ``None``: the end is reached, or the reader is closed."""
        buffer = self._free.get()
        if buffer is None:
            self._free.put(None)
            return None
        with self._lock:
            extent = None if self._closed else next(self._pieces, None)
        if extent is None:
            self._free.put(buffer)
            return None
        sector = self._lun.sector
        first = extent.start // sector * sector
        self._fill(buffer[: -(-extent.stop // sector) * sector - first], first)
        return LunPiece(extent.start, buffer[extent.start - first : extent.stop - first], buffer, self._free)

    def _fill(self, window: memoryview, start: int) -> None:
        done = 0
        while done < len(window):
            began = time.monotonic()
            try:
                count = os.preadv(self._lun.file, [window[done:]], start + done)
            except OSError as error:
                raise TransferError(
                    f"LUN {self._lun.name}: {self._lun.path} cannot be read at byte {start + done}: {error.strerror}"
                ) from error
            if not count:
                raise TransferError(f"LUN {self._lun.name}: {self._lun.path} became shorter while it was read")
            self._times.add(time.monotonic() - began, count)
            done += count

    def close(self) -> None:
        """Release all threads that wait for a piece."""
        with self._lock:
            self._closed = True
        self._free.put(None)


class LunSource:
    """A LUN as a disk to read. Nothing tells which parts of it hold data."""

    transport = DRIVER

    def __init__(self, lun: OpenLun, times: ReadTimes) -> None:
        self.capacity = lun.capacity
        self._lun = lun
        self._times = times

    def allocated(self) -> Extents | None:
        """Return ``None``: it cannot be known."""
        return None

    @contextmanager
    def open_reader(self, extents: Sequence[Extent], *, piece_size: int, depth: int) -> Iterator[LunReader]:
        """Read ``extents``; see :class:`vmkeep.model.blockio.DiskSource`."""
        buffers = depth + (os.cpu_count() or 1)
        reader = LunReader(self._lun, extents, self._times, piece_size=piece_size, buffers=buffers)
        try:
            yield reader
        finally:
            reader.close()
