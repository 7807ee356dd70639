"""Finds the privileges that the user lacks on an object, before a step needs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vmkeep.errors import PermissionDeniedError
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read_each
from vmkeep.vsphere.session import Session


def missing_privileges(session: Session, entity: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Return the privileges among ``names`` that the user does not hold on an object.

    A user who may not even see the object holds none.

    :param entity: a VM's managed object id, or a managed object of this session.
    """
    target = session.vm(entity) if isinstance(entity, str) else entity
    with speaking(f"ask for the privileges on {moref_of(target)}"):
        try:
            held = _held(session, [target], names)[moref_of(target)]
        except vim.fault.NoPermission:
            return tuple(names)
    return tuple(name for name in names if name not in held)


def _held(session: Session, targets: Sequence[Any], names: Iterable[str]) -> dict[str, set[str]]:
    """Return those of ``names`` that the user holds on each of some objects, by moref.

    :raises vim.fault.NoPermission: he may not look at one of them.
    """
    manager = session.content.authorizationManager
    answers = manager.HasPrivilegeOnEntities(list(targets), session.session_key, list(names))
    held: dict[str, set[str]] = {moref_of(target): set() for target in targets}
    for answer in answers or ():
        held[moref_of(answer.entity)] = {item.privId for item in answer.privAvailability if item.isGranted}
    return held


def missing_on_each(session: Session, asked: Sequence[tuple[Any, Sequence[str]]]) -> list[tuple[str, ...]]:
    """Return what the user lacks on each object: with one call, unless he may not look at one of them."""
    targets = [target for target, _ in asked]
    every = dict.fromkeys(name for _, names in asked for name in names)
    with speaking(f"ask for the privileges on {', '.join(map(moref_of, targets))}"):
        try:
            held = _held(session, targets, every)
        except vim.fault.NoPermission:
            held = None
    if held is None:
        return [missing_privileges(session, target, names) for target, names in asked]
    return [tuple(name for name in names if name not in held[moref_of(target)]) for target, names in asked]


def require(session: Session, asked: Iterable[tuple[Any, Sequence[str]]]) -> None:
    """Return if the user holds all privileges that are asked for, each on its object.

    :param asked: managed object ids of VMs, or managed objects of this session, each with privileges.
    :raises PermissionDeniedError: privileges are missing. The message names all of them, with their objects.
    """
    listed = [(session.vm(entity) if isinstance(entity, str) else entity, names) for entity, names in asked]
    missing_ones = missing_on_each(session, listed) if listed else []
    lacking = [(target, missing) for (target, _), missing in zip(listed, missing_ones, strict=True) if missing]
    if not lacking:
        return
    told = "; ".join(f"{', '.join(missing)} on {_called(session, target)}" for target, missing in lacking)
    raise PermissionDeniedError(
        f"the user {session.user_name} lacks {told}: give the user a role with that there ('vmkeep vsphere role' lists "
        "the rights that are needed)",
        privilege=lacking[0][1][0],
        target=moref_of(lacking[0][0]),
    )


def _called(session: Session, managed: Any) -> str:
    """Return an object's name and id, or the id alone if the user may not see the name."""
    with speaking(f"look at {moref_of(managed)}"):
        names = [values["name"] for _, values in read_each(session, [managed], "name") if values["name"]]
    return f"{decode_name(names[0])} ({moref_of(managed)})" if names else moref_of(managed)
