"""Reads any image whose bytes can be asked for in any order, in pieces and by several threads at once."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from vmkeep.filereader import FilePiece
from vmkeep.model.extents import Extent, split


class PieceReader:
    """A running read. Each worker fills one buffer of the pool by itself.

    :param fill: fills a buffer with the disk's bytes from an offset on. Thread-safe.
    :param buffers: number of buffers.
    """

    def __init__(
        self, fill: Callable[[int, memoryview], None], extents: Sequence[Extent], *, piece_size: int, buffers: int
    ) -> None:
        self._fill = fill
        self._pieces = split(extents, piece_size)
        self._lock = threading.Lock()
        self._closed = False
        self._free: SimpleQueue[memoryview | None] = SimpleQueue()
        for _ in range(buffers):
            self._free.put(memoryview(mmap.mmap(-1, piece_size)))

    def next_piece(self) -> FilePiece | None:
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
        data = buffer[: extent.length]
        self._fill(extent.start, data)
        return FilePiece(extent.start, data, buffer, self._free)

    def close(self) -> None:
        """Release all threads that wait for a piece."""
        with self._lock:
            self._closed = True
        self._free.put(None)


@contextmanager
def read_pieces(
    fill: Callable[[int, memoryview], None], extents: Sequence[Extent], *, piece_size: int, depth: int
) -> Iterator[PieceReader]:
    """Read extents as :meth:`vmkeep.model.blockio.DiskSource.open_reader` promises it."""
    reader = PieceReader(fill, extents, piece_size=piece_size, buffers=depth + (os.cpu_count() or 1))
    try:
        yield reader
    finally:
        reader.close()
