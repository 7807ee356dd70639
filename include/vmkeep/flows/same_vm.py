"""Lineage: whether the VM and the disk are the very ones of which a restore point was taken.

No single UUID tells. A storage-level copy has the instance UUID, the disk UUIDs and the tracking UUIDs of the original;
a managed object id means something in one vCenter only; a change id of one disk is accepted by the copy, and the answer
is wrong for it. So all of it has to be the same, and what is not known counts as different: the price is one full read.
"""

from __future__ import annotations

from vmkeep.model.disk import ChangeId, Disk
from vmkeep.model.point import DiskImage, VmIdentity

_TELLS = {
    "vcenter": "vCenter",
    "moref": "managed object id",
    "instance_uuid": "instance UUID",
    "bios_uuid": "BIOS UUID",
}


def other_vm(then: VmIdentity, now: VmIdentity) -> str | None:
    """Return why a point's VM is not known to be this very one; ``None``: it is."""
    for name, what in _TELLS.items():
        before, here = getattr(then, name), getattr(now, name)
        if not before or not here:
            return f"the VM's {what} is not known for certain (then {before or 'unknown'}, now {here or 'unknown'})"
        if before != here:
            return f"it was taken of a VM with {what} {before}, and this one has {here}"
    return None


def other_history(image: DiskImage, disk: Disk, change_id: ChangeId | None) -> str | None:
    """Return why a disk is not known to have gone on from where a point holds it; ``None``: it has.

    The tracking's own UUID, and the order of change ids, are compared where the changes are asked for.

    :param disk: as it is in the snapshot.
    :param change_id: the snapshot's.
    """
    then = image.disk
    if not then.uuid or not disk.uuid:
        return "the disk has no UUID by which it could be known again"
    if then.uuid != disk.uuid:
        return f"it is another disk (UUID {then.uuid} then, {disk.uuid} now)"
    if not then.chain:
        return "the last point was made by an older vmkeep, which did not keep the names of the disk's files"
    if not disk.chain:
        return "vSphere does not tell the names of the disk's files"
    if then.chain[0] != disk.chain[0]:
        return f"the disk is another file now: {then.chain[0]} became {disk.chain[0]}"
    if any(before != now for before, now in zip(then.chain, disk.chain, strict=False)):
        return f"the disk does not go on from {then.chain[-1]}: it went back to a snapshot, or snapshots were replaced"
    if image.change_id == change_id:
        return (
            f"the change id {change_id} is that of the last point: the disk went back to it, or changes are not counted"
        )
    return None
