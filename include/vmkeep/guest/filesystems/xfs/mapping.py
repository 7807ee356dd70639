"""The blocks of a fork: a list of extents in the inode, or a B+tree of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from vmkeep.guest.filesystems.content import Run
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.guest.filesystems.xfs.inodes import BTREE, EXTENTS, Fork
from vmkeep.guest.filesystems.xfs.superblock import Superblock

_EXTENT: Final = 16
_DEEPEST: Final = 10
_MAGICS: Final = {4: b"BMAP", 5: b"BMA3"}
_HEADERS: Final = {4: 24, 5: 72}


class Mapper:
    """Finds the blocks of the forks of one file system."""

    def __init__(self, volume: Volume, found: Superblock) -> None:
        self._volume = volume
        self._found = found

    def runs(self, fork: Fork, offset: int = 0) -> Iterator[Run]:
        """Yield the runs of a fork in order, from the one that holds a byte on. Holes have none.

        :raises CorruptError: the extents contradict themselves.
        """
        if fork.format == EXTENTS:
            if fork.extents * _EXTENT > len(fork.room):
                raise self._wrong(fork, f"it has {fork.extents} extents, but no room for them")
            found = self._records(fork, fork.room[: fork.extents * _EXTENT])
        elif fork.format == BTREE:
            found = self._tree(fork, offset // self._found.block_size)
        else:
            raise self._wrong(fork, f"its content has the unknown format {fork.format}")
        at = 0
        for run in found:
            if run.start < at:
                raise self._wrong(fork, f"the extent at byte {run.start} lies before its forerunner's end")
            at = run.start + run.length
            if at > offset:
                yield run

    def read(self, fork: Fork, start: int, length: int) -> bytes:
        """Return bytes of a fork that must not have a hole there.

        :raises CorruptError: they are missing.
        """
        parts = []
        at = start
        for run in self.runs(fork, start):
            if run.start > at or run.place is None or at == start + length:
                break
            count = min(start + length, run.start + run.length) - at
            parts.append(self._volume.read(run.place + at - run.start, count))
            at += count
        if at < start + length:
            raise self._wrong(fork, f"the bytes {at} to {start + length} of it are missing")
        return b"".join(parts)

    def _records(self, fork: Fork, records: bytes) -> Iterator[Run]:
        size = self._found.block_size
        for high, low in struct.iter_unpack(">QQ", records):
            start = (high >> 9) & ((1 << 54) - 1)
            block = (high & 0x1FF) << 43 | low >> 21
            count = low & 0x1FFFFF
            if not count:
                raise self._wrong(fork, "an extent has no blocks")
            unwritten = high >> 63
            place = None if unwritten else self._found.place(self._volume, block, count)
            yield Run(start * size, count * size, place)

    def _tree(self, fork: Fork, first: int) -> Iterator[Run]:
        level, count = struct.unpack_from(">HH", fork.room)
        most = (len(fork.room) - 4) // 16
        if not 0 < level <= _DEEPEST or count > most:
            raise self._wrong(fork, "the root of its extents has a wrong header")
        yield from self._below(fork, fork.room[4:], count, most, level, first)

    def _below(self, fork: Fork, room: bytes, count: int, most: int, level: int, first: int) -> Iterator[Run]:
        keys = struct.unpack_from(f">{count}Q", room)
        blocks = struct.unpack_from(f">{count}Q", room, most * 8)
        if any(left >= right for left, right in pairwise(keys)):
            raise self._wrong(fork, "the nodes of its extents are out of order")
        for at, block in enumerate(blocks):
            if at + 1 < count and keys[at + 1] <= first:
                continue
            yield from self._node(fork, block, level - 1, first)

    def _node(self, fork: Fork, block: int, level: int, first: int) -> Iterator[Run]:
        data = self._volume.read(self._found.place(self._volume, block), self._found.block_size)
        magic, its_level, count = struct.unpack_from(">4sHH", data)
        header = _HEADERS[self._found.version]
        most = (len(data) - header) // 16
        if magic != _MAGICS[self._found.version] or its_level != level or count > most:
            raise self._wrong(fork, f"the block {block} is no node of its extents")
        if level:
            yield from self._below(fork, data[header:], count, most, level, first)
        else:
            yield from self._records(fork, data[header : header + count * _EXTENT])

    def _wrong(self, fork: Fork, why: str) -> Exception:
        return self._volume.damaged(f"the inode {fork.owner}: {why}")
