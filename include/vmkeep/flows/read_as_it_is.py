"""Checks of a VM whose disks are read without a snapshot: it has to be off, and to stay off and unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from vmkeep.errors import StaleError, UnsupportedError
from vmkeep.flows.values import Preflight, SnapshotTaken
from vmkeep.model.disk import Disk
from vmkeep.vsphere import inventory, sharing
from vmkeep.vsphere.session import Session


def require_off(session: Session, pre: Preflight) -> inventory.VmDescription:
    """Describe a VM that has to be off.

    :raises StaleError: the VM runs, so that its disks cannot be read without a snapshot.
    """
    vm = inventory.describe_vm(session, pre.vm.moref or "")
    if vm.running:
        raise StaleError(f"VM {pre.vm.name} was switched on since its backup was planned: start again")
    return vm


def require_untouched(session: Session, pre: Preflight, taken: SnapshotTaken) -> None:
    """Return if a VM whose disks were read without a snapshot is still off and unchanged.

    A restore over the VM is seen too, because it marks the VM first, which changes the configuration.

    :raises StaleError: the disks may have been written to while they were read.
    """
    if taken.version is None:
        return
    vm = require_off(session, pre)
    if users := _users(session, vm, pre.disks):
        raise StaleError(
            f"VM {', '.join(users)} was switched on while the disks that it shares with VM {pre.vm.name} were read: "
            "nothing is sealed, start again when it is off"
        )
    if vm.change_version != taken.version:
        raise StaleError(
            f"VM {pre.vm.name} was changed while it was read without a snapshot: nothing is sealed, start again"
        )


def refuse_shared_in_use(session: Session, vm: inventory.VmDescription, disks: Sequence[Disk]) -> None:
    """Return if no running VM shares a disk that would be read without a snapshot.

    :param disks: the VM's disks, as the backup would read or skip them.
    :raises UnsupportedError: other VMs use a disk; the message names them.
    """
    if users := _users(session, vm, disks):
        raise UnsupportedError(
            f"VM {vm.identity.name} is off, but its shared disks are in use by VM {', '.join(users)}: power that off, "
            "too, or exclude these disks"
        )


def _users(session: Session, vm: inventory.VmDescription, disks: Sequence[Disk]) -> tuple[str, ...]:
    copied = {disk.key for disk in disks if disk.skip is None}
    shared = [disk for disk in vm.disks if disk.key in copied and _may_be_shared(disk, off=not vm.running)]
    return sharing.users_of(session, vm.moref, shared)


def _may_be_shared(disk: Disk, *, off: bool) -> bool:
    """Return whether a disk is read as it is, so that another VM could write to it meanwhile."""
    return disk.skip is not None and (disk.skip.only_of_snapshots or (off and disk.physical_rdm))
