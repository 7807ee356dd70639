"""The blocks of a file: by extents, as ext4 keeps them, or by block maps, as ext2 and ext3 do."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.content import Run
from vmkeep.guest.filesystems.ext.inodes import USES_EXTENTS, Inode
from vmkeep.guest.filesystems.ext.superblock import Superblock
from vmkeep.guest.filesystems.volume import Volume

_MAGIC: Final = 0xF30A
_DEEPEST: Final = 5
_HEADER: Final = struct.Struct("<HHHHI")
_INDEX: Final = struct.Struct("<IIHH")
_LEAF: Final = struct.Struct("<IHHI")
_LONGEST: Final = 1 << 15
"""Blocks of an extent; a larger number says that it is allocated, but not written."""
_DIRECT: Final = 12
_AT_ONCE: Final = 1 << 24
"""Bytes of the longest run that block maps are joined to."""


class Mapper:
    """Finds the blocks of the files of one file system."""

    def __init__(self, volume: Volume, found: Superblock) -> None:
        self._volume = volume
        self._found = found

    def runs(self, inode: Inode, offset: int = 0) -> Iterator[Run]:
        """Yield the runs of a file in order, from the one that holds a byte on. Holes have none.

        :raises CorruptError: the tree of extents or a block map contradicts itself.
        """
        first = offset // self._found.block_size
        if inode.flags & USES_EXTENTS:
            yield from self._in_order(inode, self._tree(inode, inode.area, first, None))
        else:
            yield from self._joined(inode, self._mapped(inode, first))

    def _run(self, block: int, count: int, place: int | None) -> Run:
        size = self._found.block_size
        return Run(block * size, count * size, None if place is None else place * size)

    def _in_order(self, inode: Inode, runs: Iterator[Run]) -> Iterator[Run]:
        """Refuse extents that go back, because such a tree may be endless."""
        at = 0
        for run in runs:
            if run.start < at:
                raise self._wrong(inode, f"the extent at byte {run.start} lies before its forerunner's end")
            at = run.start + run.length
            yield run

    def _tree(self, inode: Inode, node: bytes, first: int, depth: int | None) -> Iterator[Run]:
        magic, entries, most, level, _ = _HEADER.unpack_from(node)
        if magic != _MAGIC or entries > most or most > (len(node) - 12) // 12:
            raise self._wrong(inode, "a node of its extents has a wrong header")
        if level > _DEEPEST or (depth is not None and level != depth):
            raise self._wrong(inode, f"a node of its extents is on level {level}")
        if not level:
            yield from self._leaf(inode, node, entries, first)
            return
        starts = [_INDEX.unpack_from(node, 12 + 12 * at) for at in range(entries)]
        last = -1
        for at, (block, low, high, _) in enumerate(starts):
            if block <= last and at:
                raise self._wrong(inode, "the nodes of its extents are out of order")
            last = block
            if at + 1 < entries and starts[at + 1][0] <= first:
                continue
            yield from self._tree(inode, self._block(inode, low | high << 32), first, level - 1)

    def _leaf(self, inode: Inode, node: bytes, entries: int, first: int) -> Iterator[Run]:
        for at in range(entries):
            block, count, high, low = _LEAF.unpack_from(node, 12 + 12 * at)
            unwritten = count > _LONGEST
            length = count - _LONGEST if unwritten else count
            if not length:
                raise self._wrong(inode, "an extent has no blocks")
            if block + length <= first:
                continue
            place = low | high << 32
            if not 0 < place <= place + length <= self._found.blocks:
                raise self._wrong(inode, f"an extent lies in the blocks {place} to {place + length}")
            yield self._run(block, length, None if unwritten else place)

    def _block(self, inode: Inode, number: int) -> bytes:
        if not 0 < number < self._found.blocks:
            raise self._wrong(inode, f"it names the block {number}, which is not on the volume")
        return self._volume.read(number * self._found.block_size, self._found.block_size)

    def _mapped(self, inode: Inode, first: int) -> Iterator[tuple[int, int]]:
        """Yield pairs of a block of the file and its block on the disk."""
        numbers = struct.unpack("<15I", inode.area)
        for at in range(first, _DIRECT):
            if numbers[at]:
                yield at, numbers[at]
        per_block = self._found.block_size // 4
        start = _DIRECT
        for level in (1, 2, 3):
            covers = per_block**level
            if numbers[_DIRECT + level - 1] and first < start + covers:
                yield from self._indirect(inode, numbers[_DIRECT + level - 1], level, start, first)
            start += covers

    def _indirect(self, inode: Inode, block: int, level: int, start: int, first: int) -> Iterator[tuple[int, int]]:
        per_block = self._found.block_size // 4
        covers = per_block ** (level - 1)
        numbers = struct.unpack(f"<{per_block}I", self._block(inode, block))
        if start * self._found.block_size > inode.size:
            return
        for at in range(max(0, (first - start) // covers), per_block):
            if not numbers[at]:
                continue
            below = start + at * covers
            if below * self._found.block_size >= inode.size:
                return
            if level == 1:
                yield below, numbers[at]
            else:
                yield from self._indirect(inode, numbers[at], level - 1, below, first)

    def _joined(self, inode: Inode, pairs: Iterator[tuple[int, int]]) -> Iterator[Run]:
        longest = _AT_ONCE // self._found.block_size
        start = place = count = 0
        for block, number in pairs:
            if number >= self._found.blocks:
                raise self._wrong(inode, f"it names the block {number}, which is not on the volume")
            if count and count < longest and block == start + count and number == place + count:
                count += 1
                continue
            if count:
                yield self._run(start, count, place)
            start, place, count = block, number, 1
        if count:
            yield self._run(start, count, place)

    def _wrong(self, inode: Inode, why: str) -> Exception:
        return self._volume.damaged(f"the inode {inode.number}: {why}")
