"""Which privileges the user lacks on an object, asked before anything needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmkeep.errors import PermissionDeniedError
from vmkeep.vsphere.api import moref
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read_each
from vmkeep.vsphere.session import Session


def missing_privileges(session: Session, entity: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Return those of ``names`` that the user does not hold on a managed object.

    ``entity`` is a VM's id, or a managed object of this session.
    """
    target = session.vm(entity) if isinstance(entity, str) else entity
    with speaking(f"ask for the privileges on {moref(target)}"):
        manager = session.content.authorizationManager
        answers = manager.HasPrivilegeOnEntities([target], session.session_key, list(names))
        held = {item.privId for answer in answers or () for item in answer.privAvailability if item.isGranted}
    return tuple(name for name in names if name not in held)


def require(session: Session, entity: Any, names: Sequence[str]) -> None:
    """Make sure that the user holds all of ``names`` on an object.

    :raises PermissionDeniedError: names all that are missing.
    """
    missing = missing_privileges(session, entity, names)
    if missing:
        target = entity if isinstance(entity, str) else moref(entity)
        managed = session.vm(entity) if isinstance(entity, str) else entity
        raise PermissionDeniedError(
            f"the user {session.user_name} lacks {', '.join(missing)} on {_called(session, managed)}; give a role with "
            f"{'it' if len(missing) == 1 else 'them'} there",
            privilege=missing[0],
            target=target,
        )


def _called(session: Session, managed: Any) -> str:
    """The object as people know it, with its id; the id alone, if the user may not see the name."""
    with speaking(f"look at {moref(managed)}"):
        names = [values["name"] for _, values in read_each(session, [managed], "name") if values["name"]]
    return f"{decode_name(names[0])} ({moref(managed)})" if names else moref(managed)
