"""Lists what runs have left on a vCenter, or still use: snapshots of backups, and VMs that restores have marked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from vmkeep.errors import NotFoundError
from vmkeep.flows import other_restores
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.vm_snapshot import snapshot_run_is_alive
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import open_site_repository
from vmkeep.vsphere import claims, inventory, snapshots, traces
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.snapshots import VmSnapshot
from vmkeep.vsphere.traces import VmTraces

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSnapshot:
    """A snapshot, and the run it belongs to."""

    vm: VmRef
    run: str
    snapshot: str
    """Managed object id."""
    age: timedelta
    """Age by vCenter's clock."""
    alive: bool
    """The run may still need the snapshot, as far as the repository can tell: it holds a lease, or has just begun."""
    of_other: bool = False
    """The run backs up into another repository, which alone knows whether it is alive."""


def find_run_snapshots(site: Site, moref: str | None = None) -> tuple[RunSnapshot, ...]:
    """Return the snapshots that runs left or still use, on one VM or on every VM. Changes nothing.

    :param moref: the one VM; ``None``: every VM.
    :raises VmOutOfReachError: vSphere does not show the snapshots of that one VM. With every VM, such a VM is only
        logged, and the next sweep looks again.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        if moref is None:
            listed = [(one.vm, snapshot) for one in _visible(session) for snapshot in one.snapshots if snapshot.run]
        else:
            listed = list(_of_one(session, moref))
        now = session.server_time() if listed else None
        return tuple(
            RunSnapshot(
                vm=vm,
                run=snapshot.run,
                snapshot=snapshot.moref,
                age=now - snapshot.created_at,
                alive=snapshot_run_is_alive(repository, snapshot, now=now),
                of_other=snapshot.is_of_other(repository.id),
            )
            for vm, snapshot in listed
            if now is not None
        )


def _visible(session: Session) -> Iterator[VmTraces]:
    """Yield the traces on every VM whose snapshots vSphere shows."""
    for one in traces.list_traces(session):
        if one.why_unknown:
            log.warning("VM %s: its snapshots are not known: %s", one.vm, one.why_unknown)
        else:
            yield one


def _of_one(session: Session, moref: str) -> Iterator[tuple[VmRef, VmSnapshot]]:
    """Yield the snapshots of runs on one VM, after those that are being taken. A VM that is gone has none."""
    try:
        record = inventory.find_by_id(session, moref)
        for snapshot in snapshots.list_ours(session, moref):
            yield VmRef(moref=moref, name=record.name), snapshot
    except NotFoundError:
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVm:
    """A VM that carries the mark of a restore."""

    vm: VmRef
    run: str
    made: bool
    """The restore made the VM, which is half made; else the VM was there before and is being written over."""
    alive: bool
    """The restore may still be at work."""


def find_run_vms(
    site: Site,
    *,
    has_ended: other_restores.HasEnded = other_restores.nobody_knows,
    given_up: timedelta = other_restores.GIVEN_UP,
) -> tuple[RunVm, ...]:
    """Return every VM that a restore works on, or left when it died. Changes nothing.

    :param has_ended: tells whether the owner of a restore has ended; ``None``: the owner is not known.
    :param given_up: age from which a silent restore of an unknown owner is dead.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        found = claims.list_claimed(session)
        now = session.server_time() if found else None
        return tuple(
            RunVm(
                vm=vm.vm,
                run=vm.mark.run,
                made=vm.mark.made,
                alive=other_restores.restore_is_alive(
                    repository, vm.mark, now=now, has_ended=has_ended, given_up=given_up
                ),
            )
            for vm in found
            if now is not None
        )
