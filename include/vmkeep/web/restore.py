"""The pages of the restore wizard's forms, their faults, and the run that a form asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from vmkeep.flows.fleet import ListedPoint
from vmkeep.lateclass import dataclass
from vmkeep.model.fieldwords import fields_named
from vmkeep.model.portable import PortableMachine
from vmkeep.web.forms import FieldGroup, Given, values_of, with_fault
from vmkeep.web.restore_fields import CARD, STORE, RestoreKind, disks_of
from vmkeep.web.words import Moment, moment, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class PointHead:
    """The point that is restored from."""

    id: str
    ref: str
    vm_name: str
    vm_key: str
    taken: Moment
    doubts: tuple[str, ...]
    """Marks of the point that speak against its use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreForm:
    """The form of one kind of restore."""

    point: PointHead
    kind: RestoreKind
    vsphere: str
    """The connection whose inventory is shown."""
    vcenters: tuple[str, ...]
    groups: tuple[FieldGroup, ...]
    problem: str = ""
    """The reason why there are no fields; empty: there are."""
    faults: tuple[str, ...] = ()
    """A sentence for each value that cannot be taken."""


def head_of(point: ListedPoint, now: datetime) -> PointHead:
    """Return a point as the wizard shows it."""
    taken = moment(point.taken_at, now)
    assert taken is not None
    doubts = tuple(f"{mark.kind}: {plain(mark.reason)}" for mark in point.marks if mark.kind not in _HARMLESS_MARKS)
    return PointHead(
        id=point.id, ref=point.ref, vm_name=plain(point.vm_name), vm_key=point.vm_key, taken=taken, doubts=doubts
    )


_HARMLESS_MARKS: Final = frozenset({"pinned", "locked"})


def checked(kind: RestoreKind, groups: tuple[FieldGroup, ...]) -> tuple[FieldGroup, ...]:
    """Return the fields, each with its fault, as far as one can be told from the form alone."""
    values = values_of(groups)
    if kind is RestoreKind.NEW and not values["new_name"]:
        groups = with_fault(groups, "new_name", "the new VM needs a name")
    if kind is RestoreKind.ATTACH and not values["disks"]:
        groups = with_fault(groups, "disks", "choose at least one")
    if kind is RestoreKind.ATTACH and not values["vm"]:
        groups = with_fault(groups, "vm", "name the VM that gets the disks")
    return groups


def conf_of(
    point: ListedPoint,
    groups: tuple[FieldGroup, ...],
    *,
    machine: PortableMachine | None,
    vsphere: str,
    repository: str,
) -> dict[str, Any]:
    """Return the params of the DAG run that only plans what a form asks for.

    :param groups: without faults.
    :param vsphere: Airflow connection.
    :param repository: Airflow connection.
    """
    values = values_of(groups)
    conf: dict[str, Any] = {"point": point.ref, "vsphere": vsphere, "repository": repository, "dry_run": True}
    for name, given in values.items():
        if name.startswith((CARD, STORE)):
            continue
        if name == "disks":
            conf[name] = list(given)
        elif name in _BOXES:
            conf[name] = bool(given)
        elif name == "power_on":
            conf[name] = {"yes": True, "no": False}.get(given[0] if given else "")
        elif given and given[0]:
            conf[name] = given[0]
    for param, parts in _parts(point, machine):
        chosen = ((label, values.get(name, ())) for name, label in parts)
        conf[param] = [f"{label}={given[0]}" for label, given in chosen if given and given[0]]
    return conf


def given_of(
    conf: Mapping[str, Any], point: ListedPoint, groups: tuple[FieldGroup, ...], *, machine: PortableMachine | None
) -> Given:
    """Return what a form was filled in with, from the params of the run that it asked for, as a browser sends it.

    :param groups: the fields of the form.
    """
    given: dict[str, list[str]] = {}
    for name in values_of(groups):
        value = conf.get(name)
        if name == "power_on":
            given[name] = ["yes" if value is True else "no" if value is False else ""]
        elif name in _BOXES:
            given[name] = ["yes"] if value else []
        else:
            given[name] = [*map(str, value)] if isinstance(value, (list, tuple)) else [str(value)] if value else []
    for param, parts in _parts(point, machine):
        chosen = {label: name for name, label in parts}
        for line in conf.get(param) or ():
            label = next((each for each in chosen if str(line).startswith(f"{each}=")), None)
            if label is not None:
                given[chosen[label]] = [str(line).removeprefix(f"{label}=")]
    return given


def _parts(point: ListedPoint, machine: PortableMachine | None) -> tuple[tuple[str, list[tuple[str, str]]], ...]:
    """Return the params that have a line for each card or disk, each with the names of its fields and their words."""
    if machine is None:
        return ()
    cards = [(f"{CARD}{number}", card.label) for number, card in enumerate(machine.cards)]
    stores = [(f"{STORE}{number}", disk.address) for number, disk in enumerate(disks_of(point))]
    return (("networks", cards), ("disk_datastores", stores))


def refused(groups: tuple[FieldGroup, ...], why: str, said: str) -> tuple[FieldGroup, ...]:
    """Return the fields, with the reason for which a plan was refused at the first field that it names.

    :param why: the reason in the words of the engine.
    :param said: the same in the words of the form.
    """
    names = values_of(groups)
    field = next((name for name in fields_named(why) if name in names), None)
    return with_fault(groups, field, said) if field is not None else groups


_BOXES: Final = frozenset({"keep_identity", "connect_networks", "all_blocks"})


def form_of(
    point: PointHead,
    kind: RestoreKind,
    *,
    vsphere: str,
    vcenters: tuple[str, ...],
    groups: tuple[FieldGroup, ...] = (),
    problem: str = "",
    faults: tuple[str, ...] = (),
) -> RestoreForm:
    """Return the page of a form. Values that a person typed are shown with each invisible character spelled out."""
    return RestoreForm(
        point=point, kind=kind, vsphere=vsphere, vcenters=vcenters, groups=groups, problem=plain(problem),
        faults=tuple(plain(each) for each in faults),
    )  # fmt: skip


def without_dry_run(conf: Mapping[str, Any], *, as_shown: str) -> dict[str, Any]:
    """Return the params of the run that does what a run that only planned has shown.

    :param as_shown: digest of the plan that was shown; empty: the DAG does not take one.
    """
    done = {**conf, "dry_run": False}
    return {**done, "as_shown": as_shown} if as_shown else done
