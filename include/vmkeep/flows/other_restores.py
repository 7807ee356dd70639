"""Tells whether another run is still at work, as far as this repository can tell, and ends a restore that is dead."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from vmkeep.errors import ConflictError, CorruptError, NotFoundError
from vmkeep.flows.attach_moves import take_back
from vmkeep.flows.connect import fence_deadline
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.flows.restore_values import DeadRestore
from vmkeep.model.point import VmIdentity
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, RunArea
from vmkeep.vsphere import claims, machines
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

GIVEN_UP = timedelta(hours=48)
"""Age from which a silent run of an unknown owner is dead."""
YOUNG = timedelta(minutes=10)
"""Age below which a run counts as alive, because it holds no lease between its beginning and its first copy."""
LEASE = "restore"
"""Name of the lease that a restore in one process holds from its plan to its end."""

HasEnded = Callable[[str], bool | None]
"""Takes the words by which an owner named itself; returns whether it has ended, ``None`` if it is not known here."""


def nobody_knows(_owner: str) -> bool | None:
    """Answer ``None`` for every owner, because the command line knows none."""
    return None


def is_young(since: datetime, now: datetime) -> bool:
    """Return whether a run has only just begun, by vCenter's clock.

    The difference counts in both directions, so that a clock that was put back does not keep a run young for long.
    """
    return abs(now - since) < YOUNG


def owner_of(area: RunArea) -> str | None:
    """Return the words by which the owner of a run named itself; empty: the command line; ``None``: they are lost."""
    try:
        return area.load("owner").decode()
    except (NotFoundError, CorruptError):
        return None


def owner_has_ended(area: RunArea, has_ended: HasEnded) -> bool | None:
    """Return whether the owner of a run has ended; ``None``: it is not known, or no readable note names an owner."""
    owner = owner_of(area)
    return has_ended(owner) if owner else None


def run_is_alive(
    area: RunArea,
    since: datetime,
    *,
    now: datetime,
    has_ended: HasEnded = nobody_knows,
    given_up: timedelta = GIVEN_UP,
) -> bool:
    """Tell whether the run that left a trace on a VM may still be at work, as far as this repository can tell.

    A run that names an owner counts as alive while nobody here knows the owner, because its copies may wait: for room
    within a limit, for a proxy, or for a retry. It holds no lease then.

    :param since: the time of the trace.
    :param now: the time by the same clock.
    :param given_up: age from which a silent run of an unknown owner is dead.
    """
    if area.fenced:
        return False
    if (ended := owner_has_ended(area, has_ended)) is not None:
        return not ended
    return is_young(since, now) or area.has_live_lease() or (abs(now - since) < given_up and _has_owner(area))


def _has_owner(area: RunArea) -> bool:
    """Return whether a run names an owner, so that another program could tell whether it has ended."""
    try:
        return bool(area.load("owner"))
    except NotFoundError:
        return False
    except CorruptError:
        return True


def restore_is_alive(
    repository: Repository, mark: VmClaim, *, now: datetime, has_ended: HasEnded, given_up: timedelta = GIVEN_UP
) -> bool:
    """Tell whether the restore that has marked a VM may still be at work, as far as this repository can tell.

    :param now: the time by vCenter's clock.
    :param given_up: the age from which a silent run of an unknown owner is dead.
    """
    if mark.repository != repository.id:
        return True  # because only the repository of that run knows more
    area = repository.run(mark.run)
    if area.fenced or _has_finished(repository, mark):
        return False
    try:
        owner = area.load("owner").decode()
    except NotFoundError:
        return mark.age(now) < given_up  # without notes: maintenance removes those of a run that is long over
    except CorruptError:
        return mark.age(now) < given_up or area.has_live_lease()
    ended = has_ended(owner) if owner else None
    if ended is not None:
        return not ended
    return area.has_live_lease() or (bool(owner) and mark.age(now) < given_up)


def dead_or_refused(
    session: Session, repository: Repository, vm: VmRef, mark: VmClaim | None, has_ended: HasEnded
) -> DeadRestore | None:
    """Return the dead restore that has left its mark on a VM, if any.

    :raises ConflictError: that restore may still be at work.
    """
    if mark is None:
        return None
    if restore_is_alive(repository, mark, now=session.server_time(), has_ended=has_ended):
        raise ConflictError(
            f"VM {vm} is being {'made' if mark.made else 'written over'} by the restore of run {mark.run}"
            f"{_of_others(mark, repository)}: wait for it, or stop it, then try again"
        )
    return DeadRestore(vm=vm.moref, run=mark.run, made=mark.made, whole=_has_finished(repository, mark))


def _has_finished(repository: Repository, mark: VmClaim) -> bool:
    """Return whether a restore has ended well, so that its mark came back when the VM was put back to a snapshot."""
    return mark.repository == repository.id and RunLedger(repository, mark.run).finished() is not None


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
    """Return the warning of a backup about a dead restore that was writing over the VM, if there is one.

    A backup looks for a mark before its snapshot, to fail early, and again after it. A restore marks the VM first and
    looks for snapshots then. So if both begin at once, at least one of them sees the other.

    :raises ConflictError: a restore is at work on the VM, so that a backup would hold a mixture of old and new.
    """
    if mark is None:
        return ()
    if mark.repository == repository.id or mark.age(session.server_time()) < GIVEN_UP:
        dead = dead_or_refused(session, repository, VmRef(moref=vm.moref or "", name=vm.name), mark, nobody_knows)
        if dead is not None and dead.whole:
            return ()
    return (f"the disks may be partly written: the restore of run {mark.run} over this VM did not finish",)


def end_restore(session: Session, repository: Repository, run: str, *, release: Callable[[str], object]) -> int:
    """End a restore that did not finish. Return the number of half-made VMs that were destroyed.

    Its writers are stopped first, and disks that it was moving to a VM are put back onto its carrier. A VM is destroyed
    only if this restore made it and it is off. From any other VM the mark is taken: one that was written over, one that
    was handed over, and one that somebody switched on and so owns.

    :param release: allows Storage vMotion of the VM with that managed object id again.
    """
    handed_over = RunLedger(repository, run).record_outcome(Outcome.CLEANED_UP) is Outcome.HANDED_OVER
    destroyed = 0
    if not handed_over:
        area = repository.run(run)
        area.fence()
        area.await_copies(fence_deadline(run))
        take_back(session, repository, run)
        destroyed = machines.destroy_claimed(session, run, repository=repository.id)
    for found in claims.list_claimed(session):
        if found.mark.is_of(run, repository.id):
            release(found.vm.moref)
            claims.let_go(session, found.vm.moref, run)
            if not handed_over:
                log.warning("VM %s stays, partly written by run %s", found.vm, run)
    return destroyed
