"""Chooses VMs by a selector."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from vmkeep.errors import UnsupportedError
from vmkeep.lateclass import dataclass
from vmkeep.selection import Condition, Kind, Selector, address_of, conditions, matcher
from vmkeep.vsphere.guests import Sighting
from vmkeep.vsphere.records import VmRecord
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tags import read_tags
from vmkeep.vsphere.vmfacts import Elsewhere, KnownVm, read_vms

_ONLY_A_VCENTER = {
    Kind.TAG: "tags",
    Kind.ATTRIBUTE: "custom attributes",
    Kind.FOLDER: "folders of VMs",
    Kind.CLUSTER: "clusters",
    Kind.VAPP: "vApps",
}
_MISSPELT = "is it spelled as vSphere has it?"
_MAYBE = {Kind.TAG: f"{_MISSPELT} Or may the user not read it (System.Read as a global permission)?"}
_MAY_FIT_NONE = (Kind.ANY, Kind.NONE, Kind.POWERSTATE)
"""Kinds of condition that may fit no VM without a typing error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The VMs that fit a selector, sorted by name."""

    records: tuple[VmRecord, ...]
    notes: tuple[str, ...]
    """One line for each condition that no VM fits, because it may have a typing error."""


def choose_vms(session: Session, selector: Selector, last_seen: Iterable[Sighting]) -> Chosen:
    """Return the VMs that fit.

    :param last_seen: addresses that are remembered, the newest first.
    :raises UnsupportedError: the server is an ESXi host, and the selector asks for things that only a vCenter has.
    """
    return fitting(session, selector, known_vms(session, (selector,), last_seen))


def fitting(session: Session, selector: Selector, known: Sequence[KnownVm]) -> Chosen:
    """Return those of the known VMs that fit; they are known with the facts that the selector asks for."""
    fits = matcher(selector)
    return Chosen(
        records=tuple(vm.record for vm in known if fits(vm.facts)),
        notes=tuple(
            f"no VM on {session.host} fits {condition}: {_MAYBE.get(condition.kind, _MISSPELT)}"
            for condition in dict.fromkeys(conditions(selector))
            if condition.kind not in _MAY_FIT_NONE and not _any_fits(condition, known)
        ),
    )


def known_vms(session: Session, selectors: Iterable[Selector], last_seen: Iterable[Sighting]) -> tuple[KnownVm, ...]:
    """Return every VM that the user may see, with the facts that some selectors ask for, in one pass.

    :param last_seen: addresses that are remembered, the newest first.
    :raises UnsupportedError: the server is an ESXi host, and a selector asks for things that only a vCenter has.
    """
    asked = require_told_by(session, selectors)
    wanted_tags = [condition.value for condition in asked if condition.kind is Kind.TAG]
    tags = read_tags(session, wanted_tags) if wanted_tags else {}
    kinds = {condition.kind for condition in asked}
    known = read_vms(session, kinds, Elsewhere(last_seen=last_seen, tags=tags))
    return _with_resolved_names(asked, known)


def require_told_by(session: Session, selectors: Iterable[Selector]) -> tuple[Condition, ...]:
    """Return all conditions of some selectors, if the server has the facts for them.

    :raises UnsupportedError: the server is an ESXi host, and a selector asks for things that only a vCenter has.
    """
    asked = tuple(dict.fromkeys(condition for selector in selectors for condition in conditions(selector)))
    require_told(asked, vcenter=session.is_vcenter, host=session.host)
    return asked


def require_told(asked: Iterable[Condition], *, vcenter: bool, host: str) -> None:
    """Return if the server has the facts for all conditions.

    :param vcenter: the server is a vCenter, and not a single ESXi host.
    :raises UnsupportedError: an ESXi host lacks a kind of fact.
    """
    for condition in asked:
        if not vcenter and condition.kind in _ONLY_A_VCENTER:
            lacks = _ONLY_A_VCENTER[condition.kind]
            raise UnsupportedError(
                f"{condition}: {host} is an ESXi host without vCenter, which knows no {lacks}; choose its VMs by "
                "name:, uuid:, ipaddr:, powerstate:, pool: or datastore:"
            )


def resolve(name: str) -> list[str]:
    """Return the addresses of a DNS name; empty: it does not resolve."""
    if name.split() != [name]:  # because a resolver may ignore a blank and all behind it
        return []
    try:
        return sorted({str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError):
        return []


def _with_resolved_names(asked: Collection[Condition], known: Sequence[KnownVm]) -> tuple[KnownVm, ...]:
    """Give each wanted DNS name that no guest has to the VMs with its addresses."""
    found: dict[str, frozenset[str]] = {}
    for condition in asked:
        if condition.kind is Kind.IPADDR and address_of(condition.value) is None and not _any_fits(condition, known):
            name = condition.value.rstrip(".").lower()
            found[name] = frozenset(filter(None, map(address_of, resolve(name))))
    return tuple(_named(vm, found) for vm in known) if found else tuple(known)


def _named(vm: KnownVm, found: Mapping[str, frozenset[str]]) -> KnownVm:
    names = {name for name, addresses in found.items() if addresses & vm.facts.addresses}
    return replace(vm, facts=replace(vm.facts, dns_names=vm.facts.dns_names | names)) if names else vm


def _any_fits(condition: Condition, known: Iterable[KnownVm]) -> bool:
    fits = matcher(condition)
    return any(fits(vm.facts) for vm in known)
