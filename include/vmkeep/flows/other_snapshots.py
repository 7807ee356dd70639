"""Judges the snapshots of other runs on a VM: before a backup takes its own, and once more right after.

A snapshot bears the time of the host that took it, and the time of now is vCenter's. These clocks may differ, so each
snapshot is judged by its age only once, and one that appears later is young (decision 0138).
"""

from __future__ import annotations

import logging
from datetime import datetime
from itertools import takewhile

from vmkeep.errors import ConflictError
from vmkeep.flows import limits, liveness, vm_access
from vmkeep.flows.backup_values import Preflight
from vmkeep.flows.leftover_ages import GIVEN_UP
from vmkeep.flows.liveness import HasEnded, nobody_knows
from vmkeep.lateclass import dataclass
from vmkeep.repository import Repository
from vmkeep.vsphere import snapshots
from vmkeep.vsphere.remains import Remains
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.snapshots import VmSnapshot

log = logging.getLogger(__name__)

IF_DEAD = "; if it is dead, 'vmkeep vm sweep --given-up-after-hours 1' removes its snapshot, once that is an hour old"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """A VM whose snapshots of dead runs were removed."""

    removed: int
    """Number of snapshots that were removed."""
    stay: frozenset[str]
    """Ids of the snapshots that dead runs into other repositories left. Only a sweep there removes them."""


def remove_leftovers(
    session: Session,
    repository: Repository,
    pre: Preflight,
    has_ended: HasEnded,
    left: Remains,
) -> Cleared:
    """Remove the snapshots of dead runs and of an earlier try of this run.

    :param left: the remains of runs on the VM.
    :raises ConflictError: another run may be backing up this VM right now.
    """
    own = pre.request.run
    vm = pre.vm.moref or ""
    removed, stay = 0, set()
    for snapshot in left.list_snapshots(session, vm):
        of_other = snapshot.is_of_other(repository.id)
        if (of_other or snapshot.run != own) and snapshot_run_is_alive(
            repository, snapshot, now=session.server_time(), has_ended=has_ended
        ):
            into = " into another repository" if of_other else ""
            raise ConflictError(
                f"VM {pre.vm.name} is being backed up by run {snapshot.run}{into}: wait for it, or stop it, then try "
                f"again{'' if of_other else IF_DEAD}"
            )
        if of_other:
            log.warning("VM %s: snapshot %s of another repository's run stays", pre.vm.name, snapshot.moref)
            stay.add(snapshot.moref)
            continue
        log.warning("VM %s: removing snapshot %s that run %s left behind", pre.vm.name, snapshot.moref, snapshot.run)
        area = repository.run(snapshot.run)
        if snapshot.run != own:
            area.fence()
        snapshots.remove(session, vm, snapshot.moref)
        if snapshot.run != own:
            limits.give_back(repository, snapshot.run)
        removed += 1
    return Cleared(removed=removed, stay=frozenset(stay))


def snapshot_run_is_alive(
    repository: Repository, snapshot: VmSnapshot, *, now: datetime, has_ended: HasEnded = nobody_knows
) -> bool:
    """Tell whether the run that took a snapshot may still need it.

    Nothing is known here of a run into another repository. Its snapshot counts as needed up to the age of
    :data:`GIVEN_UP`.

    :param now: the time by vCenter's clock.
    """
    if snapshot.is_of_other(repository.id):
        return abs(now - snapshot.created_at) < GIVEN_UP  # as the sweep judges it
    return liveness.run_is_alive(repository.run(snapshot.run), snapshot.created_at, now=now, has_ended=has_ended)


def give_way(
    session: Session,
    repository: Repository,
    pre: Preflight,
    own: VmSnapshot,
    cleared: Cleared,
    has_ended: HasEnded,
) -> None:
    """Return if no other living run has a snapshot above the own one.

    Two runs that begin at once may both find no snapshot of the other. vSphere takes one snapshot of a VM after the
    other, each below the one before. So of two runs exactly one finds the other's snapshot above its own. A snapshot
    that the look before did not find is young, whatever the clocks of the hosts and of vCenter say.

    :raises ConflictError: another run has one.
    """
    vm = pre.vm.moref or ""
    for other in takewhile(lambda each: each.moref != own.moref, snapshots.list_all(session, vm)):
        of_other = other.is_of_other(repository.id)
        if not other.run or other.moref in cleared.stay or (other.run == own.run and not of_other):
            continue  # its own second one: vSphere went on with a task that it had forgotten
        if snapshot_run_is_alive(repository, other, now=other.created_at, has_ended=has_ended):
            if not of_other:
                vm_access.hand_over(session, repository, vm, other.run)
            raise ConflictError(
                f"VM {pre.vm.name} is being backed up by run {other.run}, which began at the same time and took its "
                "snapshot first: this run gives way, and removes its own; nothing else is to be done"
            )
