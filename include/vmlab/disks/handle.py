"""An open disk: bytes in, bytes out, through its whole chain."""

import ctypes
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from vmlab.disks.core import OPEN_WRITABLE, SECTOR, DiskError, call, library

OUT_OF_RANGE = 16007


class DiskHandle:
    """A disk opened through its chain. Reads may come from several threads at once.

    Offsets and lengths are bytes; those not on sector borders are read around, and
    writes of part of a sector read the rest first (so they are not atomic among
    threads). A writable handle holds the top link's lock until it is closed.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self._what = path.name
        self._chain = ctypes.c_void_p()
        flags = OPEN_WRITABLE if writable else 0
        call("vl_chain_open", self._what, str(path).encode(), flags, ctypes.byref(self._chain))
        # Because a handle that nobody closed would keep its lock as long as the process lives.
        self._close = weakref.finalize(self, library().vl_chain_close, self._chain)
        self.writable = writable
        self.capacity: int = library().vl_chain_capacity(self._chain) * SECTOR
        self.links: int = library().vl_chain_links(self._chain)

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of ``[offset, offset + length)``."""
        first, stop = self._sectors(offset, length)
        buffer = bytearray((stop - first) * SECTOR)
        self._read_sectors(first, buffer)
        skip = offset - first * SECTOR
        return bytes(memoryview(buffer)[skip : skip + length])

    def read_into(self, offset: int, buffer: bytearray) -> None:
        """Fill ``buffer`` from ``offset``; both whole sectors."""
        first, stop = self._sectors(offset, len(buffer))
        if offset % SECTOR or len(buffer) % SECTOR:
            raise ValueError("read_into takes whole sectors only")
        if stop > first:
            self._read_sectors(first, buffer)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write ``data`` at ``offset``."""
        length = len(data)
        first, stop = self._sectors(offset, length)
        if first == stop:
            return
        head = offset - first * SECTOR
        tail = stop * SECTOR - offset - length
        whole = bytearray(stop * SECTOR - first * SECTOR)
        if head:
            whole[:SECTOR] = self.read(first * SECTOR, SECTOR)
        if tail:
            whole[-SECTOR:] = self.read((stop - 1) * SECTOR, SECTOR)
        whole[head : head + length] = data
        source = (ctypes.c_char * len(whole)).from_buffer(whole)
        call("vl_chain_write", self._what, self._open_chain(), first, stop - first, ctypes.addressof(source))

    def flush(self) -> None:
        """Bring written bytes to the disk, so that they survive a power cut."""
        call("vl_chain_flush", self._what, self._open_chain())

    def allocated(self, chunk: int = 65536) -> list[tuple[int, int]]:
        """Return (offset, length) of the allocated areas: merged, on borders of ``chunk`` bytes, cut at the end."""
        if chunk <= 0 or chunk % SECTOR:
            raise ValueError("a chunk is a positive number of whole sectors")
        sectors = self.capacity // SECTOR
        step = chunk // SECTOR
        marks = np.zeros(-(-sectors // step), dtype=np.uint8)
        call("vl_chain_allocated", self._what, self._open_chain(), 0, sectors, step, marks.ctypes.data)
        return [(start * chunk, min(stop * chunk, self.capacity) - start * chunk) for start, stop in runs(marks)]

    def close(self) -> None:
        """Close the chain's files; may be called twice."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _sectors(self, offset: int, length: int) -> tuple[int, int]:
        if offset < 0 or length < 0 or offset + length > self.capacity:
            raise DiskError(OUT_OF_RANGE, f"{self._what}: {length} bytes at {offset}")
        return offset // SECTOR, -(-(offset + length) // SECTOR) if length else offset // SECTOR

    def _read_sectors(self, first: int, buffer: bytearray) -> None:
        if buffer:
            target = (ctypes.c_char * len(buffer)).from_buffer(buffer)
            address = ctypes.addressof(target)
            call("vl_chain_read", self._what, self._open_chain(), first, len(buffer) // SECTOR, address)

    def _open_chain(self) -> ctypes.c_void_p:
        if not self._close.alive:
            raise ValueError(f"{self._what}: the handle is closed")
        return self._chain


def runs(marks: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each run of non-zero marks."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], marks != 0, [0])).astype(np.int8)))
    yield from ((start, stop) for start, stop in edges.reshape(-1, 2).tolist())
