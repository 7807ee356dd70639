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
        manager = session.content.authorizationManager
        try:
            answers = manager.HasPrivilegeOnEntities([target], session.session_key, list(names))
        except vim.fault.NoPermission:
            return tuple(names)
        held = {item.privId for answer in answers or () for item in answer.privAvailability if item.isGranted}
    return tuple(name for name in names if name not in held)


def require(session: Session, asked: Iterable[tuple[Any, Sequence[str]]]) -> None:
    """Return if the user holds all privileges that are asked for, each on its object.

    :param asked: managed object ids of VMs, or managed objects of this session, each with privileges.
    :raises PermissionDeniedError: privileges are missing. The message names all of them, with their objects.
    """
    lacking = [(entity, missing) for entity, names in asked if (missing := missing_privileges(session, entity, names))]
    if not lacking:
        return
    managed = [session.vm(entity) if isinstance(entity, str) else entity for entity, _ in lacking]
    told = "; ".join(
        f"{', '.join(missing)} on {_called(session, target)}"
        for target, (_, missing) in zip(managed, lacking, strict=True)
    )
    raise PermissionDeniedError(
        f"the user {session.user_name} lacks {told}: give the user a role with that there ('vmkeep vsphere role' lists "
        "what is needed)",
        privilege=lacking[0][1][0],
        target=moref_of(managed[0]),
    )


def _called(session: Session, managed: Any) -> str:
    """Return an object's name and id, or the id alone if the user may not see the name."""
    with speaking(f"look at {moref_of(managed)}"):
        names = [values["name"] for _, values in read_each(session, [managed], "name") if values["name"]]
    return f"{decode_name(names[0])} ({moref_of(managed)})" if names else moref_of(managed)
