"""Reads an MBR and its chain of logical partitions, as Linux does (``block/partitions/msdos.c``).

The first sector ends in 55 AA; four entries of 16 bytes lie before: boot indicator, three bytes, type, three bytes,
first sector and number of sectors. An extended partition begins with such a sector of its own. It holds a logical
partition, and names the next one of its kind relative to the first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.disks import Contradiction, MetadataReader
from vmkeep.lateclass import dataclass

SECTOR: Final = 512
PROTECTIVE: Final = 0xEE
_EXTENDED: Final = frozenset({0x05, 0x0F, 0x85})
_ENTRY: Final = struct.Struct("<B3sB3sII")
_ENTRIES: Final = 446
_SIGNATURE: Final = b"\x55\xaa"
_MOST_LOGICAL: Final = 256
"""Linux numbers no more partitions of a disk."""
_FIRST_LOGICAL: Final = 5


@dataclass(frozen=True, slots=True)
class MbrEntry:
    """An entry that is not empty, with its number from 1. Places are in sectors, relative as they stand there."""

    number: int
    type: int
    first: int
    count: int

    @property
    def is_extended(self) -> bool:
        """Whether logical partitions lie in it."""
        return self.type in _EXTENDED


def entries_of(sector: bytes) -> list[MbrEntry] | None:
    """Return the entries of a sector that are not empty; ``None``: the sector holds no partition table.

    The first sector of a FAT or NTFS volume ends in 55 AA too, with code where a table has entries.
    """
    if sector[510:512] != _SIGNATURE:
        return None
    raw = [_ENTRY.unpack_from(sector, _ENTRIES + at * _ENTRY.size) for at in range(4)]
    if any(entry[0] not in (0, 0x80) for entry in raw):
        return None
    return [MbrEntry(at, entry[2], entry[4], entry[5]) for at, entry in enumerate(raw, start=1) if entry[5]]


def partitions_of(
    reader: MetadataReader, entries: list[MbrEntry], warnings: list[str]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, type, first sector and sectors of each partition, logical ones last.

    :param warnings: gets a sentence if the chain of logical partitions is damaged.
    """
    for entry in entries:
        if not entry.is_extended:
            yield entry.number, entry.type, entry.first, entry.count
    number = _FIRST_LOGICAL
    for extended in entries:
        if extended.is_extended:
            for each in _logical(reader, extended, warnings):
                yield number, each.type, each.first, each.count
                number += 1


def _logical(reader: MetadataReader, extended: MbrEntry, warnings: list[str]) -> Iterator[MbrEntry]:
    """Yield the logical partitions of an extended one, with absolute places."""
    here, seen, found = extended.first, {0}, 0
    room = extended.count
    while True:
        if here in seen or found >= _MOST_LOGICAL:
            warnings.append(f"the chain of logical partitions never ends: sector {here} comes again")
            return
        seen.add(here)
        try:
            entries = entries_of(reader.read(here * SECTOR, SECTOR))
        except Contradiction as error:
            warnings.append(f"the chain of logical partitions leaves the disk: {error}")
            return
        if entries is None:
            warnings.append(f"the chain of logical partitions breaks at sector {here}, which holds no partition table")
            return
        for entry in entries:
            first = here + entry.first
            is_inside = entry.first + entry.count <= room and first + entry.count <= extended.first + extended.count
            if not entry.is_extended and (entry.number <= 2 or is_inside):
                found += 1
                yield MbrEntry(0, entry.type, first, entry.count)
        following = next((entry for entry in entries if entry.is_extended), None)
        if following is None:
            return
        here, room = extended.first + following.first, following.count
