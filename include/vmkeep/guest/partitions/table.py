"""Tells which partition table a disk has, and where its partitions lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vmkeep.guest.disks import DiskInGuest, MetadataReader
from vmkeep.guest.partitions import gpt, mbr
from vmkeep.guest.partitions.places import PartitionPlace, PartitionTable, TableKind


def read_partitions(disk: DiskInGuest, *, reader: MetadataReader | None = None) -> PartitionTable:
    """Read the partition table of a disk. Whatever stands there, the table that is returned lies within the disk.

    :param reader: reads the disk, for a caller who counts the bytes.
    :raises CorruptError: a stored block is damaged, or the disk asks for more than any healthy one.
    """
    reader = reader or MetadataReader(disk)
    whole = PartitionPlace(disk=disk.number, number=0, start=0, size=reader.capacity)
    if reader.capacity < 2 * mbr.SECTOR:
        return PartitionTable(kind=TableKind.NONE, whole=whole)
    entries = mbr.entries_of(reader.read(0, mbr.SECTOR))
    if any(entry.type == mbr.PROTECTIVE for entry in entries or ()) or (entries is None and _begins_as_gpt(reader)):
        return _gpt(reader, whole, is_protected=entries is not None)
    if entries is None:
        return PartitionTable(kind=TableKind.NONE, whole=whole)
    warnings: list[str] = []
    found = [
        (PartitionPlace(disk=disk.number, number=number, start=0, size=0, type=f"{kind:02x}"), first, count)
        for number, kind, first, count in mbr.partitions_of(reader, entries, warnings)
        if (first, count * mbr.SECTOR) != (0, reader.capacity)  # mkfs.fat names a whole disk so, in its own boot sector
    ]
    partitions = tuple(_within(reader, found, mbr.SECTOR, warnings))
    return PartitionTable(kind=TableKind.MBR, whole=whole, partitions=partitions, warnings=tuple(warnings))


def _begins_as_gpt(reader: MetadataReader) -> bool:
    return any(reader.read(at, 8) == gpt.SIGNATURE for at in gpt.SECTORS if at + 8 <= reader.capacity)


def _gpt(reader: MetadataReader, whole: PartitionPlace, *, is_protected: bool) -> PartitionTable:
    read = gpt.read_gpt(reader)
    if read is None:
        if not is_protected:
            return PartitionTable(kind=TableKind.NONE, whole=whole)
        lost = ("the disk has a GPT by its protective MBR, but both of its headers are damaged",)
        return PartitionTable(kind=TableKind.GPT, whole=whole, warnings=lost)
    warnings = [] if is_protected else ["the disk has a GPT without a protective MBR; Linux would not use it"]
    if read.problem:
        warnings.append(f"{read.problem}; its backup at the end of the disk was used")
    found = [
        (
            PartitionPlace(
                disk=whole.disk, number=entry.number, start=0, size=0, type=entry.type, label=entry.label
            ),
            entry.first,
            entry.last - entry.first + 1,
        )
        for entry in read.entries
    ]  # fmt: skip
    partitions = tuple(_within(reader, found, read.sector, warnings))
    return PartitionTable(
        kind=TableKind.GPT, whole=whole, partitions=partitions, sector=read.sector, warnings=tuple(warnings)
    )


def _within(
    reader: MetadataReader, found: Iterable[tuple[PartitionPlace, int, int]], sector: int, warnings: list[str]
) -> Iterator[PartitionPlace]:
    """Yield partitions with their places, cut at the end of the disk; leave out what lies beyond it."""
    for place, first, count in found:
        start, size = first * sector, count * sector
        if count <= 0 or not 0 < start < reader.capacity:
            warnings.append(f"{place.name} lies at sector {first}, which is no place on this disk; it is left out")
            continue
        if start + size > reader.capacity:
            warnings.append(f"{place.name} reaches beyond the end of the disk; it is cut there")
            size = reader.capacity - start
        yield PartitionPlace(
            disk=place.disk, number=place.number, start=start, size=size, type=place.type, label=place.label
        )
