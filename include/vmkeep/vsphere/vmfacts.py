"""Collects the facts that a selector needs. The number of calls depends only on the number of pages of VMs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import field
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.model.point import Power
from vmkeep.selection import Kind, VmFacts, address_of
from vmkeep.vsphere import guests
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.guests import Sighting
from vmkeep.vsphere.properties import read_all
from vmkeep.vsphere.records import FIELDS, VmRecord, record_of
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.surroundings import Surroundings, paths_of_vms

_POWER = {"poweredOn": Power.ON, "poweredOff": Power.OFF, "suspended": Power.SUSPENDED}
_PATHS: dict[Kind, tuple[str, ...]] = {
    Kind.IPADDR: guests.PATHS,
    Kind.ATTRIBUTE: ("customValue",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVm:
    """A VM: its record, and the facts that a selector needs."""

    record: VmRecord
    facts: VmFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Facts that are not in the inventory."""

    last_seen: Iterable[Sighting] = ()
    """The newest first."""
    tags: Mapping[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    """By managed object id."""


def read_vms(session: Session, kinds: Collection[Kind], elsewhere: Elsewhere) -> tuple[KnownVm, ...]:
    """Return every VM that the user may see, sorted by name, with the facts that conditions of some kinds need."""
    paths = dict.fromkeys((*FIELDS, *(path for kind in kinds for path in _PATHS.get(kind, ())), *paths_of_vms(kinds)))
    with speaking("list the VMs"):
        around = Surroundings.read(session, kinds)
        fields = _custom_fields(session) if Kind.ATTRIBUTE in kinds else {}
        listed = read_all(session, vim.VirtualMachine, *paths)
    records = [record_of(vm, values) for vm, values in listed]
    seen = guests.seen_last(elsewhere.last_seen, [(record.moref, record.instance_uuid) for record in records])
    sources = _Sources(around=around, fields=fields, tags=elsewhere.tags, seen=seen)
    known = [
        KnownVm(record=record, facts=_facts(record.moref, values, kinds, sources))
        for record, (_, values) in zip(records, listed, strict=True)
    ]
    return tuple(sorted(known, key=lambda vm: (vm.record.name, vm.record.moref)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """Everything that the facts of a VM come from, beside its own properties."""

    around: Surroundings
    fields: Mapping[int, str]
    """Names of the custom attributes, by key."""
    tags: Mapping[str, frozenset[tuple[str, str]]]
    seen: Mapping[str, Sighting]


_Values = dict[str, Any]
_OF_KIND: dict[Kind, Callable[[str, _Values, _Sources], _Values]] = {
    Kind.ATTRIBUTE: lambda _, values, of: {"attributes": _attributes(values["customValue"], of.fields)},
    Kind.TAG: lambda moref, _, of: {"tags": of.tags.get(moref, frozenset())},
    Kind.IPADDR: lambda moref, values, of: _guest(values, of.seen.get(moref)),
    Kind.FOLDER: lambda _, values, of: {"folders": of.around.folders(values)},
    Kind.VAPP: lambda _, values, of: {"vapps": of.around.vapps(values)},
    Kind.POOL: lambda _, values, of: {"pools": of.around.pools(values)},
    Kind.CLUSTER: lambda _, values, of: {"cluster": of.around.cluster(values)},
    Kind.HOST: lambda _, values, of: {"host": of.around.host(values)},
    Kind.DATASTORE: lambda _, values, of: {"datastores": of.around.datastores(values)},
}
"""Makes the facts that conditions of a kind ask for, of a VM's id and properties."""


def _facts(moref: str, values: _Values, kinds: Collection[Kind], sources: _Sources) -> VmFacts:
    asked: _Values = {}
    for kind in kinds:
        if kind in _OF_KIND:
            asked |= _OF_KIND[kind](moref, values, sources)
    return VmFacts(
        moref=moref,
        name=values["name"] or "",
        uuids=tuple(filter(None, (values["summary.config.instanceUuid"], values["summary.config.uuid"]))),
        power=_POWER.get(str(values["runtime.powerState"])),
        **asked,
    )


def _guest(values: _Values, seen: Sighting | None) -> _Values:
    """Return addresses and DNS name: those of now, and where nothing tells them, those that were seen last."""
    addresses = guests.addresses_of(values) or (seen.addresses if seen else ())
    name = guests.dns_name_of(values) or (seen.dns_name if seen else None)
    return {
        "addresses": frozenset(filter(None, map(address_of, addresses))),
        "dns_names": frozenset({name.rstrip(".").lower()} if name else ()),
    }


def _attributes(values: Iterable[Any] | None, fields: Mapping[int, str]) -> dict[str, str]:
    return {fields[value.key]: str(value.value) for value in values or () if value.key in fields}


def _custom_fields(session: Session) -> dict[int, str]:
    """Return the names of the custom attributes, by key; an ESXi host has none."""
    manager = session.content.customFieldsManager
    return {} if manager is None else {field.key: str(field.name) for field in manager.field or ()}
