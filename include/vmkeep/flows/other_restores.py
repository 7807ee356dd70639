"""Other restores: is the run that has marked a VM still at work, and what becomes of it if not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from vmkeep.errors import ConflictError, CorruptError, NotFoundError
from vmkeep.flows.connect import fence_deadline
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.flows.values import DeadRestore
from vmkeep.model.point import VmIdentity
from vmkeep.repository import Repository, RunArea
from vmkeep.vsphere import claims, machines
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

GIVEN_UP = timedelta(hours=48)
"""Age from which a silent run of an unknown owner is dead."""
YOUNG = timedelta(minutes=10)
"""Age below which a run is alive, because it holds no lease between its beginning and its first copy."""
LEASE = "restore"
"""A restore that is one process holds a lease of this name from its plan to its end."""

HasEnded = Callable[[str], bool | None]
"""Takes the words in which an owner named itself; ``None``: nobody here knows that owner."""


def nobody_knows(_owner: str) -> bool | None:
    """Say that no owner is known, as the command line does."""
    return None


def is_young(since: datetime, now: datetime) -> bool:
    """Whether a run has begun just now, by vCenter's clock. One that was put back since makes no run young for long."""
    return abs(now - since) < YOUNG


def owner_has_ended(area: RunArea, has_ended: HasEnded) -> bool | None:
    """Return whether the owner of a run has ended; ``None``: nobody knows, or no note that can be read names it."""
    try:
        owner = area.load("owner").decode()
    except (NotFoundError, CorruptError):
        return None
    return has_ended(owner) if owner else None


def is_alive(
    repository: Repository, mark: VmClaim, *, now: datetime, has_ended: HasEnded, given_up: timedelta = GIVEN_UP
) -> bool:
    """Tell whether the run that has marked a VM may still be at work, as far as this repository can tell.

    :param now: by vCenter's clock.
    """
    if mark.repository != repository.id:
        return True  # only its own repository knows
    area = repository.run(mark.run)
    if area.fenced:
        return False
    try:
        owner = area.load("owner").decode()
    except NotFoundError:
        return mark.age(now) < given_up  # maintenance removes the notes of a run that is long over
    except CorruptError:
        return mark.age(now) < given_up or area.has_live_lease()
    ended = has_ended(owner) if owner else None
    if ended is not None:
        return not ended
    return area.has_live_lease() or (bool(owner) and mark.age(now) < given_up)


def dead_or_refused(
    session: Session, repository: Repository, vm: str, name: str, mark: VmClaim | None, has_ended: HasEnded
) -> DeadRestore | None:
    """Return the dead restore that has left its mark on a VM, if any.

    :raises ConflictError: it is not dead.
    """
    if mark is None:
        return None
    if is_alive(repository, mark, now=session.server_time(), has_ended=has_ended):
        raise ConflictError(
            f"VM {name} ({vm}) is being {'made' if mark.made else 'written over'} by the restore of run {mark.run}"
            f"{_of_others(mark, repository)}: wait for it, or stop it, then try again"
        )
    return DeadRestore(vm=vm, run=mark.run, made=mark.made)


def _of_others(mark: VmClaim, repository: Repository) -> str:
    if mark.repository == repository.id:
        return ""
    setting = claims.MADE_BY if mark.made else claims.WRITTEN_BY
    return (
        f", from another repository or by an older vmkeep (if it is over for good, delete the VM's {setting} setting)"
    )


def refuse_beside_a_restore(
    session: Session, repository: Repository, vm: VmIdentity, mark: VmClaim | None
) -> tuple[str, ...]:
    """Return what a backup has to say of a dead restore that was writing over the VM.

    A backup looks before its snapshot, to fail early, and after it. A restore marks the VM first and looks for
    snapshots then: so of two that begin at once, at least one sees the other.

    :raises ConflictError: a restore is at work on the VM: a backup now would hold a mixture.
    """
    if mark is None:
        return ()
    if mark.repository == repository.id or mark.age(session.server_time()) < GIVEN_UP:
        dead_or_refused(session, repository, vm.moref or "", vm.name, mark, nobody_knows)
    return (f"the disks may be partly written: the restore of run {mark.run} over this VM did not finish",)


def end_restore(session: Session, repository: Repository, run: str, *, release: Callable[[str], object]) -> int:
    """End a restore that did not finish; return how many VMs that it had begun to make were destroyed.

    Its writers are stopped first. Only a VM that it made, and that is off, is destroyed. All others are let go: one
    that it was writing over, one that it had handed over, and one that somebody has switched on and so made his own.

    :param release: lets a VM of that id be moved by Storage vMotion again.
    """
    handed_over = RunLedger(repository, run).claim(Outcome.CLEANED_UP) is Outcome.HANDED_OVER
    destroyed = 0
    if not handed_over:
        area = repository.run(run)
        area.fence()
        area.await_copies(fence_deadline(run))
        destroyed = machines.destroy_claimed(session, run, repository=repository.id)
    for found in claims.list_claimed(session):
        if found.mark.is_of(run, repository.id):
            release(found.vm)
            claims.let_go(session, found.vm, run)
            if not handed_over:
                log.warning("VM %s (%s) stays, partly written by run %s", found.name, found.vm, run)
    return destroyed
