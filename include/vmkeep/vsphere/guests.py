"""The addresses and the name of a VM's guest, as VMware Tools report them, and as somebody saw them last."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from vmkeep.lateclass import dataclass

ADDRESS, CARDS, HOST_NAME = "summary.guest.ipAddress", "guest.net", "summary.guest.hostName"
PATHS = (ADDRESS, CARDS, HOST_NAME)
"""Properties of a VM that tell them. vSphere keeps the first and the last for some VMs after power-off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The addresses and the name that a VM's guest had when somebody saw it."""

    moref: str | None
    """The VM's managed object id; ``None``: it was in another vCenter then."""
    instance_uuid: str | None
    addresses: tuple[str, ...] = ()
    dns_name: str | None = None


def addresses_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return all addresses that are reported, without the zone that some guests add to link-local ones.

    :param values: the properties of :data:`PATHS`, or only the first of them.
    """
    told = [values[ADDRESS]]
    told += [address for card in values.get(CARDS) or () for address in card.ipAddress or ()]
    return tuple(dict.fromkeys(address.partition("%")[0] for address in told if address))


def dns_name_of(values: Mapping[str, Any]) -> str | None:
    """Return the name that the guest gives itself."""
    return values.get(HOST_NAME) or None


def seen_last(sightings: Iterable[Sighting], vms: Collection[tuple[str, str | None]]) -> dict[str, Sighting]:
    """Return the newest sighting of each VM, by managed object id.

    A VM that was registered anew has another id, and is known by its instance UUID, if only one VM has that.

    :param sightings: the newest first.
    :param vms: id and instance UUID of each VM.
    """
    here = {moref for moref, _ in vms}
    by_uuid: dict[str, list[str]] = {}
    for moref, uuid in vms:
        if uuid:
            by_uuid.setdefault(uuid, []).append(moref)
    found: dict[str, Sighting] = {}
    for sighting in sightings:
        if sighting.moref in here:
            found.setdefault(sighting.moref, sighting)
        elif len(heirs := by_uuid.get(sighting.instance_uuid or "", [])) == 1:
            found.setdefault(heirs[0], sighting)
    return found
