"""Finds the storage policies of a saved VM in the vCenter of a new one, and whether its datastores can hold them.

A policy is known by its name. Its id counts only in the vCenter that gave it out, in case the policy was renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace

from vmkeep.errors import VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.references import NamedPolicy
from vmkeep.vsphere.freespace import read_free
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.places import Place
from vmkeep.vsphere.policies import list_policies, unfit_for
from vmkeep.vsphere.session import Session

_IN_VCENTER = "assign one in vCenter"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPolicies:
    """The storage policies of a new VM."""

    given: Mapping[int | None, NamedPolicy] = field(default_factory=dict)
    """The policy, as it is called here, of each disk by its saved device key; ``None``: of the VM's own files."""
    notes: tuple[str, ...] = ()
    """One sentence for each saved policy that is not applied."""


def choose_policies(
    session: Session, place: Place, stores: Mapping[int | None, str], labels: Mapping[int, str], *, decrypted: bool
) -> ChosenPolicies:
    """Find the policies of a saved VM for the parts of a new one.

    :param stores: the datastore of each disk that is made, by its saved device key; ``None``: of the VM's own files.
    :param labels: labels of the saved disks.
    :param decrypted: the saved VM was encrypted, and the new one is not.
    """
    told = {policy: _told(policy, labels) for policy in place.origin.references.policies}
    saved = [policy for policy in told if policy.disk in stores]
    elsewhere = _refused(
        (told[one] for one in told if one not in saved), "the new VM has no disk of its own in its place"
    )
    if not saved:
        return ChosenPolicies(notes=elsewhere)
    if decrypted:
        return ChosenPolicies(notes=_refused(told.values(), "the new VM is not encrypted, as the saved one was"))
    try:
        found = _found(session, place, {policy: stores[policy.disk] for policy in saved}, told)
        return replace(found, notes=(*found.notes, *elsewhere))
    except VmKeepError as error:
        return ChosenPolicies(notes=_refused(told.values(), str(error)))


def _found(
    session: Session, place: Place, stores: Mapping[NamedPolicy, str], told: Mapping[NamedPolicy, str]
) -> ChosenPolicies:
    known, spaces = list_policies(session), read_free(session, place.host)
    here = {policy: _id_of(policy, known, same_vcenter=place.same_vcenter) for policy in stores}
    morefs = {policy: spaces[store].moref for policy, store in stores.items()}
    unfit = _unfit(session, here, morefs)
    given: dict[int | None, NamedPolicy] = {}
    notes: list[str] = []
    for policy, found in here.items():
        if found is None:
            notes += _refused([told[policy]], f"{session.host} has no policy of that name")
        elif (found, morefs[policy]) in unfit:
            store = decode_name(stores[policy])
            notes += _refused([told[policy]], f"datastore {store} cannot hold what it asks for")
        else:
            given[policy.disk] = NamedPolicy(id=found, name=known[found], disk=policy.disk)
    return ChosenPolicies(given=given, notes=tuple(notes))


def _unfit(
    session: Session, here: Mapping[NamedPolicy, str | None], morefs: Mapping[NamedPolicy, str]
) -> set[tuple[str, str]]:
    """Return the policies and datastores that do not fit each other, by one question for each policy."""
    asked: dict[str, set[str]] = {}
    for policy, found in here.items():
        if found is not None:
            asked.setdefault(found, set()).add(morefs[policy])
    return {(found, moref) for found, stores in asked.items() for moref in unfit_for(session, found, stores)}


def _id_of(policy: NamedPolicy, known: Mapping[str, str], *, same_vcenter: bool) -> str | None:
    by_name = [each for each, name in known.items() if name == policy.name]
    if by_name:
        return policy.id if policy.id in by_name and same_vcenter else by_name[0]
    return policy.id if same_vcenter and policy.id in known else None


def _told(policy: NamedPolicy, labels: Mapping[int, str]) -> str:
    part = "the VM's own files" if policy.disk is None else labels.get(policy.disk, f"disk {policy.disk}")
    return f"storage policy '{policy.name}' of {part}"


def _refused(told: Iterable[str], why: str) -> tuple[str, ...]:
    return tuple(f"{policy} is not applied, because {why}: {_IN_VCENTER}" for policy in told)
