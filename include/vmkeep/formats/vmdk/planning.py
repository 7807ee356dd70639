"""Plans a VMDK of a kind whose files are known before the disk is read."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from vmkeep.formats.layout import Layout
from vmkeep.formats.vmdk.describing import VmdkFacts, check_disk
from vmkeep.formats.vmdk.flatlayout import FlatVmdk
from vmkeep.formats.vmdk.sparselayout import plan_split, plan_thin
from vmkeep.model.extents import Extent


class VmdkKind(StrEnum):
    """A kind of VMDK that can be planned."""

    FLAT = "flat"
    """A descriptor, and a file with the disk's bytes."""
    THIN = "thin"
    """One file that holds only the stored grains."""
    SPLIT = "2gbsparse"
    """A descriptor, and files of at most 2 GiB that hold only the stored grains."""


def plan_vmdk(kind: VmdkKind, facts: VmdkFacts, *, capacity: int, stored: Sequence[Extent]) -> Layout:
    """Plan the image of a disk.

    :param capacity: bytes of the disk.
    :param stored: the extents that may hold data, a normal sequence, in memory that its caller bounds
        (:func:`vmkeep.model.extents.gather`). Grains that none of them touches are not stored.
    :raises UsageError: the name cannot stand in a descriptor, or the capacity is not a whole number of sectors.
    :raises UnsupportedError: an image of that kind cannot hold the disk.
    """
    check_disk(facts.name, capacity)
    if stored and stored[-1].stop > capacity:
        raise ValueError(f"extents reach to byte {stored[-1].stop} of a disk of {capacity} bytes")
    if kind is VmdkKind.FLAT:
        return FlatVmdk(facts, capacity, stored)
    plan = plan_thin if kind is VmdkKind.THIN else plan_split
    return plan(facts, capacity, stored)
