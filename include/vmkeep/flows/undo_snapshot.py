"""Takes the snapshots of a restore over an existing VM: the one to undo it, and the one to ask for the changes.

The snapshot to undo a restore is taken when the VM is off, before the first write, and stays. The disks are written
above it, so that their files below it stay as they were. If no such snapshot is asked for, one is taken only to ask
for the changes, and removed before the first write.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from vmkeep.errors import UnsupportedError, VmKeepError
from vmkeep.flows.block_choice import ask_choices
from vmkeep.flows.restore_ledger import RunLedger
from vmkeep.flows.restore_room import needs_above
from vmkeep.flows.restore_values import DiskMatch, RestorePlan
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk, SkipReason
from vmkeep.model.fieldwords import named
from vmkeep.model.overwrite import BlockChoice, Undo
from vmkeep.model.purpose import Purpose
from vmkeep.model.room import require_room
from vmkeep.model.wording import size
from vmkeep.repository import Repository
from vmkeep.vsphere import inventory, rightscheck, snapshots
from vmkeep.vsphere.rights import When
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldStill:
    """A VM that is off, with its state noted before the first write."""

    choices: tuple[BlockChoice, ...]
    undo: str | None
    """Managed object id of the snapshot that stays."""


def require_undoable(
    session: Session,
    wanted: Undo,
    vm: inventory.VmDescription,
    matches: tuple[DiskMatch, ...],
    *,
    nvram: bool,
) -> tuple[str, ...]:
    """Return warnings about the snapshot that a restore keeps, if one is wanted.

    :param nvram: the NVRAM is put back.
    :raises ConflictError: a datastore has less room than the snapshot may take.
    :raises UnsupportedError: vSphere takes no snapshot of the VM, or of a disk that is written.
    :raises PermissionDeniedError: the user may not take the snapshot, or not go back to it.
    """
    if wanted is Undo.NONE:
        return ()
    targets = {disk.key: disk for disk in vm.disks}
    written = [targets[match.target_key] for match in matches if match.written and match.target_key is not None]
    left_out = [disk.label for disk in written if disk.skip is SkipReason.INDEPENDENT]
    if why := [*vm.snapshot_obstacles, *(f"{label} is independent, and in no snapshot" for label in left_out)]:
        raise UnsupportedError(
            f"a restore over VM {vm.ref} cannot be undone by a snapshot: {'; '.join(why)}. Back the VM up first, and "
            f"say {named('undo', 'none')}"
        )
    rightscheck.require_on_vm(session, Purpose.RESTORE_OVER, vm, when=(When.UNDO,))
    _require_room(session, vm, written)
    most = size(sum(disk.capacity for disk in written))
    until = (
        "'vmkeep restore accept' removes it or 'vmkeep restore undo' goes back to it (DAGs of these names in Airflow)"
    )
    kept = f"a snapshot of VM {vm.identity.name} is kept, and grows by up to {most} on its datastore"
    about_nvram = "the NVRAM is put back, too, and it is not certain that going back to the snapshot undoes that"
    return (f"{kept}; until {until}, every backup of the VM reads all", *((about_nvram,) if nvram else ()))


def _require_room(session: Session, vm: inventory.VmDescription, written: Sequence[Disk]) -> None:
    for need in needs_above(session, vm, written):
        require_room(
            need,
            "the snapshot to undo the restore can grow to",
            remedy=f"make room there, or back the VM up first and say {named('undo', 'none')}",
        )


def hold_still(session: Session, repository: Repository, plan: RestorePlan, run: str, *, since: datetime) -> HeldStill:
    """Take the snapshots that a restore needs of its VM, which is off, and ask for the changes.

    If that fails, no snapshot stays.

    :param since: a time before the VM was switched off, by vCenter's clock.
    """
    moref = plan.target.moref if plan.target is not None and plan.target.moref is not None else ""
    undo = _taken_to_undo(session, repository, moref, run) if plan.request.over.undo is Undo.SNAPSHOT else None

    def take() -> str:
        return undo or _taken(session, repository, moref, run, undo=False)

    try:
        try:
            choices = ask_choices(session, repository, plan, run, since=since, take=take)
        finally:
            if undo is None:
                remove_temporary(session, repository, moref, run)
    except BaseException:
        _try_to_remove_unused(session, repository, moref, run)
        raise
    return HeldStill(choices=choices, undo=undo)


def _taken_to_undo(session: Session, repository: Repository, moref: str, run: str) -> str:
    remove_unused(session, repository, moref, run)  # because an earlier call of the run may have failed later on
    RunLedger(repository, run).note_untouched()
    return _taken(session, repository, moref, run, undo=True)


def _taken(session: Session, repository: Repository, moref: str, run: str, *, undo: bool) -> str:
    return snapshots.create(session, moref, run=run, repository=repository.id, quiesce=False, undo=undo).moref


def remove_temporary(session: Session, repository: Repository, moref: str, run: str) -> int:
    """Remove the snapshots that a restore took to ask for changes, or to write. Return their number."""
    left = [one for one in snapshots.find_by_run(session, moref, run) if not one.is_of_other(repository.id)]
    for snapshot in left:
        snapshots.discard(session, moref, snapshot)
    return len(left)


def remove_unused(session: Session, repository: Repository, moref: str, run: str) -> None:
    """Remove the snapshot to undo a restore that certainly has not written to any disk: there is nothing to undo."""
    if not RunLedger(repository, run).wrote_nothing():
        return
    for snapshot in snapshots.list_all(session, moref):
        if snapshot.undo_of == run and not snapshot.is_of_other(repository.id):
            snapshots.remove(session, moref, snapshot.moref)


def _try_to_remove_unused(session: Session, repository: Repository, moref: str, run: str) -> None:
    try:
        remove_unused(session, repository, moref, run)
    except VmKeepError as error:
        log.warning("VM %s: a snapshot of run %s stays, though nothing was written: %s", moref, run, error)
