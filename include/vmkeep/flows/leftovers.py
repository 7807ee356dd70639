"""Lists what runs have left on a vCenter, or still use: snapshots of backups, and VMs that restores have marked."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from vmkeep.errors import NotFoundError, VmOutOfReachError
from vmkeep.flows import other_restores
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.vm_snapshot import is_alive
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import open_site_repository
from vmkeep.vsphere import claims, inventory, snapshots
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSnapshot:
    """A snapshot, and the run it belongs to."""

    vm: VmRef
    run: str
    snapshot: str
    """Managed object id."""
    age: timedelta
    """By vCenter's own clock."""
    alive: bool
    """Whether the run may still need it, as far as the repository can tell: it holds a lease, or has just begun."""
    of_other: bool = False
    """The run backs up into another repository, which alone knows whether it is alive."""


def find_run_snapshots(site: Site, vm: str | None = None) -> tuple[RunSnapshot, ...]:
    """Return what runs have left, or still use, on the VM of that id, or on every VM; changes nothing.

    :raises VmOutOfReachError: it is not known of that VM. Of one among all it is told; the next sweep looks again.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        found = []
        for record in _records(session, vm):
            try:
                ours = snapshots.list_ours(session, record.moref)
            except NotFoundError:
                continue  # deleted since it was listed
            except VmOutOfReachError as error:
                if vm is not None:
                    raise
                log.warning("%s (%s)", error, record.name)
                continue
            now = session.server_time() if ours else None
            for snapshot in ours:
                assert now is not None
                of_other = snapshot.is_of_other(repository.id)
                found.append(
                    RunSnapshot(
                        vm=VmRef(moref=record.moref, name=record.name),
                        run=snapshot.run,
                        snapshot=snapshot.moref,
                        age=now - snapshot.created_at,
                        alive=is_alive(repository, snapshot, now=now),
                        of_other=of_other,
                    )
                )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVm:
    """A VM that a restore has marked, and not let go."""

    vm: VmRef
    run: str
    made: bool
    """The restore made it, so that it is half made; else it was there before, and is being written over."""
    alive: bool
    """The restore may still be at work."""


def find_run_vms(
    site: Site,
    *,
    has_ended: other_restores.HasEnded = other_restores.nobody_knows,
    given_up: timedelta = other_restores.GIVEN_UP,
) -> tuple[RunVm, ...]:
    """Return every VM that a restore works on, or has left; changes nothing.

    :param has_ended: tells whether the owner of a restore has ended, where it is known.
    :param given_up: age from which a silent restore of an unknown owner is dead.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        found = claims.list_claimed(session)
        now = session.server_time() if found else None
        return tuple(
            RunVm(
                vm=VmRef(moref=vm.vm, name=vm.name),
                run=vm.mark.run,
                made=vm.mark.made,
                alive=other_restores.is_alive(repository, vm.mark, now=now, has_ended=has_ended, given_up=given_up),
            )
            for vm in found
            if now is not None
        )


def _records(session: Session, vm: str | None) -> tuple[inventory.VmRecord, ...]:
    """Return the VM of that id, if it is still there, or every VM; a vCenter has thousands."""
    if vm is None:
        return inventory.list_vms(session)
    try:
        return (inventory.find_by_id(session, vm),)
    except NotFoundError:
        return ()
