"""Finds the restore point, and its disk, that a backup continues; where none fits, says why it reads in full."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from vmkeep.flows.same_vm import other_vm
from vmkeep.model.disk import Disk
from vmkeep.model.point import DiskImage, RestorePoint, VmIdentity
from vmkeep.repository import Repository

NO_POINT = "no restore point of this VM to continue"
_LOOK_BACK = 64
"""Points of other VMs in the same history (copies, say) that are passed over in search of this VM's last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPoint:
    """The newest point of the very VM, or the reason why no disk can continue one."""

    point: RestorePoint | None
    reason: str = ""
    warnings: tuple[str, ...] = ()


def find_last_point(repository: Repository, vm: VmIdentity) -> LastPoint:
    """Look for the newest point that was taken of this very VM; points of its copies are in the same list.

    One that cannot be read ends the search, because nobody knows whose it is; it stops no backup.
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
    """The start of an increment, or the reason why the disk is read in full."""

    image: DiskImage | None
    reason: str


def choose_parent(
    disk: Disk, point: RestorePoint | None, *, full: bool, damaged: bool = False, missing: str = NO_POINT
) -> Parent:
    """Find the disk in the last point by its UUID, else by its address; the file name changes and says nothing.

    A disk whose capacity changed is read in full: change tracking is not trusted across a resize. So is every disk
    after a point that is ``damaged``, for an increment would carry on what is lost of it.

    :param missing: why there is no point to continue.
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
    """Same address, and not known to be another disk."""
    return old.address == new.address and not (old.uuid and new.uuid and old.uuid != new.uuid)
