"""Chooses the physical RDMs whose content a backup reads from their LUNs, and tells how consistent that content is.

vSphere cannot put a physical RDM into a snapshot. Its LUN can be read by a proxy that sees it, if the request asks for
that. But a guest that runs goes on writing, so that the content is that of one instant only in two cases: the array
hook has made a snapshot of the LUN, which is read instead; or the VM is off all the time, which mode ASIS checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vmkeep.errors import StaleError, UnsupportedError, UsageError
from vmkeep.flows.backup_values import BackupRequest, Preflight, SnapshotTaken
from vmkeep.flows.disk_choice import fits
from vmkeep.model.disk import Disk
from vmkeep.model.diskrule import DiskRule, parse_disk_rule
from vmkeep.model.fullreason import FullReason
from vmkeep.model.job import DiskCopy, DiskJob
from vmkeep.model.lun import LunConsistency, LunRead, MappedLun
from vmkeep.model.point import BackupKind, BackupMode
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.proxy import require_lun
from vmkeep.vsphere import inventory, rdms
from vmkeep.vsphere.session import Session

_REASON = "it is read from its LUN, whose changes nobody tracks"


def choose(disks: Sequence[Disk], request: BackupRequest) -> tuple[Disk, ...]:
    """Clear the reason to skip a physical RDM that the request reads from its LUN, and leaves out by no other rule.

    :raises UsageError: a rule names one disk, and the VM has none of that name, or it is no physical RDM.
    """
    rules = [parse_disk_rule(text) for text in request.read_luns]
    rdm = ", ".join(f"{disk.address} ({disk.label})" for disk in disks if disk.physical_rdm) or "none"
    for rule in rules:
        if rule.named is not None and not any(disk.physical_rdm and fits(rule, disk) for disk in disks):
            raise UsageError(f"no physical RDM '{rule}' to read from its LUN; the VM has {rdm}")
    return tuple(replace(disk, skip=None) if _is_read(disk, rules) else disk for disk in disks)


def _is_read(disk: Disk, rules: Sequence[DiskRule]) -> bool:
    return disk.physical_rdm and not disk.left_out and any(fits(rule, disk) for rule in rules)


def find(site: Site, session: Session, moref: str, disks: Sequence[Disk]) -> tuple[MappedLun, ...]:
    """Return the LUN of each physical RDM that is copied. Without an array hook, this proxy has to see each one now.

    :param moref: managed object id of the VM.
    :raises UnsupportedError: vSphere does not tell the name of a LUN.
    :raises VmKeepError: this proxy cannot read a LUN.
    """
    wanted = [disk for disk in disks if disk.skip is None and disk.physical_rdm]
    names = rdms.lun_names(session, moref, wanted)
    for disk in wanted:
        if disk.key not in names:
            raise UnsupportedError(
                f"{disk.label} ({disk.address}): vSphere does not tell the name of its LUN, by which a proxy finds it"
            )
        if site.array_hook is None:
            require_lun(names[disk.key], capacity=disk.capacity)
    return tuple(MappedLun(key=disk.key, name=names[disk.key]) for disk in wanted)


def require_same(session: Session, pre: Preflight) -> None:
    """Return if each RDM still maps the LUN that the preflight found, because hours may have passed in a queue.

    :raises StaleError: one maps another LUN, or is gone.
    """
    if not pre.luns:
        return
    now = {disk.key: disk for disk in inventory.describe_vm(session, pre.vm.moref or "").disks}
    for disk in pre.disks:
        there = now.get(disk.key)
        if any(lun.key == disk.key for lun in pre.luns) and (there is None or there.lun_uuid != disk.lun_uuid):
            raise StaleError(f"VM {pre.vm.name}: {disk.label} does not map the LUN any more that it did: start again")


def others(disks: Sequence[Disk]) -> tuple[Disk, ...]:
    """Return the disks that are not read from a LUN."""
    return tuple(disk for disk in disks if disk.skip is not None or not disk.physical_rdm)


def job_for(disk: Disk, pre: Preflight, taken: SnapshotTaken) -> DiskJob | None:
    """Return the job of a disk that is read from its LUN; ``None``: it is read in another way."""
    mapped = next((lun.name for lun in pre.luns if lun.key == disk.key), None)
    if mapped is None:
        return None
    image = taken.luns.get(mapped)
    still = image is not None or pre.mode is BackupMode.ASIS
    return DiskJob(
        run=pre.request.run,
        begun=taken.begun,
        vm=VmRef(moref=taken.vm, name=pre.vm.name),
        vcenter=pre.vm.vcenter,
        snapshot=taken.snapshot,
        disk=disk,
        kind=BackupKind.FULL,
        reason=_REASON,
        change_id=None,
        extents=None,
        parent_root=None,
        full_reason=FullReason.NOT_TRACKED,
        lun=LunRead(
            name=image or mapped, of=mapped, consistency=LunConsistency.CRASH if still else LunConsistency.LIVE
        ),
    )


def warnings_of(copies: Sequence[DiskCopy]) -> list[str]:
    """Return a warning for each disk whose content is of many instants."""
    return [
        f"{copy.disk.label} ({copy.disk.address}) was read from LUN {copy.lun.name} while the guest could write to it, "
        "so that its content is of many instants: for a consistent one, let an array hook make a snapshot of the LUN, "
        "or switch the VM off and use mode ASIS"
        for copy in copies
        if copy.lun is not None and copy.lun.consistency is LunConsistency.LIVE
    ]
