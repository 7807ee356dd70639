"""Groups of VMs: the VMs that fit a selector at the moment when somebody wants to back them up."""

from __future__ import annotations

from dataclasses import dataclass

from vmkeep.errors import NotFoundError
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.last_seen import asks_for_addresses, sightings_for
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import open_site_repository
from vmkeep.selection import Selector
from vmkeep.vsphere.choosing import choose_vms
from vmkeep.vsphere.guests import Sighting
from vmkeep.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The VMs that fit a selector, sorted by name."""

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
    with open_vsphere(site) as session:
        chosen = choose_vms(session, selector, _seen(site, session, selector))
        host = session.host
    if not chosen.records:
        why = f": {'; '.join(chosen.notes)}" if chosen.notes else "; try it with 'vmkeep vm list -s'"
        raise NotFoundError(f"no VM on {host} fits {selector}{why}")
    refs = [(VmRef(moref=record.moref, name=record.name), record.managed_by) for record in chosen.records]
    return Group(
        vms=tuple(ref for ref, managed_by in refs if managed_by is None),
        managed=tuple((ref, managed_by) for ref, managed_by in refs if managed_by is not None),
        notes=chosen.notes,
    )


def _seen(site: Site, session: Session, selector: Selector) -> tuple[Sighting, ...]:
    if not asks_for_addresses(selector):
        return ()  # the repository is opened for nothing else here
    with open_site_repository(site) as repository:
        return sightings_for(session, str(selector), repository, site.catalog)
