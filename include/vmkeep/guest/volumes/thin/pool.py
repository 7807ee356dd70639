"""Reads the metadata of a thin pool (``drivers/md/dm-thin-metadata.c``).

The superblock is block 0. It names the roots of two trees. One leads from the number of a thin volume to a tree of its
own, and that one from a block of the volume to a block of the pool: 40 bits, above 24 bits of time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.guest.crc32c import crc32c
from vmkeep.guest.volumes.thin.btree import Nodes, find, walk
from vmkeep.model.blockio import RandomDisk

_SUPERBLOCK: Final = struct.Struct("<IIQ16sQIIQQ128s128sQQIIQIII")
_SALT: Final = 160774
_MAGIC: Final = 27022010
_VERSIONS: Final = (1, 2)
_NEEDS_CHECK: Final = 0x1
_SECTOR: Final = 512
_TIME_BITS: Final = 24
_METADATA_SECTORS: Final = 8
_CHUNK_UNIT: Final = 64 << 10
_LARGEST_CHUNK: Final = 1 << 30


class ThinPool:
    """A thin pool: the metadata, and the disk with the blocks. Thread-safe."""

    def __init__(self, metadata: RandomDisk, data: RandomDisk, *, what: str) -> None:
        """Read the superblock.

        :param what: the pool's name in errors, e.g. ``vg0/pool``.
        :raises CorruptError: the metadata contradict themselves, or a block of them is damaged.
        """
        self.what = what
        self.data = data
        self._nodes = Nodes(metadata, what=what)
        raw = self._nodes.block(0)
        checksum, flags, own, _, magic, version, _, transaction, *rest = _SUPERBLOCK.unpack_from(raw)
        _, _, _, root, _, chunk, block, _, _, _, incompatible = rest
        if magic != _MAGIC or own != 0:
            raise self._nodes.wrong("there is no superblock of a thin pool")
        if checksum != crc32c(memoryview(raw)[4:]) ^ _SALT:
            raise self._nodes.wrong("the checksum of the superblock is wrong")
        if version not in _VERSIONS or incompatible or block != _METADATA_SECTORS:
            raise self._nodes.wrong(f"version {version} with features {incompatible:#x} is not known")
        self.chunk = chunk * _SECTOR
        """Bytes of a block of the pool."""
        if not _CHUNK_UNIT <= self.chunk <= _LARGEST_CHUNK or self.chunk % _CHUNK_UNIT:
            raise self._nodes.wrong(f"its blocks have {self.chunk} bytes")
        self.transaction = int(transaction)
        """Number of the last change of LVM's that the pool knows."""
        self.needs_check = bool(flags & _NEEDS_CHECK)
        """Whether the guest found its metadata damaged, and has not had them repaired."""
        self._root = int(root)

    def require(self, device: int) -> int:
        """Return the root of a thin volume's tree.

        :raises CorruptError: the pool has no such volume, or the metadata contradict themselves.
        """
        value = find(self._nodes, self._root, device)
        if value is None:
            raise CorruptError(f"{self.what}: the pool knows no thin volume of number {device}")
        return int.from_bytes(value[:8], "little")

    def runs(self, root: int, first: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield the mapped blocks of a thin volume in a range: first block, first block in the pool, and their number.

        Neighbours that are neighbours in the pool are one run.

        :raises CorruptError: the metadata contradict themselves.
        """
        held: tuple[int, int, int] | None = None
        most = -(-self.data.capacity // self.chunk)
        for block, value in walk(self._nodes, root, first, stop):
            place = int.from_bytes(value[:8], "little") >> _TIME_BITS
            if place >= most:
                raise self._nodes.wrong(f"block {place} lies beyond the pool's end")
            if held is not None and block == held[0] + held[2] and place == held[1] + held[2]:
                held = held[0], held[1], held[2] + 1
                continue
            if held is not None:
                yield held
            held = block, place, 1
        if held is not None:
            yield held
