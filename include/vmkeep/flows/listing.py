"""The VMs of a vCenter as a list shows them: state, size, host, and the newest restore point of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from vmkeep.model.site import VCenter
from vmkeep.vsphere import hosts, inventory
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import open_session

if TYPE_CHECKING:
    from vmkeep.catalog import CatalogEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedVm:
    """A VM of a vCenter, as a line of the list."""

    moref: str
    name: str
    instance_uuid: str | None
    bios_uuid: str | None
    power_state: str | None
    ip_address: str | None
    template: bool
    not_protectable: str | None
    """Reason why the VM cannot be backed up; ``None``: it can."""
    managed_by: str | None
    """The software that manages it; ``None``: nobody but people."""
    size: int | None
    """Bytes of its files on datastores; ``None``: vSphere does not tell."""
    host: str | None
    """Name of its ESXi host; ``None``: the user may not see it."""
    cluster: str | None
    """Name of the host's cluster; ``None``: the host is in none, or the user may not see it."""
    last_point: str | None = None
    """Ref of its newest restore point; ``None``: it has none, or no repository was asked."""
    last_point_at: datetime | None = None


def require_login(vcenter: VCenter) -> None:
    """Log in to a vCenter or host, and out again.

    :raises VmKeepError: the server cannot be reached, is not the one of its certificate, or refuses the login.
    """
    with open_session(vcenter):
        return


def list_vms(vcenter: VCenter, points: Iterable[CatalogEntry] = ()) -> tuple[ListedVm, ...]:
    """Return every VM that the user may see, sorted by name.

    :param points: restore points, among which each VM's newest is looked for.
    """
    with open_session(vcenter) as session:
        records = inventory.list_vms(session)
        places = hosts.list_places(session)
        here = server_uuid(session)
    newest = _newest(records, points, here)
    return tuple(_listed(record, places, newest.get(record.moref)) for record in records)


def describe_vm(vcenter: VCenter, selector: str) -> inventory.VmDescription:
    """Return vSphere's description of the one VM that a selector names."""
    with open_session(vcenter) as session:
        return inventory.describe_vm(session, inventory.find_vm(session, selector).moref)


def _newest(
    records: Iterable[inventory.VmRecord], points: Iterable[CatalogEntry], here: str | None
) -> dict[str, CatalogEntry]:
    """Return each VM's newest point by managed object id.

    An id names a VM only in the vCenter that gave it out, so only points of this vCenter are found by it.
    """
    by_id: dict[str, CatalogEntry] = {}
    by_key: dict[str, CatalogEntry] = {}
    for point in sorted(points, key=lambda point: point.taken_at):
        if point.vcenter is None:
            by_key[point.vm_key] = point
        elif point.vcenter == here and point.moref is not None:
            by_id[point.moref] = point
    found = {}
    for record in records:
        key = record.instance_uuid or record.bios_uuid or record.moref
        candidates = [point for point in (by_id.get(record.moref), by_key.get(key)) if point is not None]
        if candidates:
            found[record.moref] = max(candidates, key=lambda point: point.taken_at)
    return found


def _listed(record: inventory.VmRecord, places: dict[str, hosts.HostPlace], point: CatalogEntry | None) -> ListedVm:
    place = places.get(record.host or "")
    return ListedVm(
        moref=record.moref,
        name=record.name,
        instance_uuid=record.instance_uuid,
        bios_uuid=record.bios_uuid,
        power_state=record.power_state,
        ip_address=record.ip_address,
        template=record.template,
        not_protectable=record.not_protectable,
        managed_by=record.managed_by,
        size=record.size,
        host=place.name if place else None,
        cluster=place.cluster if place else None,
        last_point=point.ref if point else None,
        last_point_at=point.taken_at if point else None,
    )
