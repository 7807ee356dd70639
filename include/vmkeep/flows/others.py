"""Other restores: is the run that has marked a VM still at work, and what becomes of it if not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vmkeep.errors import ConflictError, NotFoundError
from vmkeep.flows.connect import fence_deadline
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.flows.values import DeadRestore
from vmkeep.repository import Repository
from vmkeep.vsphere import inventory, machines, marks
from vmkeep.vsphere.marks import VmMark
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

GIVEN_UP = timedelta(hours=48)
"""Age of a mark from which a silent run that nobody here knows is dead."""
LEASE = "restore"
"""A restore that is one process holds a lease of this name from its plan to its end."""

HasEnded = Callable[[str], bool | None]
"""Takes the words in which an owner named itself; ``None``: nobody here knows that owner."""


def nobody_knows(_owner: str) -> bool | None:
    """Say that no owner is known, as the command line does."""
    return None


def is_alive(repository: Repository, mark: VmMark, *, now: datetime, has_ended: HasEnded) -> bool:
    """Tell whether the run that has marked a VM may still be at work.

    :param now: by vCenter's clock.
    """
    area = repository.run(mark.run)
    if area.fenced:
        return False
    try:
        owner = area.load("owner").decode()
    except NotFoundError:
        return mark.age(now) < GIVEN_UP  # a run of another repository, or one that is long over
    ended = has_ended(owner) if owner else None
    if ended is not None:
        return not ended
    return area.has_live_lease() or (bool(owner) and mark.age(now) < GIVEN_UP)


def dead_or_refused(
    session: Session, repository: Repository, vm: str, name: str, mark: VmMark | None, has_ended: HasEnded
) -> DeadRestore | None:
    """Return the dead restore that has left its mark on a VM, if any.

    :raises ConflictError: it is not dead.
    """
    if mark is None:
        return None
    if is_alive(repository, mark, now=session.server_time(), has_ended=has_ended):
        raise ConflictError(
            f"VM {name} ({vm}) is being {'made' if mark.made else 'written over'} by the restore of run {mark.run}: "
            "wait for it, or stop it, then try again"
        )
    return DeadRestore(vm=vm, run=mark.run, made=mark.made)


def refuse_beside_a_restore(session: Session, repository: Repository, vm: inventory.VmDescription) -> None:
    """Return if no restore is at work on a VM.

    :raises ConflictError: one is: a backup now would hold a mixture.
    """
    dead_or_refused(session, repository, vm.moref, vm.identity.name, vm.mark, nobody_knows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What was found when a restore was ended from outside."""

    destroyed: int
    """VMs that it had begun to make."""
    let_go: tuple[str, ...]
    """VMs, by id, that it was writing over: they stay off, partly written."""


def end_restore(session: Session, repository: Repository, run: str) -> Ending:
    """End a restore that did not finish: stop its writers, destroy what it made, let go what it was writing over.

    A VM that it had handed over is only let go.
    """
    finished = RunLedger(repository, run).claim(Outcome.CLEANED_UP) is Outcome.HANDED_OVER
    if not finished:
        area = repository.run(run)
        area.fence()
        area.await_copies(fence_deadline(run))
    destroyed = 0 if finished else machines.destroy_marked(session, run)
    marked = [found for found in marks.list_marked(session) if found.mark.run == run]
    held = [found for found in marked if finished or not found.mark.made]
    for found in held:
        marks.let_go(session, found.vm, run)
        if not finished:
            log.warning("VM %s (%s): run %s has ended; its disks may be partly written", found.name, found.vm, run)
    return Ending(destroyed=destroyed, let_go=tuple(found.vm for found in held if not finished))
