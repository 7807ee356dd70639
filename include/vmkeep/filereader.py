"""Reads a file, a block device or anything else that has extents in pieces, several threads at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import LifoQueue

from vmkeep.errors import TransferError
from vmkeep.model.extents import Extent, split
from vmkeep.ownmemory import own_memory


class FilePiece:
    """A piece of what is read, in one of the reader's buffers."""

    __slots__ = ("_buffer", "_free", "data", "start")

    def __init__(self, start: int, data: memoryview, buffer: memoryview, free: LifoQueue[memoryview | None]) -> None:
        self.start = start
        self.data = data
        self._buffer = buffer
        self._free = free

    def release(self) -> None:
        """Give the buffer back. Call it exactly once."""
        self._free.put(self._buffer)


class PieceReader:
    """A running read. Each worker fills one buffer of the pool by itself.

    :param fill: fills a buffer with the bytes of an extent, and returns the part of the buffer that holds them.
        Thread-safe.
    :param buffers: number of buffers; each is aligned to a page, as direct reads need it.
    :param room: bytes of a buffer; at least ``piece_size``.
    """

    def __init__(
        self,
        fill: Callable[[Extent, memoryview], memoryview],
        extents: Sequence[Extent],
        *,
        piece_size: int,
        buffers: int,
        room: int,
    ) -> None:
        self._fill = fill
        self._pieces = split(extents, piece_size)
        self._lock = threading.Lock()
        self._closed = False
        self._free: LifoQueue[memoryview | None] = LifoQueue()  # because a core's cache has the last one
        for _ in range(buffers):
            self._free.put(memoryview(own_memory(room)))

    def next_piece(self) -> FilePiece | None:
        """Return the next piece; ``None``: the end is reached, or the reader is closed.

        :raises TransferError: the source cannot be read.
        """
        buffer = self._free.get()
        if buffer is None:
            self._free.put(None)
            return None
        with self._lock:
            extent = None if self._closed else next(self._pieces, None)
        if extent is None:
            self._free.put(buffer)
            return None
        return FilePiece(extent.start, self._fill(extent, buffer), buffer, self._free)

    def close(self) -> None:
        """Release all threads that wait for a piece."""
        with self._lock:
            self._closed = True
        self._free.put(None)


class FileReader(PieceReader):
    """A running read of a file or a block device.

    :param name: names the file in errors.
    :param sector: the reads begin and end at multiples of these bytes.
    :param ahead: bytes after each piece that the kernel is asked to read, too.
    :param told: gets the seconds and bytes of each read.
    """

    def __init__(
        self,
        file: int,
        name: str,
        extents: Sequence[Extent],
        *,
        piece_size: int,
        buffers: int,
        sector: int = 1,
        ahead: int = 0,
        told: Callable[[float, int], None] | None = None,
    ) -> None:
        room = piece_size + (2 * sector if sector > 1 else 0)
        super().__init__(self._read, extents, piece_size=piece_size, buffers=buffers, room=room)
        self._file = file
        self._name = name
        self._sector = sector
        self._ahead = ahead
        self._told = told

    def _read(self, extent: Extent, buffer: memoryview) -> memoryview:
        if self._ahead:
            with suppress(OSError):  # because this is only advice to the kernel
                os.posix_fadvise(self._file, extent.stop, self._ahead, os.POSIX_FADV_WILLNEED)
        first = extent.start // self._sector * self._sector
        self._read_at(first, buffer[: -(-extent.stop // self._sector) * self._sector - first])
        return buffer[extent.start - first : extent.stop - first]

    def _read_at(self, start: int, data: memoryview) -> None:
        done = 0
        while done < len(data):
            began = time.monotonic()
            try:
                count = os.preadv(self._file, [data[done:]], start + done)
            except OSError as error:
                raise TransferError(f"{self._name}: cannot read at byte {start + done}: {error.strerror}") from error
            if not count:
                raise TransferError(f"{self._name}: became shorter while it was read")
            if self._told is not None:
                self._told(time.monotonic() - began, count)
            done += count
