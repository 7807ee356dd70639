"""Reads a file or a block device in pieces, several threads at once."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue

from vmkeep.errors import TransferError
from vmkeep.model.extents import Extent, split


class FilePiece:
    """A piece of the file, in one of the reader's buffers."""

    __slots__ = ("_buffer", "_free", "data", "start")

    def __init__(self, start: int, data: memoryview, buffer: memoryview, free: SimpleQueue[memoryview | None]) -> None:
        self.start = start
        self.data = data
        self._buffer = buffer
        self._free = free

    def release(self) -> None:
        """Give the buffer back. Call it exactly once."""
        self._free.put(self._buffer)


class FileReader:
    """A running read. Each worker reads by itself into a buffer of the pool.

    :param name: names the file in errors.
    :param buffers: number of buffers; each is aligned to a page, as direct reads need it.
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
        self._file = file
        self._name = name
        self._pieces = split(extents, piece_size)
        self._sector = sector
        self._ahead = ahead
        self._told = told
        self._lock = threading.Lock()
        self._closed = False
        self._free: SimpleQueue[memoryview | None] = SimpleQueue()
        room = piece_size + (2 * sector if sector > 1 else 0)
        for _ in range(buffers):
            self._free.put(memoryview(mmap.mmap(-1, room)))

    def next_piece(self) -> FilePiece | None:
        """Return the next piece; ``None``: the end is reached, or the reader is closed.

        :raises TransferError: the file cannot be read, or has become shorter.
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
        if self._ahead:
            with suppress(OSError):  # because this is only advice to the kernel
                os.posix_fadvise(self._file, extent.stop, self._ahead, os.POSIX_FADV_WILLNEED)
        first = extent.start // self._sector * self._sector
        self._fill(buffer[: -(-extent.stop // self._sector) * self._sector - first], first)
        return FilePiece(extent.start, buffer[extent.start - first : extent.stop - first], buffer, self._free)

    def _fill(self, data: memoryview, start: int) -> None:
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

    def close(self) -> None:
        """Release all threads that wait for a piece."""
        with self._lock:
            self._closed = True
        self._free.put(None)
