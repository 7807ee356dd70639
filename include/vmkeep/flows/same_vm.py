"""Tells whether a VM and its disk are the very ones of which a restore point was taken.

No single UUID proves it. A storage-level copy has the instance UUID, the disk UUIDs and the tracking UUIDs of the
original. vSphere accepts a change id of the original for the copy, and answers wrongly. A managed object id means
something in one vCenter only. So all of these have to be the same. An unknown value counts as different, because the
price of that is only one full read.
"""

from __future__ import annotations

from vmkeep.model.disk import ChangeId, Disk
from vmkeep.model.fullreason import FullRead, FullReason
from vmkeep.model.point import DiskImage, VmIdentity

_TELLS = {
    "vcenter": "vCenter",
    "moref": "managed object id",
    "instance_uuid": "instance UUID",
    "bios_uuid": "BIOS UUID",
}


def other_vm(then: VmIdentity, now: VmIdentity) -> str | None:
    """Return the reason why a point's VM may not be this very VM; ``None``: it is this VM."""
    for name, what in _TELLS.items():
        before, here = getattr(then, name), getattr(now, name)
        if not before or not here:
            return f"the VM's {what} is not known for certain (then {before or 'unknown'}, now {here or 'unknown'})"
        if before != here:
            return f"it was taken of a VM with {what} {before}, and this one has {here}"
    return None


def other_history(image: DiskImage, disk: Disk, change_id: ChangeId | None) -> FullRead | None:
    """Return the reason why a disk may not continue the history that a point holds; ``None``: it continues it.

    ``vsphere.changes`` compares the tracking's own UUID and the order of change ids.

    :param disk: the disk as the snapshot has it.
    :param change_id: the disk's change id in the snapshot.
    """
    if (other := _other_disk(image.disk, disk)) is not None:
        return other
    if image.change_id == change_id:
        why = (
            f"the change id {change_id} is that of the last point: the disk went back to it, or changes are not counted"
        )
        return FullRead(reason=FullReason.SAME_CHANGE_ID, text=why)
    return None


def _other_disk(then: Disk, disk: Disk) -> FullRead | None:
    """Return the reason why a disk may be another one than the point's, or its files another line of files."""
    if not then.uuid or not disk.uuid:
        return FullRead(reason=FullReason.UNKNOWN_DISK, text="the disk has no UUID by which it could be known again")
    if then.uuid != disk.uuid:
        why = f"it is another disk (UUID {then.uuid} then, {disk.uuid} now)"
        return FullRead(reason=FullReason.OTHER_DISK, text=why)
    if not then.chain:
        why = "the last point was made by an older vmkeep, which did not keep the names of the disk's files"
        return FullRead(reason=FullReason.UNKNOWN_DISK, text=why)
    if not disk.chain:
        why = "vSphere does not tell the names of the disk's files"
        return FullRead(reason=FullReason.UNKNOWN_DISK, text=why)
    if then.chain[0] != disk.chain[0]:
        why = f"the disk is another file now: {then.chain[0]} became {disk.chain[0]}"
        return FullRead(reason=FullReason.MOVED, text=why)
    if any(before != now for before, now in zip(then.chain, disk.chain, strict=False)):
        why = f"the disk does not go on from {then.chain[-1]}: it went back to a snapshot, or snapshots were replaced"
        return FullRead(reason=FullReason.REVERTED, text=why)
    return None
