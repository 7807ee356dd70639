"""Finds the snapshots of runs on a vCenter, and decides about each: its run may need it, or it is a leftover."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from vmkeep.errors import NotFoundError
from vmkeep.flows import liveness, snapshot_removal
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.leftover_ages import GIVEN_UP
from vmkeep.flows.liveness import HasEnded, nobody_knows, owner_has_ended, owner_of
from vmkeep.flows.sweep_ground import Ground
from vmkeep.flows.sweep_report import Finding, Kind, State
from vmkeep.lateclass import dataclass
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import inventory, snapshots, traces
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.snapshots import VmSnapshot
from vmkeep.vsphere.traces import VmTraces

log = logging.getLogger(__name__)

_AT_ONCE = 8
"""Snapshots that a sweep removes at once. More would load the datastores, and keep copies waiting for them."""
PATIENCE = 60.0
"""Seconds that a sweep waits for one removal or merge. vSphere goes on for hours if need be; the next sweep looks."""
_GRACE = timedelta(minutes=15)
"""Time after a run's limit in which its snapshot has to be gone."""


class Fate(StrEnum):
    """The decision about a run's snapshot."""

    REMOVE = "remove"
    """The run has ended."""
    IN_USE = "in use"
    """The run has not ended, or holds a lease, or is of another repository and not old."""
    UNKNOWN = "unknown"
    """Nobody here knows the run, and the snapshot is not old enough, or of another repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSnapshot:
    """A snapshot, and the run it belongs to."""

    vm: VmRef
    run: str
    snapshot: str
    """Managed object id."""
    age: timedelta
    """Age by vCenter's clock."""
    fate: Fate
    of_other: bool = False
    """The run backs up into another repository, which alone knows whether it is alive."""


def find_run_snapshots(
    site: Site, moref: str | None = None, *, has_ended: HasEnded = nobody_knows, given_up: timedelta = GIVEN_UP
) -> tuple[RunSnapshot, ...]:
    """Return the snapshots that runs left or still use, on one VM or on every VM. Changes nothing.

    :param moref: the one VM; ``None``: every VM.
    :param has_ended: tells whether the owner of a run has ended; ``None``: the owner is not known.
    :param given_up: age from which a silent run is dead, though nobody knows whether it has ended.
    :raises VmOutOfReachError: vSphere does not show the snapshots of that one VM. With every VM, such a VM is only
        logged, and the next sweep looks again.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        listed = list(_of_all(traces.list_traces(session)) if moref is None else _of_one(session, moref))
        if not listed:
            return ()
        return tuple(judged(repository, listed, session.server_time(), has_ended, given_up))


def judged(
    repository: Repository,
    listed: Iterable[tuple[VmRef, VmSnapshot]],
    now: datetime,
    has_ended: HasEnded,
    given_up: timedelta,
) -> Iterator[RunSnapshot]:
    """Decide about each snapshot of a run.

    :param now: the time by vCenter's clock.
    """
    for vm, snapshot in listed:
        yield RunSnapshot(
            vm=vm,
            run=snapshot.run,
            snapshot=snapshot.moref,
            age=now - snapshot.created_at,
            fate=fate_of(repository, snapshot, now=now, has_ended=has_ended, given_up=given_up),
            of_other=snapshot.is_of_other(repository.id),
        )


def fate_of(
    repository: Repository,
    snapshot: VmSnapshot,
    *,
    now: datetime,
    has_ended: HasEnded = nobody_knows,
    given_up: timedelta = GIVEN_UP,
) -> Fate:
    """Decide about the snapshot of a run. It is a leftover at the latest when it is old and no copy reads it.

    So a run does not keep its snapshot for ever if it waits for a proxy that does not come back.

    :param now: the time by vCenter's clock.
    """
    age = abs(now - snapshot.created_at)  # both ways, so that a clock that was put back keeps nothing alive
    if snapshot.is_of_other(repository.id):
        return Fate.IN_USE if age < GIVEN_UP else Fate.UNKNOWN
    area = repository.run(snapshot.run)
    ended = owner_has_ended(area, has_ended)
    if ended:
        return Fate.REMOVE
    if ended is False and age < given_up:
        return Fate.IN_USE
    if not area.fenced and (liveness.is_young(snapshot.created_at, now) or area.has_live_lease()):
        return Fate.IN_USE
    # A run of the command line has an empty owner, and is over when its leases are. Any other owner may be an Airflow
    # that is not this one.
    return Fate.REMOVE if age >= given_up or owner_of(area) == "" else Fate.UNKNOWN


def sweep_snapshots(ground: Ground) -> tuple[Finding, ...]:
    """Remove the snapshots of dead runs, on several VMs at once because each removal may take long."""
    of_vm: dict[str, list[RunSnapshot]] = {}
    for found in judged_on(ground, {one.vm.moref for one in ground.vms}):
        of_vm.setdefault(found.vm.moref, []).append(found)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="removal") as threads:
        swept = threads.map(lambda of_one: [_swept(ground, one) for one in of_one], of_vm.values())
        return tuple(finding for findings in swept for finding in findings)


def judged_on(ground: Ground, morefs: Collection[str]) -> list[RunSnapshot]:
    """Decide about the snapshots of runs on some VMs."""
    listed = _of_all(one for one in ground.vms if one.vm.moref in morefs)
    wishes = ground.wishes
    return list(judged(ground.repository, listed, ground.now, wishes.has_ended, wishes.given_up))


def _swept(ground: Ground, found: RunSnapshot) -> Finding:
    finding = Finding(
        kind=Kind.SNAPSHOT, state=State.IN_USE, vm=found.vm, run=found.run, age_seconds=found.age.total_seconds()
    )
    if found.fate is Fate.IN_USE:
        return finding
    if found.fate is Fate.UNKNOWN:
        why = "only the sweep of its repository knows more" if found.of_other else "its Airflow is not known here"
        return replace(finding, state=State.LEFT, detail=why)

    wishes = ground.wishes

    def remove() -> str:
        snapshot_removal.remove_snapshot(ground.site, found.vm.moref, found.run, logins=wishes.logins, seconds=PATIENCE)
        return ""

    done = ground.repaired(finding, remove)
    if done.state is State.UNDER_WAY and found.age >= wishes.given_up + _GRACE:
        why = f"{done.detail}: look for this task in vSphere, and cancel it if it hangs; the next sweep goes on"
        return replace(done, state=State.FAILED, detail=why)
    return done


def report_foreign(ground: Ground) -> tuple[Finding, ...]:
    """Report old snapshots that no run of vmkeep has taken. They are never removed."""
    return tuple(
        Finding(
            kind=Kind.FOREIGN,
            state=State.LEFT,
            vm=one.vm,
            age_seconds=age.total_seconds(),
            detail=f"'{snapshot.name}' grows with every write to the VM, and keeps change tracking from being enabled",
        )
        for one in ground.vms
        for snapshot in one.snapshots
        if not snapshot.run
        and not snapshot.undo_of
        and (age := ground.now - snapshot.created_at) >= ground.wishes.foreign_age
    )


def report_undo(ground: Ground) -> tuple[Finding, ...]:
    """Report the snapshots that restores keep so that they can be undone, whatever their age. None is removed."""
    advice = (
        "'vmkeep restore accept' removes it, 'vmkeep restore undo' goes back to it; every backup reads all until then"
    )
    return tuple(
        Finding(
            kind=Kind.UNDO,
            state=State.LEFT,
            vm=one.vm,
            run=snapshot.undo_of,
            age_seconds=(ground.now - snapshot.created_at).total_seconds(),
            detail=advice,
        )
        for one in ground.vms
        for snapshot in one.snapshots
        if snapshot.undo_of
    )


def report_hidden(ground: Ground) -> tuple[Finding, ...]:
    """Report the VMs whose snapshots and marks vSphere does not show."""
    return tuple(
        Finding(kind=Kind.HIDDEN, state=State.LEFT, vm=one.vm, detail=one.why_unknown)
        for one in ground.vms
        if one.why_unknown
    )


def _of_all(vms: Iterable[VmTraces]) -> Iterator[tuple[VmRef, VmSnapshot]]:
    """Yield the snapshots of runs on VMs. A VM whose snapshots vSphere does not show is logged."""
    for one in vms:
        if one.why_unknown:
            log.warning("VM %s: its snapshots are not known: %s", one.vm, one.why_unknown)
        for snapshot in one.snapshots:
            if snapshot.run:
                yield one.vm, snapshot


def _of_one(session: Session, moref: str) -> Iterator[tuple[VmRef, VmSnapshot]]:
    """Yield the snapshots of runs on one VM, after those that are being taken. A VM that is gone has none."""
    try:
        if found := snapshots.list_ours(session, moref):
            vm = VmRef(moref=moref, name=inventory.find_by_id(session, moref).name)
            yield from ((vm, snapshot) for snapshot in found)
    except NotFoundError:
        return
