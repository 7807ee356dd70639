"""Finds and reads the label of a physical volume, as LVM2 writes it (``lib/format_text/layout.h``, ``lib/label``).

One of the first four sectors of 512 bytes begins with ``LABELONE``, its own number, a checksum of the rest of the
sector, the place of the header in it, and ``LVM2 001``. The header has UUID and size; the lists of data areas and of
metadata areas, each of which ends with a pair of zeros; and since version 2.02.99 an extension: version, flags, and the
list of bootloader areas. Everything is little-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.disks import Contradiction
from vmkeep.lateclass import dataclass

SECTOR: Final = 512
LABEL_SECTORS: Final = 4
_LABEL: Final = struct.Struct("<8sQII8s")
_PV: Final = struct.Struct("<32sQ")
_LOCATION: Final = struct.Struct("<QQ")
_EXTENSION: Final = struct.Struct("<II")
_ID: Final = b"LABELONE"
_TYPE: Final = b"LVM2 001"
_SUMMED_FROM: Final = 20
_USED: Final = 1
_LUKS: Final = b"LUKS\xba\xbe"
_GROUPS: Final = (6, 10, 14, 18, 22, 26)
_CRC_START: Final = 0xF597A6CF ^ 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLabel:
    """A label as it stands in its sector. Places count from the beginning of the physical volume."""

    sector: int
    uuid: str
    device_size: int
    data_areas: tuple[tuple[int, int], ...]
    """Place and size of each; size 0: up to the end."""
    metadata_areas: tuple[tuple[int, int], ...]
    is_used: bool
    bootloader_areas: tuple[tuple[int, int], ...] = ()


def checksum(data: bytes, start: int | None = None) -> int:
    """Return LVM's CRC-32 of some bytes, which has a start value of its own and no inversion at the end.

    :param start: the checksum of the bytes before.
    """
    return zlib.crc32(data, _CRC_START if start is None else start ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def is_encrypted(head: bytes) -> bool:
    """Return whether a disk or partition begins with the header of LUKS, version 1 or 2 (cryptsetup's formats)."""
    return head.startswith(_LUKS)


def find_label(head: bytes) -> RawLabel | None:
    """Return the first sound label in the first sectors of a disk or partition; ``None``: there is none.

    :raises Contradiction: what looks like a label is damaged, and there is no sound one.
    """
    damage: Contradiction | None = None
    for number in range(min(LABEL_SECTORS, len(head) // SECTOR)):
        sector = head[number * SECTOR : (number + 1) * SECTOR]
        if sector.startswith(_ID):
            try:
                return _read_label(sector, number)
            except Contradiction as error:
                damage = damage or error
    if damage is not None:
        raise damage
    return None


def dashed(uuid: bytes) -> str:
    """Return a UUID of LVM as people know it: 32 letters and digits in groups.

    :raises Contradiction: it has other characters.
    """
    text = uuid.decode("ascii", errors="replace")
    if len(text) != 32 or not all(letter.isascii() and (letter.isalnum() or letter in "!#") for letter in text):
        raise Contradiction(f"{text!r} is no UUID of LVM")
    return "-".join(text[start:stop] for start, stop in zip((0, *_GROUPS), (*_GROUPS, 32), strict=True))


def _read_label(sector: bytes, number: int) -> RawLabel:
    _, own, crc, offset, kind = _LABEL.unpack_from(sector)
    if checksum(sector[_SUMMED_FROM:]) != crc:
        raise Contradiction(f"the checksum of the label in sector {number} is wrong")
    if own != number:
        raise Contradiction(f"the label in sector {number} says that it lies in sector {own}")
    if kind != _TYPE:
        raise Contradiction(f"the label in sector {number} has the type {kind!r} and not LVM2")
    if not _LABEL.size <= offset <= SECTOR - _PV.size:
        raise Contradiction(f"the header of the label in sector {number} lies beyond its sector")
    uuid, size = _PV.unpack_from(sector, offset)
    at = offset + _PV.size
    data = tuple(_locations(sector, at))
    at += (len(data) + 1) * _LOCATION.size
    metadata = tuple(_locations(sector, at))
    at += (len(metadata) + 1) * _LOCATION.size
    version, flags = _EXTENSION.unpack_from(sector, at) if at + _EXTENSION.size <= SECTOR else (0, 0)
    return RawLabel(
        sector=number,
        uuid=dashed(uuid),
        device_size=size,
        data_areas=data,
        metadata_areas=metadata,
        is_used=version > 0 and bool(flags & _USED),
        bootloader_areas=tuple(_locations(sector, at + _EXTENSION.size)) if version > 0 else (),
    )


def _locations(sector: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Yield the places of a list, up to the pair of zeros that ends it."""
    while at + _LOCATION.size <= len(sector):
        place, size = _LOCATION.unpack_from(sector, at)
        if not place:
            return
        yield place, size
        at += _LOCATION.size
    raise Contradiction("a list of areas in the label has no end")
