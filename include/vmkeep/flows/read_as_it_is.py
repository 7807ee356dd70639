"""Checks of a VM whose disks are read without a snapshot: it has to be off, and to stay off and unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from vmkeep.errors import StaleError, UnsupportedError
from vmkeep.flows.backup_values import Preflight, SnapshotTaken
from vmkeep.model.disk import Disk
from vmkeep.vsphere import disturbances, inventory, sharing
from vmkeep.vsphere.session import Session


def require_off(session: Session, pre: Preflight) -> inventory.VmDescription:
    """Describe a VM that has to be off.

    :raises StaleError: the VM runs, so that its disks cannot be read without a snapshot.
    """
    vm = inventory.describe_vm(session, pre.vm.moref or "")
    if vm.running:
        raise StaleError(f"VM {pre.vm.name} was switched on since its backup was planned: start again")
    return vm


def require_untouched(session: Session, pre: Preflight, taken: SnapshotTaken, read: Sequence[Disk]) -> None:
    """Return if a VM whose disks were read without a snapshot has stayed off and unchanged.

    A restore over the VM is seen too, because it marks the VM first, which changes the configuration.

    :param read: the disks as they were when they were read.
    :raises StaleError: the disks may have been written to while they were read.
    """
    if taken.version is None:
        return
    vm = require_off(session, pre)
    for sharer in _sharers(session, vm, pre.disks):
        if not sharer.off or disturbances.find_disturbance(session, sharer.vm.moref, since=taken.taken_at) is not None:
            raise StaleError(
                f"VM {sharer.vm.name} was switched on while the disks that it shares with VM {pre.vm.name} were read: "
                "nothing is sealed, start again when it is off"
            )
    if (why := _change(session, vm, taken, read)) is not None:
        raise StaleError(
            f"VM {pre.vm.name} was changed while it was read without a snapshot ({why}): nothing is sealed, start again"
        )


def _change(session: Session, vm: inventory.VmDescription, taken: SnapshotTaken, read: Sequence[Disk]) -> str | None:
    """Return what has changed a VM since it was held still; ``None``: nothing has."""
    if vm.change_version != taken.version:
        return "its configuration is another"
    files = {disk.key: disk.file_name for disk in vm.disks}
    if moved := [disk.label for disk in read if files.get(disk.key) != disk.file_name]:
        return f"another file holds {', '.join(moved)}"
    found = disturbances.find_disturbance(session, vm.moref, since=taken.taken_at)
    return str(found) if found is not None else None


def refuse_shared_in_use(session: Session, vm: inventory.VmDescription, disks: Sequence[Disk]) -> None:
    """Return if no running VM shares a disk that would be read without a snapshot.

    :param disks: the VM's disks, as the backup would read or skip them.
    :raises UnsupportedError: other VMs use a disk; the message names them.
    """
    if users := [sharer.vm.name for sharer in _sharers(session, vm, disks) if not sharer.off]:
        raise UnsupportedError(
            f"VM {vm.identity.name} is off, but its shared disks are in use by VM {', '.join(users)}: power that off, "
            "too, or exclude these disks"
        )


def _sharers(session: Session, vm: inventory.VmDescription, disks: Sequence[Disk]) -> tuple[sharing.Sharer, ...]:
    copied = {disk.key for disk in disks if disk.skip is None}
    shared = [disk for disk in vm.disks if disk.key in copied and _may_be_shared(disk, off=not vm.running)]
    return sharing.sharers_of(session, vm.moref, shared)


def _may_be_shared(disk: Disk, *, off: bool) -> bool:
    """Return whether a disk is read as it is, so that another VM could write to it meanwhile."""
    return disk.skip is not None and (disk.skip.only_of_snapshots or (off and disk.physical_rdm))
