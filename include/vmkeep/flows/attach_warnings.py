"""Warns of harm that a new disk may do to its VM: two disks with the same ids, or another boot disk. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import named
from vmkeep.model.point import RestorePoint
from vmkeep.vsphere.inventory import VmDescription
from vmkeep.vsphere.slots import Slot

_TWINS = (
    "the same ids of partitions, file systems and volume groups, and may mount the wrong one at its next start: detach "
    "the new disk before, or change the ids"
)


def about_twins(point: RestorePoint, disks: Sequence[Disk], vm: VmDescription) -> Iterator[str]:
    """Warn of two disks with the same file systems in one guest.

    Nothing in vSphere tells that a VM was restored from this point, or has got the disk before. But then it has a disk
    of the very same size.
    """
    if point.vm.instance_uuid is not None and point.vm.instance_uuid == vm.identity.instance_uuid:
        yield f"the guest gets a disk beside its original, with {_TWINS}"
        return
    for disk in disks:
        alike = next((one for one in vm.disks if one.capacity == disk.capacity), None)
        if alike is not None:
            yield (
                f"{alike.label} ({alike.address}) is as large as {disk.label}: if it is a copy of that disk, the guest "
                f"gets two disks with {_TWINS}"
            )


def about_the_boot_disk(own: Sequence[Disk], slots: Sequence[Slot]) -> Iterator[str]:
    """Warn of a disk that comes before the VM's own ones, because a VM may boot from the first disk that it finds."""
    for slot in slots:
        places = [(disk.bus, disk.unit) for disk in own if disk.controller is slot.kind]
        if own and (not places or (slot.bus, slot.unit) < min(places)):
            yield (
                f"{slot.address} {'comes' if places else 'may come'} before the disks of the VM: look at its boot "
                f"order before its next start, or choose another address with {named('at')}"
            )
