"""Chooses the backup mode and the quiescing: those that were asked for, or the nearest that the VM allows."""

from __future__ import annotations

from collections.abc import Sequence

from vmkeep.errors import UnsupportedError
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.lateclass import dataclass
from vmkeep.model.changedown import Changed, ChangeDown, ChangeReason
from vmkeep.model.disk import Disk
from vmkeep.model.point import BackupMode, Quiesce
from vmkeep.vsphere.inventory import PowerState, VmDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChoice:
    """The mode and the quiescing to use, the changes from the request, and warnings of those that matter to people."""

    mode: BackupMode
    quiesce: Quiesce
    changes: tuple[ChangeDown, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_mode(request: BackupRequest, vm: VmDescription, disks: Sequence[Disk]) -> ModeChoice:
    """Fit the request to the VM. Every change is recorded; one that weakens the restore point is a warning, too.

    :raises UnsupportedError: the mode is ASIS and the VM runs, because VDDK opens the disks of a running VM only by a
        snapshot; or vSphere takes no snapshot of the running VM; or quiescing is required and not possible.
    """
    mode: BackupMode = request.mode
    changes = []
    for change in (_without_snapshot, _without_memory):
        if (changed := change(mode, vm, disks)) is not None:
            changes.append(changed)
            mode = BackupMode(changed.used)
    if mode is BackupMode.ASIS and vm.running:
        raise UnsupportedError(
            f"VM {vm.identity.name} is running: mode ASIS reads disks without a snapshot, so power it off first"
        )
    quiesce = request.quiesce
    if (changed := _without_quiescing(request, vm, mode)) is not None:
        changes.append(changed)
        quiesce = Quiesce.NONE
    warnings = tuple(_warning(change) for change in changes if change.reason in _TOLD)
    return ModeChoice(mode=mode, quiesce=quiesce, changes=tuple(changes), warnings=warnings)


_TOLD = (
    ChangeReason.SNAPSHOTS_REFUSED,
    ChangeReason.OUTSIDE_MEMORY_SNAPSHOT,
    ChangeReason.FAULT_TOLERANT,
    ChangeReason.NO_TOOLS,
)
"""Reasons that are warnings. The others follow from the VM's power state and weaken nothing."""


def _warning(change: ChangeDown) -> str:
    if change.what == Changed.QUIESCE:
        return f"quiescing ({change.asked}) is not possible: {change.detail}"
    return str(change)


def _mode_change(asked: BackupMode, used: BackupMode, reason: ChangeReason, detail: str) -> ChangeDown:
    return ChangeDown(what=Changed.MODE, asked=asked, used=used, reason=reason, detail=detail)


def _without_snapshot(mode: BackupMode, vm: VmDescription, _disks: Sequence[Disk]) -> ChangeDown | None:
    """Return the change to ASIS of a VM that can have no snapshot, if it is one.

    :raises UnsupportedError: such a VM runs, so that its disks cannot be read at all.
    """
    if mode is BackupMode.ASIS:
        return None
    if vm.template:
        return _mode_change(mode, BackupMode.ASIS, ChangeReason.TEMPLATE, "a template has no other mode")
    if not vm.snapshot_obstacles:
        return None
    why = "; ".join(vm.snapshot_obstacles)
    if vm.running:
        raise UnsupportedError(
            f"VM {vm.identity.name}: vSphere refuses every snapshot of it, whichever disks are excluded: {why}. Or "
            "power it off, and the VMs that share its disks, and back it up with mode ASIS"
        )
    detail = f"vSphere refuses every snapshot of this VM: {why}"
    return _mode_change(mode, BackupMode.ASIS, ChangeReason.SNAPSHOTS_REFUSED, detail)


def _without_memory(mode: BackupMode, vm: VmDescription, disks: Sequence[Disk]) -> ChangeDown | None:
    """Return the change to a snapshot without memory, where the VM has no memory to hold, or its disks forbid it."""
    if mode not in (BackupMode.SNAPSHOT_INCL_MEM, BackupMode.SUSPEND):
        return None
    without = BackupMode.SNAPSHOT_EXCL_MEM
    if not vm.running:
        return _mode_change(mode, without, *_at_rest(vm))
    if vm.fault_tolerant:
        detail = "the VM is fault-tolerant, and vSphere neither suspends it nor takes a snapshot with its memory"
        return _mode_change(mode, without, ChangeReason.FAULT_TOLERANT, detail)
    unsnapshotted = [
        disk.label for disk in disks if disk.compatibility_mode or disk.disk_mode.startswith("independent")
    ]
    if unsnapshotted and mode is BackupMode.SNAPSHOT_INCL_MEM:
        detail = f"{', '.join(unsnapshotted)} cannot be part of a memory snapshot"
        return _mode_change(mode, without, ChangeReason.OUTSIDE_MEMORY_SNAPSHOT, detail)
    return None


def _at_rest(vm: VmDescription) -> tuple[ChangeReason, str]:
    if vm.power is PowerState.SUSPENDED:
        return ChangeReason.ALREADY_SUSPENDED, "the VM was suspended before the backup"
    return ChangeReason.NOT_RUNNING, "the VM is off"


def _without_quiescing(request: BackupRequest, vm: VmDescription, mode: BackupMode) -> ChangeDown | None:
    """Return the change to no quiescing, if the guest cannot be quiesced.

    :raises UnsupportedError: quiescing is required. A VM that is off satisfies that, because its data is written.
    """
    if request.quiesce is Quiesce.NONE:
        return None
    if not vm.running:
        reason, detail = _at_rest(vm)
    elif mode is BackupMode.SNAPSHOT_INCL_MEM:
        reason, detail = ChangeReason.MEMORY_IS_HELD, "vSphere does not quiesce the guest for a memory snapshot"
    elif mode is BackupMode.SUSPEND:
        reason, detail = ChangeReason.MEMORY_IS_HELD, "a suspended guest cannot write out its data"
    elif not vm.tools_running:
        reason, detail = ChangeReason.NO_TOOLS, "VMware Tools do not run in the guest"
    else:
        return None
    if request.quiesce_required and reason is not ChangeReason.NOT_RUNNING:
        raise UnsupportedError(
            f"VM {vm.identity.name}: quiescing is required, but not possible: {detail}. {_CURES[reason]}, or ask for "
            "quiesce 'preferred' or 'off'"
        )
    return ChangeDown(
        what=Changed.QUIESCE, asked=str(request.quiesce), used=str(Quiesce.NONE), reason=reason, detail=detail
    )


_CURES = {
    ChangeReason.ALREADY_SUSPENDED: "Resume the VM",
    ChangeReason.MEMORY_IS_HELD: "Use mode SNAPSHOT_EXCL_MEM",
    ChangeReason.NO_TOOLS: "Start VMware Tools",
}
