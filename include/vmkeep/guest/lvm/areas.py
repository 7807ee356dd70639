"""Reads a metadata area of LVM2: its header, and the text that the header names in the ring behind it.

The header has 512 bytes: a checksum of the others, a signature, a version, place and size of the area, and four slots.
A slot has place, size, checksum and flags of a text. The first one is committed. The second one is that of a change
which LVM has written everywhere and is about to commit, so nobody reads it yet. The texts lie in a ring that begins
behind the header, so a text that reaches the end of the area goes on there.
"""

from __future__ import annotations

import struct
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.guest.disks import Contradiction, MetadataReader
from vmkeep.guest.lvm.labels import checksum
from vmkeep.lateclass import dataclass

HEADER: Final = 512
LARGEST_TEXT: Final = 4 << 20
"""Bytes of the largest text that is read; a volume group with 9,000 logical volumes has one like that."""
_HEAD: Final = struct.Struct("<I16sIQQ")
_SLOT: Final = struct.Struct("<QQII")
_SIGNATURE: Final = b" LVM2 x[5A%r0N*>"
_VERSION: Final = 1
_IGNORED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RawArea:
    """The header of a metadata area, as far as a reader needs it. Places count from the beginning of the area."""

    start: int
    """Where the area begins on the disk."""
    size: int
    text_at: int
    """0: the area holds no text."""
    text_size: int
    text_checksum: int
    is_ignored: bool
    precommitted: int | None
    """Checksum of the text that is about to be committed; ``None``: there is none."""


def read_area(reader: MetadataReader, volume_start: int, place: int, size: int) -> RawArea:
    """Read the header of a metadata area.

    :param volume_start: where the physical volume begins on the disk; ``place`` counts from there.
    :raises Contradiction: the header is damaged.
    :raises CorruptError: a stored block is damaged.
    """
    start = volume_start + place
    where = f"the header of the metadata area at byte {start}"
    if size <= HEADER:
        raise Contradiction(f"{where} has no room: the area has {size} bytes")
    head = reader.read(start, HEADER)
    crc, signature, version, own, own_size = _HEAD.unpack_from(head)
    if checksum(head[4:]) != crc:
        raise Contradiction(f"{where} has a wrong checksum")
    if signature != _SIGNATURE or version != _VERSION:
        raise Contradiction(f"{where} has a wrong signature or version")
    if own != place:
        raise Contradiction(f"{where} says that it lies at byte {own} of its physical volume, and it lies at {place}")
    if not HEADER < own_size <= size:
        raise Contradiction(f"{where} says that the area has {own_size} bytes, and its label says {size}")
    text_at, text_size, text_checksum, flags = _SLOT.unpack_from(head, _HEAD.size)
    next_at, _, next_checksum, _ = _SLOT.unpack_from(head, _HEAD.size + _SLOT.size)
    return RawArea(
        start=start,
        size=own_size,
        text_at=text_at,
        text_size=text_size,
        text_checksum=text_checksum,
        is_ignored=bool(flags & _IGNORED),
        precommitted=next_checksum if next_at else None,
    )


def read_text(reader: MetadataReader, area: RawArea) -> bytes:
    """Read the committed text of an area.

    :raises Contradiction: it is damaged.
    :raises CorruptError: a stored block is damaged, or the text is larger than any that is known.
    """
    where = f"the metadata text at byte {area.start + area.text_at}"
    if not HEADER <= area.text_at < area.size or not 0 < area.text_size <= area.size - HEADER:
        raise Contradiction(f"{where} with {area.text_size} bytes does not fit in its area of {area.size} bytes")
    if area.text_size > LARGEST_TEXT:
        raise CorruptError(f"{where} has {area.text_size} bytes, and no more than {LARGEST_TEXT} are read")
    first = min(area.text_size, area.size - area.text_at)
    text = reader.read(area.start + area.text_at, first)
    if first < area.text_size:
        text += reader.read(area.start + HEADER, area.text_size - first)
    if checksum(text) != area.text_checksum:
        raise Contradiction(f"{where} has a wrong checksum")
    return text
