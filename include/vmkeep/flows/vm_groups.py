"""Groups of VMs: the VMs that fit a selector at the moment when somebody wants to back them up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from vmkeep.errors import NotFoundError
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.last_seen import sightings
from vmkeep.flows.listing import newest_points, protected_until
from vmkeep.flows.pointlist import good_origins, list_origins
from vmkeep.lateclass import dataclass
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import open_site_repository
from vmkeep.selection import Selector
from vmkeep.vsphere.choosing import choose_vms
from vmkeep.vsphere.server import server_uuid

if TYPE_CHECKING:
    from vmkeep.catalog import PointOrigin
    from vmkeep.vsphere.inventory import VmRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The VMs that fit a selector, the one with the oldest good restore point first."""

    vms: tuple[VmRef, ...]
    managed: tuple[tuple[VmRef, str], ...]
    """VMs that fit and are managed by other software, whose name is told. A group leaves them out, because a backup may
    disturb that software; each of them can be backed up by its own name."""
    notes: tuple[str, ...]
    """A line for each condition that no VM fits at all."""


def choose_group(site: Site, selector: Selector) -> Group:
    """Return the VMs that fit a selector now.

    :raises NotFoundError: none fits.
    """
    with open_site_repository(site) as repository:
        points = list_origins(repository, catalog=site.catalog or "sqlite://")
        good = good_origins(repository, points)
    with open_vsphere(site) as session:
        here = server_uuid(session)
        chosen = choose_vms(session, selector, sightings(points, here))
        host = session.host
    if not chosen.records:
        told, notes = f"no VM on {host} fits {selector}", "; ".join(chosen.notes)
        if notes.startswith(f"{told}:"):
            raise NotFoundError(notes)
        raise NotFoundError(f"{told}: {notes}" if notes else f"{told}; try it with 'vmkeep vm list -s'")
    refs = [
        (VmRef(moref=record.moref, name=record.name), record.managed_by)
        for record in _by_age(chosen.records, good, here)
    ]
    return Group(
        vms=tuple(ref for ref, managed_by in refs if managed_by is None),
        managed=tuple((ref, managed_by) for ref, managed_by in refs if managed_by is not None),
        notes=chosen.notes,
    )


def _by_age(records: Sequence[VmRecord], good: Sequence[PointOrigin], here: str | None) -> list[VmRecord]:
    """Return VMs in the order in which they need a backup: without a good point first, then the oldest point first."""
    newest = newest_points(records, good, here)

    def urgency(record: VmRecord) -> tuple[datetime, str, str]:
        point = newest.get(record.moref)
        return (protected_until(point.taken_at if point else None), record.name, record.moref)

    return sorted(records, key=urgency)
