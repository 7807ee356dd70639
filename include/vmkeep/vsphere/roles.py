"""Reads, makes and changes a role, and grants it to a user on an object of the inventory.

A user or group has at most one grant on an object, and it replaces what the objects above would let through. So a
caller looks at the grants that count there (:func:`grants_on`) before it makes one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from vmkeep.errors import NotFoundError, UsageError, VSphereError
from vmkeep.lateclass import dataclass
from vmkeep.vsphere.api import moref_of, type_name, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.privileges import require
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.rights import SYSTEM
from vmkeep.vsphere.session import Session

CHANGE_ROLES: Final = "Authorization.ModifyRoles"
GRANT: Final = "Authorization.ModifyPermissions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of a vCenter or host."""

    id: int
    name: str
    fixed: bool
    """vSphere brings the role along, and lets nobody change it."""
    privileges: frozenset[str]
    """Without those that every role has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role that a user or a group has on an object."""

    who: str
    """As ``user@domain`` in small letters."""
    group: bool
    role_id: int
    here: bool
    """The grant is on the object itself that was asked about, and not on one above it; and it counts below, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantPlace:
    """An object of the inventory on which a role can be granted."""

    managed: Any
    name: str
    """For people."""
    is_root: bool


def known_privileges(session: Session) -> frozenset[str]:
    """Return the privileges that a server has. A host has fewer than a vCenter, and refuses roles with others."""
    return frozenset(privilege.privId for privilege in _read(session, "privilegeList"))


def list_roles(session: Session) -> tuple[Role, ...]:
    """Return all roles."""
    return tuple(
        Role(
            id=role.roleId,
            name=role.name,
            fixed=bool(role.system),
            privileges=frozenset(role.privilege or ()) - set(SYSTEM),
        )
        for role in _read(session, "roleList")
    )


def make_role(session: Session, name: str, privileges: Iterable[str]) -> int:
    """Make a role; return its id."""
    with speaking(f"make role '{name}' at {session.host}"):
        return int(_manager(session).AddAuthorizationRole(name, sorted(privileges)))


def change_role(session: Session, role: Role, privileges: Iterable[str]) -> None:
    """Give a role other privileges, which count at once wherever the role is granted."""
    with speaking(f"change role '{role.name}' at {session.host}"):
        _manager(session).UpdateAuthorizationRole(role.id, role.name, sorted(privileges))


def find_place(session: Session, path: str) -> GrantPlace:
    """Return the object of an inventory path; ``/`` is the root.

    :raises NotFoundError: the user sees no such object.
    :raises UsageError: vSphere takes no grants on it, because it always has those of the object above.
    """
    if not path.strip("/"):
        return GrantPlace(managed=session.content.rootFolder, name="the root of the inventory", is_root=True)
    with speaking(f"find '{path}' at {session.host}"):
        managed = session.content.searchIndex.FindByInventoryPath(path.strip("/"))
        if managed is None:
            raise NotFoundError(
                f"'{path}' is not in the inventory of {session.host}: write a path such as /Lab/vm/Production, "
                "or / for the root"
            )
        values = read(session, managed, "name", "parent")
    if (above := _bound_to(managed, values["parent"])) is not None:
        raise UsageError(
            f"'{path}': vSphere takes no grants on it, because it always has those of {above} above it: name that"
        )
    kind = type_name(managed)
    return GrantPlace(managed=managed, name=f"{kind} {decode_name(values['name'] or path)}", is_root=False)


def grants_on(session: Session, place: GrantPlace) -> tuple[Grant, ...]:
    """Return the grants that count on an object: its own, and those of the objects above, the nearest first."""
    with speaking(f"ask for the grants on {place.name}"):
        found = _manager(session).RetrieveEntityPermissions(place.managed, True)
    return tuple(
        Grant(
            who=normal_user(one.principal),
            group=one.group,
            role_id=one.roleId,
            here=one.entity is not None and moref_of(one.entity) == moref_of(place.managed) and bool(one.propagate),
        )
        for one in found or ()
    )


def held_on(session: Session, place: GrantPlace, who: str) -> frozenset[str]:
    """Return the privileges that a user has on an object now, by grants of his own and by those of his groups.

    Only the server knows who is in a group. The privileges that every role has are left out.

    :raises NotFoundError: vSphere knows no such user.
    """
    with speaking(f"ask for the privileges of {who} on {place.name}"):
        try:
            found = _manager(session).FetchUserPrivilegeOnEntities([place.managed], who)
        except vim.fault.UserNotFound:
            raise _no_such("user", who, session) from None
    return frozenset(name for one in found or () for name in one.privileges or ()) - set(SYSTEM)


def grant(session: Session, place: GrantPlace, *, who: str, group: bool, role_id: int) -> None:
    """Give a user or a group a role on an object and on everything below it. It replaces the role it has there.

    :raises NotFoundError: vSphere knows no such user or group.
    """
    permission = vim.AuthorizationManager.Permission(principal=who, group=group, roleId=role_id, propagate=True)
    with speaking(f"grant the role to {who} on {place.name}"):
        try:
            _manager(session).SetEntityPermissions(place.managed, [permission])
        except vim.fault.UserNotFound:
            kind = "group" if group else "user"
            raise _no_such(kind, who, session) from None
    mine = [one for one in grants_on(session, place) if (one.who, one.group) == (normal_user(who), group)]
    if not any(one.role_id == role_id and one.here for one in mine):
        raise VSphereError(f"{session.host} accepted the grant to {who} on {place.name}, and does not list it: look")


def require_may_change(session: Session, privileges: Iterable[str]) -> None:
    """Return if the user may make roles with some privileges. vSphere lets nobody give privileges that he lacks.

    :raises PermissionDeniedError: privileges are missing. The message names them.
    """
    require(session, [(session.content.rootFolder, (CHANGE_ROLES, *sorted(privileges)))])


def require_may_grant(session: Session, place: GrantPlace, privileges: Iterable[str]) -> None:
    """Return if the user may grant a role with some privileges on an object.

    :raises PermissionDeniedError: privileges are missing. The message names them.
    """
    require(session, [(place.managed, (GRANT, *sorted(privileges)))])


def _no_such(kind: str, who: str, session: Session) -> NotFoundError:
    return NotFoundError(f"{session.host} knows no {kind} '{who}': write it as name@domain, as at the log-in")


def normal_user(text: str) -> str:
    r"""Return the name of a user or group as ``name@domain`` in small letters. vSphere lists it as ``DOMAIN\name``."""
    domain, _, name = text.rpartition("\\")
    return (f"{name}@{domain}" if domain else name).lower()


def _bound_to(managed: Any, above: Any) -> str | None:
    """Return the kind of the object above that shares its grants with an object; ``None``: it has grants of its own."""
    if isinstance(managed, vim.Folder) and isinstance(above, vim.Datacenter):
        return "the datacenter"
    if isinstance(managed, vim.ResourcePool) and isinstance(above, vim.ComputeResource):
        return "the cluster or host"
    if isinstance(managed, vim.HostSystem) and not isinstance(above, vim.ClusterComputeResource):
        return "the host's own compute resource"
    return None


def _manager(session: Session) -> Any:
    return session.content.authorizationManager


def _read(session: Session, name: str) -> list[Any]:
    with speaking(f"ask {session.host} for its roles"):
        return list(read(session, _manager(session), name)[name] or ())
