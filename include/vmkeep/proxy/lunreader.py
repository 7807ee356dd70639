"""A LUN's block device as a disk to read, past the page cache."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from vmkeep.filereader import FileReader
from vmkeep.model.diskaccess import CallTiming
from vmkeep.model.extents import Extent, Extents
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
    def open_reader(self, extents: Sequence[Extent], *, piece_size: int, depth: int) -> Iterator[FileReader]:
        """Read ``extents``; see :class:`vmkeep.model.blockio.DiskSource`."""
        reader = FileReader(
            self._lun.file,
            f"LUN {self._lun.name}: {self._lun.path}",
            extents,
            piece_size=piece_size,
            buffers=depth + (os.cpu_count() or 1),
            sector=self._lun.sector,
            told=self._times.add,
        )
        try:
            yield reader
        finally:
            reader.close()
