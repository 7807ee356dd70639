"""The log of XFS: its records from the oldest change that may be missing on the disk up to the newest one.

The log is a ring of basic blocks of 512 bytes. The first word of each is the number of the pass in which it was
written, so that the place where the newest pass ends is found by bisection. A record's header keeps the words that
these numbers replaced. An unmount writes a record of its own.

Up to eight records are on their way to the disk at a time, in any order. So there may be holes before that place, and
records of which only a part was written. They end the log, as they do for Linux: nothing that they hold was ever
promised to a program. What lies before them has to be whole, and in its place, or nothing is replayed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.crc32c import crc32c
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.guest.filesystems.xfs.superblock import Superblock, read_superblock
from vmkeep.model.blockio import RandomDisk

_BASIC_BLOCK: Final = 512
_MAGIC: Final = 0xFEEDBABE
_LONGEST_RECORD: Final = 256 * 1024
_UNMOUNT: Final = 0x20
_WORDS: Final = 64
"""Words that one header keeps. A longer record has more headers."""
_KEPT: Final = 44
_CRC: Final = slice(32, 36)
_SIZES: Final = (328, 324)
"""Bytes of a header that its checksum covers, on machines of 64 and of 32 bits."""
_SIZE_OF_MORE: Final = 260
_IN_FLIGHT: Final = 8
_BLOCKS_IN_FLIGHT: Final = _IN_FLIGHT * _LONGEST_RECORD // _BASIC_BLOCK
_MOST_ACTIVE: Final = 256 << 20
"""Longest part of a log that is replayed, in bytes, because changes wait in memory until their end is seen."""


class LogError(Exception):
    """The log cannot be replayed. The message is the end of a sentence that begins with its name."""


def xfs_was_unmounted(disk: RandomDisk, *, what: str) -> bool:
    """Return whether the log of the XFS on a disk ends with an unmount; ``False`` if the log is on another disk.

    :raises CorruptError: there is no XFS, or it contradicts itself.
    :raises UnsupportedError: it has features that are not known.
    """
    volume = Volume(disk, what=what)
    found = read_superblock(volume)
    return bool(found.log_start) and Log(volume, found).was_unmounted


class Log:
    """The log within a volume."""

    def __init__(self, volume: Volume, found: Superblock) -> None:
        """Find the newest record.

        :raises CorruptError: the log is not on the volume.
        """
        self._volume = volume
        self._has_checksums = found.has_checksums
        self._start = found.place(volume, found.log_start, found.log_blocks)
        self._blocks = found.log_blocks * found.block_size // _BASIC_BLOCK
        self._head = head = self._find_head()
        self._last = self._find_last()
        # An unmount waits for all records before it, and mkfs gives the one that it writes no checksum.
        for _ in range(0 if self.was_unmounted else _IN_FLIGHT):
            if self._head == head:
                self._head = self._before_holes(head)
                self._last = self._find_last()
            if self._last is None or self._is_whole(self._last):
                break
            self._head = self._last
            self._last = self._find_last()
        self.is_cut = self._head != head
        """Whether its end was left out, because only a part of it was written."""

    def _block(self, number: int) -> bytes:
        return self._volume.read(self._start + number % self._blocks * _BASIC_BLOCK, _BASIC_BLOCK)

    def _cycle(self, number: int) -> int:
        first, second = struct.unpack_from(">II", self._block(number))
        return int(second if first == _MAGIC else first)

    def _find_head(self) -> int:
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

    def _before_holes(self, head: int) -> int:
        """Return the first block before a place that the pass before still holds; the place if there is none."""
        newest = self._cycle(0)
        back = min(_BLOCKS_IN_FLIGHT, self._blocks)
        older = range(self._blocks - (back - head), self._blocks) if head < back else range(0)
        for blocks, missed in ((older, newest - 2), (range(max(0, head - back), head), newest - 1)):
            hole = next((number for number in blocks if self._cycle(number) == missed), None)
            if hole is not None:
                return hole
        return head

    def _find_last(self) -> int | None:
        for back in range(1, _LONGEST_RECORD // _BASIC_BLOCK + _WORDS):
            if struct.unpack_from(">I", self._block(self._head - back))[0] == _MAGIC:
                return self._head - back
        return None

    def _is_whole(self, at: int) -> bool:
        """Return whether the record at a block was written up to the head."""
        headers, length = _sizes(self._block(at))
        if length > _LONGEST_RECORD or at + headers + length // _BASIC_BLOCK != self._head:
            return False
        try:
            self._data(at, headers, length)
        except LogError:
            return False
        return True

    @property
    def newest(self) -> int | None:
        """Byte offset on the volume of the newest record; ``None``: the log has none."""
        return None if self._last is None else self._start + self._last % self._blocks * _BASIC_BLOCK

    @property
    def was_unmounted(self) -> bool:
        """Whether the last record says that the file system was unmounted."""
        if self._last is None:
            return False
        header = self._block(self._last)
        headers, length = _sizes(header)
        (operations,) = struct.unpack_from(">I", header, 40)
        if operations != 1 or self._last + headers + length // _BASIC_BLOCK != self._head:
            return False
        return bool(self._block(self._last + headers)[9] & _UNMOUNT)

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number of operations and the data of each record, from the oldest change that counts on.

        :raises LogError: a record is damaged, or the changes are too many.
        """
        if self._last is None:
            raise LogError("has no record")
        cycle, tail = struct.unpack_from(">II", self._block(self._last), 24)
        left = (self._head - tail) % self._blocks or self._blocks
        if left * _BASIC_BLOCK > _MOST_ACTIVE:
            raise LogError(f"holds {left * _BASIC_BLOCK} bytes of changes, and vmkeep replays {_MOST_ACTIVE} at most")
        at = tail
        while left > 0:
            header = self._block(at)
            headers, length = _sizes(header)
            used = headers + length // _BASIC_BLOCK
            if struct.unpack_from(">I", header)[0] != _MAGIC or used > left or length > _LONGEST_RECORD:
                raise LogError("has a record with a wrong header")
            if struct.unpack_from(">I", header, 4)[0] != cycle:
                raise LogError("has a record of another pass among those that count")
            yield struct.unpack_from(">I", header, 40)[0], self._data(at, headers, length)
            at += used
            left -= used
            if at >= self._blocks:
                at -= self._blocks
                cycle += 1

    def _data(self, at: int, headers: int, length: int) -> bytes:
        """Return a record's data, with the words that pass numbers replaced.

        :raises LogError: the checksum is wrong, or it belongs to another place or pass.
        """
        heads = [self._block(at + number) for number in range(headers)]
        blocks = [self._block(at + headers + number) for number in range(length // _BASIC_BLOCK)]
        self._check_place(at, heads, blocks)
        self._check(heads, b"".join(blocks))
        whole = bytearray()
        for number, block in enumerate(blocks):
            group, index = divmod(number, _WORDS)
            place = (_KEPT if not group else 4) + 4 * index
            whole += heads[group][place : place + 4] + block[4:]
        return bytes(whole)

    def _check_place(self, at: int, heads: list[bytes], blocks: list[bytes]) -> None:
        """Require that a record was written here, and whole. Blocks behind the end of the ring are of the next pass."""
        place = at % self._blocks
        (cycle,) = struct.unpack_from(">I", heads[0], 4)
        if struct.unpack_from(">II", heads[0], 16) != (cycle, place):
            raise LogError("has a record that belongs to another place")
        for number, block in enumerate((*heads[1:], *blocks), place + 1):
            if struct.unpack_from(">I", block)[0] != cycle + number // self._blocks:
                raise LogError("has a record that was written only in part")

    def _check(self, heads: list[bytes], data: bytes) -> None:
        if not self._has_checksums:
            return
        (stored,) = struct.unpack("<I", heads[0][_CRC])
        more = b"".join(head[:_SIZE_OF_MORE] for head in heads[1 : -(-len(data) // (_WORDS * _BASIC_BLOCK))])
        for size in _SIZES:
            blank = bytearray(heads[0][:size])
            blank[_CRC] = bytes(4)
            if crc32c(bytes(blank) + more + data) ^ 0xFFFFFFFF == stored:
                return
        raise LogError("has a record with a wrong checksum")


def _sizes(header: bytes) -> tuple[int, int]:
    """Return the number of header blocks of a record, and the length of its data."""
    version, length = struct.unpack_from(">II", header, 8)
    (size,) = struct.unpack_from(">I", header, 320)
    headers = max(1, -(-size // (_WORDS * _BASIC_BLOCK))) if version & 2 else 1
    return min(headers, _WORDS), -(-length // _BASIC_BLOCK) * _BASIC_BLOCK
