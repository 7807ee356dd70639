"""A disk as it would be after the replay of its journal. Nothing is written."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Final

from vmkeep.guest.filesystems.ext.journal import Copy
from vmkeep.model.blockio import RandomDisk
from vmkeep.model.extents import Extent
from vmkeep.model.prints import Prints, prints_around

_MAGIC: Final = struct.pack(">I", 0xC03B3998)


class ReplayedDisk:
    """A disk under the newest blocks of its journal; see :class:`vmkeep.model.blockio.RandomDisk`."""

    def __init__(self, disk: RandomDisk, copies: Mapping[int, Copy], places: list[int], *, block_size: int) -> None:
        """Lay the copies over a disk.

        :param places: byte offset on the disk of each block of the journal.
        """
        self.capacity = disk.capacity
        self._disk = disk
        self._copies = copies
        self._blocks = sorted(copies)
        self._places = places
        self._size = block_size

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from an offset on. Thread-safe."""
        self._disk.read_into(start, buffer)
        stop = start + len(buffer)
        at = bisect_left(self._blocks, start // self._size)
        while at < len(self._blocks) and (place := self._blocks[at] * self._size) < stop:
            self._lay_over(buffer, start, place, self._copies[self._blocks[at]])
            at += 1

    def _lay_over(self, buffer: memoryview, start: int, place: int, copy: Copy) -> None:
        block = bytearray(self._size)
        self._disk.read_into(self._places[copy.block], memoryview(block))
        if copy.escaped:
            block[: len(_MAGIC)] = _MAGIC
        low, high = max(start, place), min(start + len(buffer), place + self._size)
        buffer[low - start : high - start] = block[low - place : high - place]

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        """Yield the neighbouring extents that cover a range. A block of the journal may hold data."""
        for extent, data in self._disk.extents(start, stop):
            if data:
                yield extent, True
            else:
                yield from self._split(extent)

    def prints(self, start: int, stop: int) -> Prints:
        """Yield the neighbouring extents that cover a range, each with its print. No block of the journal has one."""
        return prints_around(self._disk, start, stop, self._blocks, self._size)

    def _split(self, hole: Extent) -> Iterator[tuple[Extent, bool]]:
        at = hole.start
        index = bisect_left(self._blocks, hole.start // self._size)
        while index < len(self._blocks) and (place := self._blocks[index] * self._size) < hole.stop:
            if place > at:
                yield Extent(at, place), False
            stop = min(hole.stop, place + self._size)
            yield Extent(max(at, place), stop), True
            at = stop
            index += 1
        if at < hole.stop:
            yield Extent(at, hole.stop), False
