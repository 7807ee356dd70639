"""The last known addresses of VMs, from their restore points: a VM that is off is found by them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vmkeep.errors import SelectorError
from vmkeep.selection import Kind, Selector, conditions, parse_selector
from vmkeep.vsphere.guests import Sighting
from vmkeep.vsphere.server import server_uuid

if TYPE_CHECKING:
    from vmkeep.catalog import PointOrigin
    from vmkeep.repository import Repository
    from vmkeep.vsphere.session import Session

_IN_MEMORY = "sqlite://"


def sightings(origins: Iterable[PointOrigin], here: str | None) -> tuple[Sighting, ...]:
    """Return what restore points tell of addresses, the newest first.

    :param origins: the oldest first.
    :param here: UUID of the vCenter; a managed object id of another one means nothing in it.
    """
    return tuple(
        Sighting(
            moref=origin.moref if origin.vcenter == here else None,
            instance_uuid=origin.vm_key,
            addresses=origin.addresses,
            dns_name=origin.dns_name,
        )
        for origin in reversed(list(origins))
        if origin.addresses or origin.dns_name
    )


def asks_for_addresses(selector: Selector) -> bool:
    """Return whether a selector chooses VMs by address, so that it is worth the while to read the points."""
    return any(condition.kind is Kind.IPADDR for condition in conditions(selector))


def sightings_for(
    session: Session, vm_selector: str, repository: Repository, catalog: str | None
) -> tuple[Sighting, ...]:
    """Return what the points of a repository tell of addresses, if a person's selector asks for one.

    :param catalog: its URL; ``None``: the repository itself is read.
    """
    from vmkeep.flows.pointlist import list_origins  # takes time to import

    try:
        if not asks_for_addresses(parse_selector(vm_selector)):
            return ()
    except SelectorError:
        return ()
    return sightings(list_origins(repository, catalog=catalog or _IN_MEMORY), server_uuid(session))
