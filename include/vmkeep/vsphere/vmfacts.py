"""Collects the facts that a selector needs. The number of calls depends only on the number of pages of VMs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vmkeep.model.point import Power
from vmkeep.selection import Kind, VmFacts, address_of
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read_all
from vmkeep.vsphere.records import FIELDS, VmRecord, record_of
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.surroundings import Surroundings, paths_of_vms

_POWER = {"poweredOn": Power.ON, "poweredOff": Power.OFF, "suspended": Power.SUSPENDED}
_PATHS: dict[Kind, tuple[str, ...]] = {
    Kind.IPADDR: ("guest.net", "summary.guest.hostName"),
    Kind.ATTRIBUTE: ("customValue",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSeen:
    """The addresses and the DNS name of a VM's guest when they were last seen."""

    addresses: tuple[str, ...] = ()
    dns_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVm:
    """A VM: its record, and the facts that a selector needs."""

    record: VmRecord
    facts: VmFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Facts that are not in the inventory, by managed object id."""

    last_seen: Mapping[str, LastSeen] = field(default_factory=dict)
    tags: Mapping[str, frozenset[tuple[str, str]]] = field(default_factory=dict)


def read_vms(session: Session, kinds: Collection[Kind], elsewhere: Elsewhere) -> tuple[KnownVm, ...]:
    """Return every VM that the user may see, sorted by name, with the facts that conditions of some kinds need."""
    paths = dict.fromkeys((*FIELDS, *(path for kind in kinds for path in _PATHS.get(kind, ())), *paths_of_vms(kinds)))
    with speaking("list the VMs"):
        around = Surroundings.read(session, kinds)
        fields = _custom_fields(session) if Kind.ATTRIBUTE in kinds else {}
        listed = read_all(session, vim.VirtualMachine, *paths)
    known = [
        KnownVm(record=record_of(vm, values), facts=_facts(vm, values, kinds, around, fields, elsewhere))
        for vm, values in listed
    ]
    return tuple(sorted(known, key=lambda vm: (vm.record.name, vm.record.moref)))


def _facts(
    vm: Any, values: dict[str, Any], kinds: Collection[Kind], around: Surroundings, fields: Mapping[int, str],
    elsewhere: Elsewhere,
) -> VmFacts:  # fmt: skip
    seen = elsewhere.last_seen.get(moref_of(vm), LastSeen())
    addresses = _addresses(values) or seen.addresses
    dns_name = values.get("summary.guest.hostName") or seen.dns_name
    special: dict[Kind, Callable[[], dict[str, Any]]] = {
        Kind.ATTRIBUTE: lambda: {"attributes": _attributes(values["customValue"], fields)},
        Kind.TAG: lambda: {"tags": elsewhere.tags.get(moref_of(vm), frozenset())},
        Kind.FOLDER: lambda: {"folders": around.folders(values)},
        Kind.VAPP: lambda: {"vapps": around.vapps(values)},
        Kind.POOL: lambda: {"pools": around.pools(values)},
        Kind.CLUSTER: lambda: {"cluster": around.cluster(values)},
        Kind.HOST: lambda: {"host": around.host(values)},
        Kind.DATASTORE: lambda: {"datastores": around.datastores(values)},
    }
    asked: dict[str, Any] = {}
    for kind in kinds:
        if kind in special:
            asked |= special[kind]()
    return VmFacts(
        moref=moref_of(vm),
        name=values["name"] or "",
        uuids=tuple(filter(None, (values["summary.config.instanceUuid"], values["summary.config.uuid"]))),
        power=_POWER.get(str(values["runtime.powerState"])),
        addresses=frozenset(filter(None, map(address_of, addresses))),
        dns_names=frozenset({dns_name.rstrip(".").lower()} if dns_name else ()),
        **asked,
    )


def _addresses(values: dict[str, Any]) -> tuple[str, ...]:
    """Return all addresses that VMware Tools report. Link-local ones lose the zone that some guests add."""
    told = [values["summary.guest.ipAddress"]]
    told += [address for card in values.get("guest.net") or () for address in card.ipAddress or ()]
    return tuple(dict.fromkeys(address.partition("%")[0] for address in told if address))


def _attributes(values: Iterable[Any] | None, fields: Mapping[int, str]) -> dict[str, str]:
    return {fields[value.key]: str(value.value) for value in values or () if value.key in fields}


def _custom_fields(session: Session) -> dict[int, str]:
    """Return the names of the custom attributes, by key. An ESXi host has none."""
    manager = session.content.customFieldsManager
    return {} if manager is None else {field.key: str(field.name) for field in manager.field or ()}
