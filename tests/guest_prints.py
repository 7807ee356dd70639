"""Disks that know the digests of their blocks, as one of a restore point does."""

from __future__ import annotations

import hashlib
from typing import Final

from vmkeep.model.blockio import RandomDisk
from vmkeep.model.extents import Extent
from vmkeep.model.prints import ZEROS, Print, Prints

BLOCK: Final = 4096


class Printed:
    """A disk whose blocks have prints; see :class:`vmkeep.model.prints.PrintedDisk`."""

    def __init__(self, disk: RandomDisk) -> None:
        self.capacity, self.read_into, self.extents = disk.capacity, disk.read_into, disk.extents

    def block(self, first: int) -> bytes:
        """Return the block that begins at an offset."""
        block = bytearray(min(BLOCK, self.capacity - first))
        self.read_into(first, memoryview(block))
        return bytes(block)

    def prints(self, start: int, stop: int) -> Prints:
        at = start
        while at < stop:
            first = at // BLOCK * BLOCK
            end = min(stop, first + BLOCK)
            block = self.block(first)
            is_zeros = block == bytes(len(block))
            yield Extent(at, end), ZEROS if is_zeros else Print(hashlib.sha256(block).digest(), at - first)
            at = end
