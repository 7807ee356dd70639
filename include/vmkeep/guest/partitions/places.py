"""Where the partitions of a disk lie."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vmkeep.model.extents import Extent

LVM_TYPES: Final = frozenset({"8e", "e6d6d379-f507-44c2-a23c-238f2a3df928"})
"""Types of partitions that are for LVM, of MBR and of GPT."""


class TableKind(StrEnum):
    """The partition table of a disk."""

    NONE = "none"
    MBR = "mbr"
    GPT = "gpt"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PartitionPlace:
    """A partition, or a whole disk."""

    disk: int
    """Number of its disk; see :class:`vmkeep.guest.DiskInGuest`."""
    number: int
    """Number of the partition as Linux counts, where logical ones begin at 5; 0: the whole disk."""
    start: int
    """Its first byte on the disk."""
    size: int
    """Its size in bytes, within the disk."""
    type: str = ""
    """Two hexadecimal digits for MBR, the GUID in small letters for GPT; empty: the whole disk."""
    label: str = ""
    """The name that GPT gives it."""

    @property
    def name(self) -> str:
        """The name in lists and arguments, e.g. ``disk0p1``, or ``disk0`` for a whole disk."""
        return f"disk{self.disk}p{self.number}" if self.number else f"disk{self.disk}"

    @property
    def extent(self) -> Extent:
        """Its bytes on the disk."""
        return Extent(self.start, self.start + self.size)

    @property
    def is_for_lvm(self) -> bool:
        """Whether its type says that it belongs to LVM."""
        return self.type in LVM_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionTable:
    """The partition table of one disk."""

    kind: TableKind
    whole: PartitionPlace
    """The whole disk."""
    partitions: tuple[PartitionPlace, ...] = ()
    """In the order of their numbers, without empty ones and without the extended one."""
    sector: int = 512
    """Bytes of a sector, by which the table counts."""
    warnings: tuple[str, ...] = ()
    """One sentence for each thing that is wrong with the table, e.g. that its backup was used."""

    @property
    def places(self) -> tuple[PartitionPlace, ...]:
        """The whole disk, and its partitions."""
        return (self.whole, *self.partitions)
