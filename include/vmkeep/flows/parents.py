"""Finds the restore point, and its disk, that a backup continues, or the reason why a disk is read in full."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from vmkeep.flows.same_vm import other_vm
from vmkeep.model.disk import Disk
from vmkeep.model.point import DiskImage, RestorePoint, VmIdentity
from vmkeep.repository import Repository

NO_POINT = "no restore point of this VM to continue"
_LOOK_BACK = 64
"""Number of points to pass over in search of this VM's last one, because a history may have points of copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPoint:
    """The newest point of this very VM, or the reason why no disk can continue a point."""

    point: RestorePoint | None
    reason: str = ""
    warnings: tuple[str, ...] = ()


def find_last_point(repository: Repository, vm: VmIdentity) -> LastPoint:
    """Look for the newest point of this very VM. The list that is searched also holds points of copies of the VM.

    A point that cannot be read ends the search, because nobody knows which VM it is of. It stops no backup.
    """
    reason = NO_POINT
    for read in islice(repository.newest_first(vm.key), _LOOK_BACK):
        if read.point is None:
            warning = f"every disk is read in full: {read.problem}"
            return LastPoint(point=None, reason=f"the last restore point cannot be read: {read.problem}",
                             warnings=(warning,))  # fmt: skip
        why = other_vm(read.point.vm, vm)
        if why is None:
            return LastPoint(point=read.point)
        if reason == NO_POINT:
            reason = f"{read.point.ref} is of another VM: {why}"
    warnings = () if reason == NO_POINT else (f"every disk is read in full: {reason}",)
    return LastPoint(point=None, reason=reason, warnings=warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The disk image that an increment starts from, and the reason for the increment or for a full read."""

    image: DiskImage | None
    reason: str


def choose_parent(
    disk: Disk, point: RestorePoint | None, *, full: bool, damaged: bool = False, missing: str = NO_POINT
) -> Parent:
    """Find the disk in the last point by its UUID, else by its address. The file name changes and is not used.

    A disk whose capacity changed is read in full, because change tracking is not trusted across a resize. Every disk
    is read in full after a ``damaged`` point, because an increment would inherit the loss.

    :param missing: the reason to give if there is no point to continue.
    """
    if full:
        return Parent(image=None, reason="a full was asked for")
    if point is None:
        return Parent(image=None, reason=missing)
    if damaged:
        return Parent(image=None, reason=f"{point.ref} is marked damaged")
    image = _same_disk(disk, point)
    if image is None:
        return Parent(image=None, reason=f"first backup of this disk: {point.ref} does not hold it")
    if image.disk.capacity != disk.capacity:
        return Parent(image=None, reason=f"capacity changed from {image.disk.capacity} to {disk.capacity} bytes")
    if image.change_id is None:
        return Parent(image=None, reason=f"{point.ref} has no change id of this disk")
    return Parent(image=image, reason=f"changes since {point.ref}")


def _same_disk(disk: Disk, point: RestorePoint) -> DiskImage | None:
    if disk.uuid:
        by_uuid = [image for image in point.images if image.disk.uuid == disk.uuid]
        if len(by_uuid) == 1:
            return by_uuid[0]
    return next((image for image in point.images if _same_place(image.disk, disk)), None)


def _same_place(old: Disk, new: Disk) -> bool:
    """Return whether two disks have one address and no UUID tells them apart."""
    return old.address == new.address and not (old.uuid and new.uuid and old.uuid != new.uuid)
