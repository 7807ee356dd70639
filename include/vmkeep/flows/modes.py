"""Chooses the backup mode and the quiescing: those that were asked for, or the nearest that the VM allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vmkeep.errors import UnsupportedError
from vmkeep.flows.values import BackupRequest
from vmkeep.model.disk import Disk
from vmkeep.model.point import BackupMode, Quiesce
from vmkeep.vsphere.inventory import VmDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChoice:
    """The mode and the quiescing to use, and a warning for each that differs from the request."""

    mode: BackupMode
    quiesce: Quiesce
    warnings: tuple[str, ...] = ()


def choose_mode(request: BackupRequest, vm: VmDescription, disks: Sequence[Disk]) -> ModeChoice:
    """Fit the request to the VM. A change that affects the restore point is always told as a warning.

    :raises UnsupportedError: the mode is ASIS and the VM runs, because VDDK opens the disks of a running VM only by a
        snapshot; or vSphere takes no snapshot of the running VM; or the mode is SUSPEND.
    """
    name, warnings = vm.identity.name, []
    mode, quiesce = request.mode, request.quiesce
    if mode is BackupMode.SUSPEND:
        raise UnsupportedError(f"VM {name}: mode SUSPEND is not there yet; use SNAPSHOT_INCL_MEM or SNAPSHOT_EXCL_MEM")
    if vm.template:
        mode = BackupMode.ASIS  # without a warning, because a template never runs and has no other mode
    if vm.snapshot_obstacles and mode is not BackupMode.ASIS:
        why = "; ".join(vm.snapshot_obstacles)
        if vm.running:
            raise UnsupportedError(
                f"VM {name}: vSphere refuses every snapshot of it, whichever disks are excluded: {why}. Or power it "
                "off, and the VMs that share its disks, and back it up with mode ASIS"
            )
        warnings.append(f"mode {mode} changed to ASIS: vSphere refuses every snapshot of this VM: {why}")
        mode = BackupMode.ASIS
    if mode is BackupMode.ASIS and vm.running:
        raise UnsupportedError(f"VM {name} is running: mode ASIS reads disks without a snapshot, so power it off first")
    unsnapshotted = [
        disk.label for disk in disks if disk.compatibility_mode or disk.disk_mode.startswith("independent")
    ]
    if mode is BackupMode.SNAPSHOT_INCL_MEM and unsnapshotted:
        why = f"{', '.join(unsnapshotted)} cannot be part of a memory snapshot"
        warnings.append(f"mode SNAPSHOT_INCL_MEM changed to SNAPSHOT_EXCL_MEM: {why}")
        mode = BackupMode.SNAPSHOT_EXCL_MEM
    if mode is BackupMode.SNAPSHOT_INCL_MEM or not vm.running:
        quiesce = Quiesce.NONE
    elif quiesce is not Quiesce.NONE and not vm.tools_running:
        warnings.append(f"quiescing ({quiesce}) is not possible: VMware Tools do not run in the guest")
        quiesce = Quiesce.NONE
    return ModeChoice(mode=mode, quiesce=quiesce, warnings=tuple(warnings))
