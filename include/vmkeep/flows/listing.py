"""The VMs of a vCenter as a list shows them: state, size, host, and the newest restore point of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vmkeep.clock import now
from vmkeep.flows.answerable import answerable_policies
from vmkeep.flows.last_seen import sightings
from vmkeep.lateclass import dataclass
from vmkeep.model.site import VCenter
from vmkeep.policy import Policy, by_precedence, selectors_of, taker
from vmkeep.repository.points import is_ahead
from vmkeep.selection import Condition, Kind, Selector
from vmkeep.vsphere import choosing, hosts, inventory
from vmkeep.vsphere.guests import Sighting, seen_last
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.vmfacts import KnownVm

if TYPE_CHECKING:
    from vmkeep.catalog import PointOrigin

_NEVER = datetime.min.replace(tzinfo=UTC)


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
    last_ip_address: str | None = None
    """The address that its newest point with one tells, where vSphere tells none now."""
    policies: tuple[str, ...] | None = None
    """Names of the policies that take it; ``None``: no policies were asked."""
    last_point: str | None = None
    """Ref of its newest restore point; ``None``: it has none, or no repository was asked."""
    last_point_at: datetime | None = None
    last_point_age_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmList:
    """VMs of a vCenter, sorted by name."""

    vms: tuple[ListedVm, ...]
    notes: tuple[str, ...] = ()
    """A line for each condition of the selector that no VM fits at all."""


def list_vms(
    vcenter: VCenter,
    points: Sequence[PointOrigin] = (),
    *,
    selector: Selector | None = None,
    policies: Sequence[Policy] | None = None,
) -> VmList:
    """Return every VM that the user may see, or those that fit a selector.

    :param points: restore points, the oldest first. Each VM's newest is looked for, and its last address.
    :param policies: policies that are asked which VMs they take; ``None``: none are. One that the server cannot
        answer takes none.
    """
    wanted = selector or Condition(Kind.ANY)
    with open_session(vcenter) as session:
        here = server_uuid(session)
        seen = sightings(points, here)
        asked = None if policies is None else answerable_policies(session, policies)
        known = choosing.known_vms(session, (wanted, *selectors_of(asked or ())), seen)
        chosen = choosing.fitting(session, wanted, known)
        places = hosts.list_places(session)
    taken = _taken(known, asked)
    newest = newest_points(chosen.records, points, here)
    last = seen_last(seen, [(vm.record.moref, vm.record.instance_uuid) for vm in known])
    return VmList(
        vms=tuple(
            _listed(record, places, newest.get(record.moref), last.get(record.moref), taken.get(record.moref))
            for record in chosen.records
        ),
        notes=chosen.notes,
    )


def _taken(known: Sequence[KnownVm], policies: Sequence[Policy] | None) -> dict[str, tuple[str, ...]]:
    """Return the names of the policies that take each VM, by managed object id; nothing where none are asked."""
    if policies is None:
        return {}
    takers = [(policy.name, taker(policy)) for policy in by_precedence(policies)]
    return {vm.record.moref: tuple(name for name, takes in takers if takes(vm.facts)) for vm in known}


def describe_vm(vcenter: VCenter, selector: str) -> inventory.VmDescription:
    """Return vSphere's description of the one VM that a selector names."""
    with open_session(vcenter) as session:
        return inventory.describe_vm(session, inventory.find_vm(session, selector).moref)


def newest_points(
    records: Iterable[inventory.VmRecord], points: Iterable[PointOrigin], here: str | None
) -> dict[str, PointOrigin]:
    """Return each VM's newest point by managed object id.

    An id names a VM only in the vCenter that gave it out, so only points of this vCenter are found by it. A point whose
    time is in the future counts only if there is no other, because a clock was wrong, and nobody knows its age.
    """

    def age(point: PointOrigin) -> tuple[bool, datetime]:
        return not is_ahead(point.taken_at), point.taken_at

    by_id: dict[str, PointOrigin] = {}
    by_key: dict[str, PointOrigin] = {}
    for point in sorted(points, key=age):
        if point.vcenter is None:
            by_key[point.vm_key] = point
        elif point.vcenter == here and point.moref is not None:
            by_id[point.moref] = point
    found = {}
    for record in records:
        key = record.instance_uuid or record.bios_uuid or record.moref
        candidates = [point for point in (by_id.get(record.moref), by_key.get(key)) if point is not None]
        if candidates:
            found[record.moref] = max(candidates, key=age)
    return found


def protected_until(last_point_at: datetime | None) -> datetime:
    """Return the time until which a VM's changes are known to be in its newest point, to sort and judge VMs by.

    A point whose time is in the future proves nothing, and counts as none.
    """
    return _NEVER if last_point_at is None or is_ahead(last_point_at) else last_point_at


def _listed(
    record: inventory.VmRecord, places: Mapping[str, hosts.HostPlace], point: PointOrigin | None, last: Sighting | None,
    policies: tuple[str, ...] | None,
) -> ListedVm:  # fmt: skip
    place = places.get(record.host or "")
    remembered = last.addresses[0] if last is not None and last.addresses and record.ip_address is None else None
    return ListedVm(
        moref=record.moref,
        name=record.name,
        instance_uuid=record.instance_uuid,
        bios_uuid=record.bios_uuid,
        power_state=record.power_state,
        ip_address=record.ip_address,
        last_ip_address=remembered,
        template=record.template,
        not_protectable=record.not_protectable,
        managed_by=record.managed_by,
        size=record.size,
        host=place.name if place else None,
        cluster=place.cluster if place else None,
        policies=policies,
        last_point=point.ref if point else None,
        last_point_at=point.taken_at if point else None,
        last_point_age_seconds=int((now() - point.taken_at).total_seconds()) if point else None,
    )
