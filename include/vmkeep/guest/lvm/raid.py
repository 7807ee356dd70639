"""Members of a Linux software RAID, below which a physical volume may lie (``linux/raid/md_p.h``).

A superblock of version 1 lies 4096 bytes from the beginning (1.2), at the beginning (1.1), or near the end (1.0), and
names the place of the data. One of version 0.90 lies in the last 64 KiB, and the data begins at 0. Where it lies near
the end, each member looks like a copy of the physical volume.
"""

from __future__ import annotations

import struct
from typing import Final

from vmkeep.guest.disks import MetadataReader
from vmkeep.guest.partitions import PartitionPlace
from vmkeep.lateclass import dataclass

MIRROR: Final = 1
_SECTOR: Final = 512
_MAGIC: Final = 0xA92B4EFC
_VERSION_1: Final = struct.Struct("<IIII16s32sQiIQIIIIQIIIIQQQ")
_VERSION_0: Final = struct.Struct("<16I")
_AT: Final = (4096, 0)
_END_0: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RaidMember:
    """A disk or partition that belongs to a RAID."""

    array: bytes
    """UUID of the RAID, 16 bytes."""
    level: int
    data_start: int
    """Where the data begins, from the beginning of the member."""
    data_size: int


def member_at_start(reader: MetadataReader, place: PartitionPlace) -> RaidMember | None:
    """Return what a place is a member of, by a superblock near its beginning; ``None``: of none."""
    return next((found for at in _AT if (found := _version_1(reader, place, at))), None)


def member_at_end(reader: MetadataReader, place: PartitionPlace) -> RaidMember | None:
    """Return what a place is a member of, by a superblock near its end; ``None``: of none."""
    sectors = place.size // _SECTOR
    return _version_1(reader, place, max(0, (sectors - 16) // 8 * 8) * _SECTOR) or _version_0(reader, place)


def _version_1(reader: MetadataReader, place: PartitionPlace, at: int) -> RaidMember | None:
    if at + _VERSION_1.size > place.size:
        return None
    read = _VERSION_1.unpack(reader.read(place.start + at, _VERSION_1.size))
    magic, version, _, _, array, _, _, level, *_, data_at, data_size, own = read
    start, size = data_at * _SECTOR, data_size * _SECTOR
    if magic != _MAGIC or version != 1 or own * _SECTOR != at or not 0 < size <= place.size - start:
        return None
    return RaidMember(array=array, level=level, data_start=start, data_size=size)


def _version_0(reader: MetadataReader, place: PartitionPlace) -> RaidMember | None:
    at = place.size // _END_0 * _END_0 - _END_0
    if at <= 0:
        return None
    words = _VERSION_0.unpack(reader.read(place.start + at, _VERSION_0.size))
    if words[0] != _MAGIC or words[1] != 0:
        return None
    array = struct.pack("<4I", words[5], *words[13:16])
    return RaidMember(array=array, level=words[7], data_start=0, data_size=at)
