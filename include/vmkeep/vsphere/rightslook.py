"""Asks which rights the user has on the objects that there are, for a person who looks at an installation.

A run asks for its own objects (:mod:`vmkeep.vsphere.rightscheck`). Here no run is meant, so that all kinds of objects
are asked about, of each kind a limited number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from vmkeep.lateclass import dataclass
from vmkeep.model.purpose import Purpose
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.privileges import missing_on_each
from vmkeep.vsphere.properties import WHOLE, read_types
from vmkeep.vsphere.rights import On, rights_of
from vmkeep.vsphere.session import Session

MOST: Final = 500
"""Objects of one kind that are asked about."""
_PAGE: Final = 100
"""Objects in one question."""
_KINDS: Final[Mapping[Any, tuple[On, ...]]] = {
    vim.HostSystem: (On.HOST, On.BACKED_UP_HOST),
    vim.VirtualMachine: (On.VM, On.TARGET),
    vim.Folder: (On.FOLDER,),
    vim.ResourcePool: (On.POOL,),
    vim.Datastore: (On.HOME, On.DATASTORE),
    vim.Network: (On.NETWORK,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRights:
    """The rights of the user on the objects of one kind."""

    there: int
    """Number of objects of the kind that the user sees."""
    objects: tuple[tuple[str, frozenset[str]], ...]
    """Name and held privileges of each object that was asked about, of the privileges that any run needs there."""


def look_at_rights(session: Session) -> dict[On, HeldRights]:
    """Return the user's rights on each kind of object that this server checks them on."""
    listed = _objects(session)
    found: dict[On, HeldRights] = {}
    for on, objects in listed.items():
        if not session.is_vcenter and on in (On.ROOT, On.HOST):
            continue  # because a host has no methods to disable
        names = sorted({right.privilege for purpose in Purpose for right in rights_of(purpose) if right.on is on})
        chosen = _spread(objects)
        found[on] = HeldRights(there=len(objects), objects=tuple(_held(session, chosen, names)))
    return found


def _objects(session: Session) -> dict[On, list[tuple[Any, str]]]:
    paths: dict[Any, Sequence[str]] = dict.fromkeys(_KINDS, ("name",))
    paths[vim.Folder] = ("name", "childType")
    with speaking(f"list the objects of {session.host}"):
        found = read_types(session, paths, page=WHOLE)
    listed: dict[On, list[tuple[Any, str]]] = {on: [] for kinds in _KINDS.values() for on in kinds}
    for managed, values in {moref_of(managed): (managed, values) for managed, values in found}.values():
        kind = next(kind for kind in _KINDS if isinstance(managed, kind))
        if kind is vim.Folder and "VirtualMachine" not in (values.get("childType") or ()):
            continue
        if isinstance(managed, vim.VirtualApp):
            continue  # because no restored VM is made in one
        for on in _KINDS[kind]:
            listed[on].append((managed, decode_name(values["name"] or moref_of(managed))))
    return {On.ROOT: [(session.content.rootFolder, "the root")], **listed}


def _spread(objects: Sequence[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Return at most :data:`MOST` objects, from all places of the list."""
    step = max(1, -(-len(objects) // MOST))
    return list(objects[::step])


def _held(
    session: Session, objects: Sequence[tuple[Any, str]], names: Sequence[str]
) -> Iterable[tuple[str, frozenset[str]]]:
    for at in range(0, len(objects), _PAGE):
        page = objects[at : at + _PAGE]
        missing = missing_on_each(session, [(managed, names) for managed, _ in page])
        for (_, name), lacking in zip(page, missing, strict=True):
            yield name, frozenset(names) - frozenset(lacking)
