"""Carries out, in memory, what a mount of XFS would do with its log: writes the newest metadata into its places.

Buffers are blocks of metadata, of which the log holds the changed pieces of 128 bytes. Inodes are logged by their
fields, in the byte order of the machine, which is taken for little-endian. Intents to free space, to count references
or to map backwards change nothing that a reader sees. An intent to map an extent or to set an attribute that was never
done leaves its file as it was before; such intents are counted.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import field
from typing import Final

from vmkeep.guest.filesystems.volume import Volume
from vmkeep.guest.filesystems.xfs.log import Log, LogError
from vmkeep.guest.filesystems.xfs.superblock import Superblock
from vmkeep.guest.filesystems.xfs.transactions import Item, committed
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk
from vmkeep.model.extents import Extent
from vmkeep.model.prints import Prints, prints_around

_SECTOR: Final = 512
_CHUNK: Final = 128
_INODE: Final = 0x123B
_BUFFER: Final = 0x123C
_INTENTS: Final = {0x1244: 0x1245, 0x1246: 0x1247, 0x1248: 0x1249}
"""Intents that change a file, with the kinds of their ends: maps, attributes, exchanges."""
_WITHOUT_EFFECT: Final = frozenset((0x1236, 0x1237, 0x1238, 0x123D, 0x123E, 0x123F, 0x1240, 0x1241, 0x1242, 0x1243))
"""Freed extents, unlinked inodes, quotas, new inodes (whose fields follow), reverse maps, reference counts."""
_CANCELLED: Final = 0x2
_OF_OTHERS: Final = 0x1 | 0x4 | 0x8 | 0x10
"""Buffers of inodes, of which only the list of unlinked ones counts, and of quotas."""

_DATA: Final = 0x2 | 0x4
_DATA_ROOT: Final = 0x8
_ATTRIBUTES: Final = 0x40 | 0x80
_ATTRIBUTE_ROOT: Final = 0x100
_HALVES: Final = (0, 2, 6, 20, 22, 80, 88, 90)
_WORDS: Final = (8, 12, 16, 72, 76, 84, 92, 96, 100)
_LONGS: Final = (24, 56, 64)
_HALVES_OF_TIMES: Final = (32, 36, 40, 44, 48, 52)
_TIMES: Final = (32, 40, 48)
_BIG_TIME: Final = 0x8


@dataclass(slots=True)
class _Pieces:
    """Sectors with their newest content."""

    volume: Volume
    sectors: dict[int, bytearray] = field(default_factory=dict)

    def write(self, place: int, data: bytes) -> None:
        if not 0 <= place <= place + len(data) <= self.volume.capacity:
            raise LogError("names a place that is not on the volume")
        at = 0
        while at < len(data):
            sector, offset = divmod(place + at, _SECTOR)
            known = self.sectors.get(sector)
            if known is None:
                start = sector * _SECTOR
                length = min(_SECTOR, self.volume.capacity - start)
                known = self.sectors[sector] = bytearray(self.volume.read(start, length))
            part = data[at : at + _SECTOR - offset]
            known[offset : offset + len(part)] = part
            at += len(part)


class ReplayedDisk:
    """A disk under the newest metadata of its log; see :class:`vmkeep.model.blockio.RandomDisk`."""

    def __init__(self, disk: RandomDisk, sectors: dict[int, bytearray]) -> None:
        self.capacity = disk.capacity
        self._disk = disk
        self._sectors = sectors
        self._numbers = sorted(sectors)

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from an offset on. Thread-safe."""
        self._disk.read_into(start, buffer)
        stop = start + len(buffer)
        at = bisect_left(self._numbers, start // _SECTOR)
        while at < len(self._numbers) and (place := self._numbers[at] * _SECTOR) < stop:
            sector = self._sectors[self._numbers[at]]
            low, high = max(start, place), min(stop, place + len(sector))
            buffer[low - start : high - start] = sector[low - place : high - place]
            at += 1

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        """Yield the range as one extent that may hold data, because the log may have filled any hole."""
        if start < stop:
            yield Extent(start, stop), True

    def prints(self, start: int, stop: int) -> Prints:
        """Yield the neighbouring extents that cover a range, each with its print. No sector of the log has one."""
        return prints_around(self._disk, start, stop, self._numbers, _SECTOR)


def replay(volume: Volume, found: Superblock, log: Log) -> tuple[Volume, int]:
    """Return the volume with its log carried out, and the number of intents that were never done.

    :raises LogError: the log cannot be carried out.
    """
    items = list(committed(log))
    cancelled = Counter(_buffer_of(item) for item in items if _kind(item) == _BUFFER and _flags(item) & _CANCELLED)
    pieces = _Pieces(volume)
    intents: set[tuple[int, bytes]] = set()
    for item in items:
        kind = _kind(item)
        if kind == _BUFFER:
            _apply_buffer(pieces, item, cancelled)
        elif kind == _INODE:
            _apply_inode(pieces, found, item)
        elif kind in _INTENTS:
            intents.add((_INTENTS[kind], item[0][8:16]))
        elif kind in _INTENTS.values():
            intents.discard((kind, item[0][8:16]))
        elif kind not in _WITHOUT_EFFECT:
            raise LogError(f"has an item of the unknown kind 0x{kind:x}")
    return Volume(ReplayedDisk(volume.disk, pieces.sectors), what=volume.what), len(intents)


def _kind(item: Item) -> int:
    return int(struct.unpack_from("<H", item[0])[0])


def _buffer_of(item: Item) -> tuple[int, int]:
    """Return a buffer's first sector and its length in sectors."""
    if len(item[0]) < 20:
        raise LogError("has a buffer that is cut")
    _, length, place = struct.unpack_from("<HHq", item[0], 4)
    return place, length


def _flags(item: Item) -> int:
    return int(struct.unpack_from("<H", item[0], 4)[0]) if len(item[0]) >= 6 else 0


def _apply_buffer(pieces: _Pieces, item: Item, cancelled: Counter[tuple[int, int]]) -> None:
    """Write the changed pieces of a buffer, unless the buffer was freed by a later transaction."""
    buffer = _buffer_of(item)
    if _flags(item) & _CANCELLED:
        cancelled[buffer] -= 1
        return
    if cancelled[buffer] > 0 or _flags(item) & _OF_OTHERS:
        return
    words = struct.unpack_from("<I", item[0], 16)[0]
    if 20 + words * 4 > len(item[0]):
        raise LogError("has a buffer that is cut")
    bits = int.from_bytes(item[0][20 : 20 + words * 4], "little")
    at = 0
    for region in item[1:]:
        at += ((bits >> at) & -(bits >> at)).bit_length() - 1 if bits >> at else 0
        count = 0
        while bits >> (at + count) & 1 and count * _CHUNK < len(region):
            count += 1
        if not count or count * _CHUNK != len(region) or (at + count) * _CHUNK > buffer[1] * _SECTOR:
            raise LogError("has a buffer whose pieces do not fit")
        pieces.write(buffer[0] * _SECTOR + at * _CHUNK, region)
        at += count


def _apply_inode(pieces: _Pieces, found: Superblock, item: Item) -> None:
    """Write an inode's fields, and the roots of its content and its attributes."""
    if len(item[0]) < 56 or len(item) < 2:
        raise LogError("has an inode that is cut")
    (fields,) = struct.unpack_from("<I", item[0], 4)
    block, _, offset = struct.unpack_from("<qii", item[0], 40)
    place = block * _SECTOR + offset
    core = _to_disk(item[1])
    size = 176 if core[4] >= 3 else 100
    if len(core) < size:
        raise LogError("has an inode that is cut")
    pieces.write(place, core[:size])
    room = found.inode_size - size
    forked = core[82] * 8
    rest = iter(item[2:])
    for start, stop, plain, root in (
        (0, forked or room, _DATA, _DATA_ROOT),
        (forked, room, _ATTRIBUTES, _ATTRIBUTE_ROOT),
    ):
        if not fields & (plain | root):
            continue
        region = next(rest, b"")
        if fields & root:
            region = _root_to_disk(region, found, stop - start)
        if len(region) > stop - start and region[stop - start :].strip(b"\0"):
            raise LogError("has an inode whose content does not fit")
        pieces.write(place + size + start, region[: stop - start])


def _to_disk(core: bytes) -> bytes:
    """Return the fields of an inode in the byte order of the disk."""
    if len(core) < 100:
        raise LogError("has an inode that is cut")
    swapped = bytearray(core)
    newer = core[4] >= 3 and len(core) >= 176
    big_time = newer and bool(core[120] & _BIG_TIME)
    words = [*_WORDS, *(() if big_time else _HALVES_OF_TIMES)]
    longs = [*_LONGS, *(_TIMES if big_time else ())]
    if newer:
        longs += [104, 112, 120, 152, *((144,) if big_time else ())]
        words += [128, *(() if big_time else (144, 148))]
    for size, places in ((2, _HALVES), (4, words), (8, longs)):
        for at in places:
            if at + size <= len(core):
                swapped[at : at + size] = core[at : at + size][::-1]
    return bytes(swapped)


def _root_to_disk(block: bytes, found: Superblock, room: int) -> bytes:
    """Return the root of a tree of extents as it lies in an inode, from the form that it has in memory."""
    header = 72 if found.has_checksums else 24
    if len(block) < header:
        raise LogError("has an inode that is cut")
    level, count = struct.unpack_from(">HH", block, 4)
    most, fits = (len(block) - header) // 16, (room - 4) // 16
    if count > min(most, fits):
        raise LogError("has an inode whose content does not fit")
    keys = block[header : header + count * 8]
    pointers = block[header + most * 8 : header + (most + count) * 8]
    return struct.pack(">HH", level, count) + keys.ljust(fits * 8, b"\0") + pointers
