"""Superblocks of Linux's software RAID, of format 0.90 and 1.x.

The layout is that of ``include/uapi/linux/raid/md_p.h``.
"""

from __future__ import annotations

import struct
from typing import Final

from vmkeep.guest.volumes.detecting.content import Head, dashed, text
from vmkeep.lateclass import dataclass

_MAGIC: Final = 0xA92B4EFC
_SECTOR: Final = 512
_SUPERBLOCK: Final = 256
_MOST_ROLES: Final = 1920
_SPARE: Final = 0xFFF0
"""Roles from here on are no place in the array: a spare, a faulty member, a journal."""
_RECOVERS: Final = 0x2
_RESHAPES: Final = 0x4
_NEVER: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of an array, by its own superblock."""

    array: str
    """UUID of the array."""
    name: str
    """The name of the array, without its host."""
    level: int
    version: str
    """Format of the superblock, e.g. ``1.2``."""
    role: int | None
    """Its place in the array; ``None``: a spare or a faulty member."""
    events: int
    """How often the superblocks of the array were written; members that fell out lag behind."""
    data: int
    """Where its data begins, in bytes."""
    size: int
    """Bytes of its data that the array uses."""
    whole: bool
    """Whether all its data is up to date, by its own word."""


def find_member(head: Head) -> Member | None:
    """Return the superblock of an array's member, if a volume has one whose checksum is right."""
    for version, offset in (("1.1", 0), ("1.2", 4096), ("1.0", _at_end(head.size))):
        if (found := _read_new(head, offset, version)) is not None:
            return found
    return _read_old(head)


def _at_end(size: int) -> int:
    """Return where format 1.0 keeps its superblock: 8 KiB before the end, on a multiple of 4 KiB."""
    return ((size // _SECTOR - 16) & ~7) * _SECTOR


def _read_new(head: Head, offset: int, version: str) -> Member | None:
    raw = head.at(offset, _SUPERBLOCK)
    if len(raw) < _SUPERBLOCK or struct.unpack_from("<II", raw) != (_MAGIC, 1):
        return None
    (most,) = struct.unpack_from("<I", raw, 220)
    if most > _MOST_ROLES:
        return None
    roles = head.at(offset + _SUPERBLOCK, 2 * most)
    if len(roles) != 2 * most or struct.unpack_from("<I", raw, 216)[0] != _checksum(raw, roles):
        return None
    (features,) = struct.unpack_from("<I", raw, 8)
    (level,) = struct.unpack_from("<i", raw, 72)
    (size,) = struct.unpack_from("<Q", raw, 80)
    data, data_size, _, recovered, number = struct.unpack_from("<QQQQI", raw, 128)
    (events,) = struct.unpack_from("<Q", raw, 200)
    role = struct.unpack_from("<H", roles, 2 * number)[0] if number < most else 0xFFFF
    length = min(size or data_size, data_size)
    return Member(
        array=dashed(raw[16:32]),
        name=text(raw[32:64]).rpartition(":")[2],
        level=level,
        version=version,
        role=None if role >= _SPARE else role,
        events=events,
        data=data * _SECTOR,
        size=length * _SECTOR,
        whole=not features & _RESHAPES and not (features & _RECOVERS and recovered != _NEVER),
    )


def _checksum(raw: bytes, roles: bytes) -> int:
    """Return the sum of all words, the one of the checksum taken as 0, folded once."""
    padded = raw[:216] + bytes(4) + raw[220:] + roles
    words = len(padded) // 4
    total: int = sum(struct.unpack_from(f"<{words}I", padded))
    if len(padded) % 4:
        total += int.from_bytes(padded[4 * words :], "little")
    return ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF


def _read_old(head: Head) -> Member | None:
    """Read a superblock of format 0.90, which lies in the last whole 64 KiB but the rest after them."""
    offset = head.size // (64 << 10) * (64 << 10) - (64 << 10)
    raw = head.at(offset, 4096)
    if len(raw) < 4096 or struct.unpack_from("<II", raw) != (_MAGIC, 0):
        return None
    words = struct.unpack("<1024I", raw)
    total = sum(words) - words[38]
    if words[38] != ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF:
        return None
    role, state = words[995], words[996]  # of this member, in the last 32 words
    level = words[7] - (1 << 32) if words[7] >> 31 else words[7]
    return Member(
        array=dashed(struct.pack("<4I", words[5], *words[13:16])),
        name="",
        level=level,
        version="0.90",
        role=role if state & 0x6 == 0x6 else None,  # active and in sync
        events=words[39] | words[40] << 32,
        data=0,
        size=min(words[8] << 10, offset),
        whole=bool(state & 0x4),
    )
