"""Looks whether a VM is still as its backup was planned, once its snapshot is there.

Hours in a queue may lie between the plan and the snapshot. A plan of a VM that was off asks for no quiescing and runs
no command in the guest; a plan of other disks would leave a new one out silently. So a VM that has changed in such a
way is planned again, and the point never claims more than was reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from vmkeep.errors import QuiesceFailedError, StaleError
from vmkeep.flows.backup_values import Preflight
from vmkeep.flows.quiescing import Quiesced
from vmkeep.model.changedown import Changed, ChangeDown, ChangeReason
from vmkeep.model.disk import Disk
from vmkeep.model.point import Quiesce
from vmkeep.vsphere.inventory import PowerState, VmDescription

_DONE = {PowerState.ON: "switched on", PowerState.OFF: "switched off", PowerState.SUSPENDED: "suspended"}


def require_as_planned(pre: Preflight, now: VmDescription) -> None:
    """Return if the VM has the power state and the disks that its backup was planned for.

    :raises StaleError: it has others, so that the plan is not true any more.
    """
    planned = PowerState.ON if pre.running else PowerState.SUSPENDED if pre.suspended else PowerState.OFF
    if now.power is not planned:
        raise StaleError(f"VM {pre.vm.name} was {_DONE[now.power]} since its backup was planned: start again")
    if differences := _differences(pre.disks, now.disks):
        raise StaleError(
            f"VM {pre.vm.name}: its disks have changed since its backup was planned ({'; '.join(differences)}): start "
            "again"
        )


def _differences(planned: Sequence[Disk], now: Sequence[Disk]) -> list[str]:
    """Return the differences that change which disks are copied. A disk that has grown is copied as it is now."""
    before, after = {disk.key: disk for disk in planned}, {disk.key: disk for disk in now}
    found = [f"{disk.label} was added" for key, disk in after.items() if key not in before]
    for key, disk in before.items():
        if key not in after:
            found.append(f"{disk.label} was removed")
        elif disk.uuid != after[key].uuid:
            found.append(f"{disk.label} is another disk")
        elif disk.disk_mode != after[key].disk_mode:
            found.append(f"{disk.label} was {disk.disk_mode} and is {after[key].disk_mode}")
    return found


def reached(quiesced: Quiesced, *, tools_run: Callable[[], bool], required: bool, vm: str) -> Quiesced:
    """Return the quiescing that was reached, because vSphere ignores the wish if VMware Tools do not run any more.

    vSphere may call such a snapshot quiesced all the same, so the state of the Tools right after it counts, too.

    :param tools_run: tells whether they run now; it may wait for them.
    :raises QuiesceFailedError: quiescing was required.
    """
    if quiesced.used is Quiesce.NONE or (quiesced.snapshot.quiesced and tools_run()):
        return quiesced
    why = "VMware Tools have stopped in the guest since the backup was planned"
    if required:
        raise QuiesceFailedError(f"VM {vm}: quiescing is required, but {why}, so there is no backup", fault="")
    change = ChangeDown(
        what=Changed.QUIESCE,
        asked=str(quiesced.used),
        used=str(Quiesce.NONE),
        reason=ChangeReason.NO_TOOLS,
        detail=why,
    )
    return replace(
        quiesced,
        used=Quiesce.NONE,
        changes=(*quiesced.changes, change),
        warnings=(*quiesced.warnings, f"quiescing ({change.asked}) was not possible: {why}"),
    )
