"""Finds the restore point, and its disk, that a backup continues, or the reason why a disk is read in full."""

from __future__ import annotations

from itertools import islice

from vmkeep.flows.same_vm import other_vm
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk
from vmkeep.model.fullreason import FullRead, FullReason
from vmkeep.model.point import DiskImage, RestorePoint, VmIdentity
from vmkeep.repository import Repository

NO_POINT = FullRead(reason=FullReason.NO_POINT, text="no restore point of this VM to continue")
_LOOK_BACK = 64
"""Number of points to pass over in search of this VM's last one, because a history may have points of copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPoint:
    """The newest point of this very VM, or the reason why no disk can continue a point."""

    point: RestorePoint | None
    full: FullRead | None = None
    warnings: tuple[str, ...] = ()


def find_last_point(repository: Repository, vm: VmIdentity) -> LastPoint:
    """Look for the newest point of this very VM. The list that is searched also holds points of copies of the VM.

    A point that cannot be read ends the search, because nobody knows which VM it is of. It stops no backup.
    """
    full = NO_POINT
    names = repository.manifests.quick_names(vm.key)
    for read in islice(repository.newest_first(vm.key, names), _LOOK_BACK):
        if read.point is None:
            warning = f"every disk is read in full: {read.problem}"
            why_not = f"the last restore point cannot be read: {read.problem}"
            unreadable = FullRead(reason=FullReason.POINT_UNREADABLE, text=why_not)
            return LastPoint(point=None, full=unreadable, warnings=(warning,))
        why = other_vm(read.point.vm, vm)
        if why is None:
            return LastPoint(point=read.point)
        if full == NO_POINT:
            full = FullRead(reason=FullReason.OTHER_VM, text=f"{read.point.ref} is of another VM: {why}")
    warnings = () if full == NO_POINT else (f"every disk is read in full: {full.text}",)
    return LastPoint(point=None, full=full, warnings=warnings)


def choose_parent(
    disk: Disk, point: RestorePoint | None, *, full: bool, unfit: FullRead | None = None, missing: FullRead = NO_POINT
) -> DiskImage | FullRead:
    """Find the disk in the last point, or the reason to read it in full.

    A disk whose capacity changed is read in full, because change tracking is not trusted across a resize.

    :param unfit: the reason why no increment may continue the point; see :func:`find_unfit`.
    :param missing: the reason to give if there is no point to continue.
    """
    if full:
        return FullRead(reason=FullReason.ASKED, text="a full was asked for")
    if point is None:
        return missing
    if unfit is not None:
        return unfit
    image = point.image_of(disk)
    if image is None:
        why = f"first backup of this disk: {point.ref} does not hold it"
        return FullRead(reason=FullReason.NEW_DISK, text=why)
    if image.disk.capacity != disk.capacity:
        why = f"capacity changed from {image.disk.capacity} to {disk.capacity} bytes"
        return FullRead(reason=FullReason.RESIZED, text=why)
    if image.change_id is None:
        return FullRead(reason=FullReason.NO_CHANGE_ID, text=f"{point.ref} has no change id of this disk")
    return image


def find_unfit(repository: Repository, ref: str) -> FullRead | None:
    """Return the reason why no increment may continue a point, because it would inherit a loss or a doubt."""
    if repository.marks.damage_of(ref) is not None:
        return FullRead(reason=FullReason.POINT_DAMAGED, text=f"{ref} is marked damaged")
    if repository.marks.suspicion_of(ref) is not None:
        return FullRead(reason=FullReason.POINT_SUSPECT, text=f"{ref} is marked suspect")
    return None
