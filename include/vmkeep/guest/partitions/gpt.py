"""Reads a GUID partition table, as the UEFI specification describes it in "GUID Partition Table (GPT) Disk Layout".

A header lies in sector 1, its backup in the last sector. Both have a checksum of their own and one of the entries,
whose place they name. Places are in sectors of 512 or 4096 bytes.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.disks import Contradiction, MetadataReader
from vmkeep.lateclass import dataclass

SECTORS: Final = (512, 4096)
SIGNATURE: Final = b"EFI PART"
_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_MOST_ENTRIES: Final = 1024
_LARGEST_ENTRY: Final = 4096
_MOST_BYTES: Final = 1 << 20
_UNUSED: Final = bytes(16)


@dataclass(frozen=True, slots=True)
class GptEntry:
    """A partition; first and last sector are both its own."""

    number: int
    type: str
    first: int
    last: int
    label: str


@dataclass(frozen=True, slots=True)
class GptEntries:
    """The partitions by one of the two headers."""

    sector: int
    entries: tuple[GptEntry, ...]
    problem: str
    """Why the first header could not be used; empty: it was."""


def read_gpt(reader: MetadataReader) -> GptEntries | None:
    """Read the table by its first header, or by its backup; ``None``: neither is valid."""
    problems: list[str] = []
    for sector in SECTORS:
        try:
            return GptEntries(sector, tuple(_entries(reader, sector, sector)), "")
        except Contradiction as error:
            problems.append(str(error))
    for sector in SECTORS:
        last = reader.capacity // sector * sector - sector
        try:
            entries = tuple(_entries(reader, sector, last))
        except Contradiction:
            continue
        return GptEntries(sector, entries, problems[SECTORS.index(sector)])
    return None


def _entries(reader: MetadataReader, sector: int, at: int) -> Iterator[GptEntry]:
    """Yield the partitions by the header at a byte.

    :raises Contradiction: the header or the entries are damaged.
    """
    head = reader.read(at, 512)
    signature, _, size, checksum, _, own, _, _, _, _, place, count, length, entries_sum = _HEADER.unpack_from(head)
    if signature != SIGNATURE:
        raise Contradiction(f"there is no GPT header at byte {at}")
    if not _HEADER.size <= size <= len(head) or zlib.crc32(head[:16] + bytes(4) + head[20:size]) != checksum:
        raise Contradiction(f"the checksum of the GPT header at byte {at} is wrong")
    if own * sector != at:
        raise Contradiction(f"the GPT header at byte {at} says that it lies in sector {own}")
    if not _ENTRY.size <= length <= _LARGEST_ENTRY or count > _MOST_ENTRIES or count * length > _MOST_BYTES:
        raise Contradiction(f"the GPT header at byte {at} names {count} entries of {length} bytes")
    raw = reader.read(place * sector, count * length)
    if zlib.crc32(raw) != entries_sum:
        raise Contradiction(f"the checksum of the GPT entries at byte {place * sector} is wrong")
    for number in range(1, count + 1):
        kind, _, first, last, _, label = _ENTRY.unpack_from(raw, (number - 1) * length)
        if kind != _UNUSED:
            text = label.decode("utf-16-le", errors="replace").partition("\0")[0]
            yield GptEntry(number, str(uuid.UUID(bytes_le=kind)), first, last, text)
