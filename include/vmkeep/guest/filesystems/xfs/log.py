"""The log of XFS: tells whether the file system was unmounted, so that all changes are in their places.

The log is a ring of basic blocks of 512 bytes. The first word of each is the number of the pass in which it was
written, so that the place where the newest pass ends is found by bisection. An unmount writes a record of its own.
"""

from __future__ import annotations

import struct
from typing import Final

from vmkeep.guest.filesystems.volume import Volume
from vmkeep.guest.filesystems.xfs.superblock import Superblock, read_superblock
from vmkeep.model.blockio import RandomDisk

_BASIC_BLOCK: Final = 512
_MAGIC: Final = 0xFEEDBABE
_LONGEST_RECORD: Final = 256 * 1024
_UNMOUNT: Final = 0x20
_CYCLES_OF_ONE_HEADER: Final = 64


def was_unmounted(volume: Volume, found: Superblock) -> bool:
    """Return whether the last record of the log says that the file system was unmounted.

    :raises CorruptError: the log is not on the volume.
    """
    return _Log(volume, found).was_unmounted()


def xfs_was_unmounted(disk: RandomDisk, *, what: str) -> bool:
    """Return whether the log of the XFS on a disk ends with an unmount; ``False`` if the log is on another disk.

    :raises CorruptError: there is no XFS, or it contradicts itself.
    :raises UnsupportedError: it has features that are not known.
    """
    volume = Volume(disk, what=what)
    found = read_superblock(volume)
    return bool(found.log_start) and was_unmounted(volume, found)


class _Log:
    def __init__(self, volume: Volume, found: Superblock) -> None:
        self._volume = volume
        self._start = found.place(volume, found.log_start, found.log_blocks)
        self._blocks = found.log_blocks * found.block_size // _BASIC_BLOCK

    def _block(self, number: int) -> bytes:
        return self._volume.read(self._start + number % self._blocks * _BASIC_BLOCK, _BASIC_BLOCK)

    def _cycle(self, number: int) -> int:
        block = self._block(number)
        first, second = struct.unpack_from(">II", block)
        return int(second if first == _MAGIC else first)

    def was_unmounted(self) -> bool:
        head = self._head()
        for back in range(1, _LONGEST_RECORD // _BASIC_BLOCK + _CYCLES_OF_ONE_HEADER):
            block = self._block(head - back)
            if struct.unpack_from(">I", block)[0] == _MAGIC:
                return self._is_unmount(block, head - back, head)
        return False

    def _head(self) -> int:
        """Return the number of the block behind the last one that was written."""
        newest = self._cycle(0)
        if self._cycle(self._blocks - 1) == newest:
            return self._blocks
        low, high = 0, self._blocks - 1
        while low + 1 < high:
            middle = (low + high) // 2
            if self._cycle(middle) == newest:
                low = middle
            else:
                high = middle
        return high

    def _is_unmount(self, header: bytes, number: int, head: int) -> bool:
        """Return whether a record is the one of an unmount, and the last one."""
        version, length = struct.unpack_from(">II", header, 8)
        (operations,) = struct.unpack_from(">I", header, 40)
        (size,) = struct.unpack_from(">I", header, 320)
        headers = max(1, -(-size // (_CYCLES_OF_ONE_HEADER * _BASIC_BLOCK))) if version == 2 else 1
        if operations != 1 or number + headers + -(-length // _BASIC_BLOCK) != head:
            return False
        return bool(self._block(number + headers)[9] & _UNMOUNT)
