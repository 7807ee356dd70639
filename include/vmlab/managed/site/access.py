"""Decides what a user may do, by roles that are granted on objects.

The API's own tables say which privilege a method, a parameter or a property needs. A role is granted to a user on an
object of the inventory and holds for everything below it. Refuses to know what a method does.
"""

import hmac
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from vmlab.api import vim
from vmlab.managed.site.refusals import no_permission
from vmlab.managed.site.roles import BUILT_IN, SYSTEM, Role
from vmlab.managed.world import World, above, root_folder


def property_privilege(ref: Any, name: str) -> str:
    """Return the privilege for reading a property: System.Read if the tables name none."""
    kind: Any = type(ref)
    return _privilege_of(kind, name)


@lru_cache(maxsize=4096)
def _privilege_of(kind: Any, name: str) -> str:
    try:
        return str(kind._GetPropertyInfo(name).privId or SYSTEM[2])
    except AttributeError:
        return SYSTEM[2]  # there is no such property, and reading it will say so


@lru_cache(maxsize=4096)
def _first_part(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


class Access:
    """Users with one password, their roles, and the grants `{user: {moid: role id}}`, which the world keeps."""

    def __init__(self, world: World, password: str) -> None:
        self._world = world
        self._password = password

    def grants(self) -> dict[str, dict[str, int]]:
        """Role by object id by user."""
        return dict(self._world.meta("grants") or {})

    def local(self, user: str) -> set[str]:
        """Return the ids of the objects on which a user's grant does not hold for the objects below."""
        return set((self._world.meta("local_grants") or {}).get(user, ()))

    def roles(self) -> list[Role]:
        """Built-in roles, then those made by users."""
        made = self._world.meta("roles") or []
        return [*BUILT_IN, *(Role(role_id=r[0], name=r[1], label=r[1], privileges=(*SYSTEM, *r[2])) for r in made)]

    def authenticate(self, user: str, password: str) -> str | None:
        r"""Return the canonical user name if user and password are right. Accepts `DOMAIN\\user`, in any case."""
        domain, _, name = user.rpartition("\\")
        canonical = (f"{name}@{domain}" if domain else name).lower()
        known = canonical in self.grants()
        right = hmac.compare_digest(password.encode(), self._password.encode())
        return canonical if known and right else None

    def allowed(self, user: str, entity: Any, privilege: str) -> bool:
        """Return whether a user holds a privilege on an object, by the nearest grant on its way up.

        An object above one with a grant can be seen, and no more.
        """
        with self._world.lock:
            roles = {role.role_id: role for role in self.roles()}
            mine = {moid: roles[number] for moid, number in self.grants().get(user, {}).items()}
            node, local = self._inventory_object(entity), self.local(user)
            for moid in self._way_up(node):
                if moid in mine and (moid == node._moId or moid not in local):
                    return mine[moid].holds(privilege) or (privilege == SYSTEM[1] and self._leads_down(node, mine))
            return privilege == SYSTEM[0] or (privilege == SYSTEM[1] and self._leads_down(node, mine))

    def sight(self, user: str) -> "Sight":
        """Return the sight of a user. It is cheap if the grant on the root allows everything."""
        mine = self.grants().get(user, {})
        roles = {role.role_id: role for role in self.roles()}
        root = root_folder(self._world)._moId
        at_root = set(mine) == {root} and not self.local(user)
        everything = at_root and all(roles[mine[root]].holds(privilege) for privilege in SYSTEM)
        return Sight(self, user, everything=everything)

    def _way_up(self, node: Any) -> Iterator[str]:
        """The ids of an object and of all above it."""
        while node is not None:
            yield node._moId
            node = above(self._world, node) if self._world.exists(node) else None

    def _leads_down(self, node: Any, mine: dict[str, Role]) -> bool:
        return any(
            role.holds(SYSTEM[1]) and node._moId in self._way_up(vim.ManagedEntity(moid)) for moid, role in mine.items()
        )

    def require(self, user: str, entity: Any, privilege: str) -> None:
        """Raise NoPermission if `allowed` says no, and ManagedObjectNotFound if the object does not exist."""
        if isinstance(entity, vim.ManagedEntity):
            self._world.entry(entity)
        if not self.allowed(user, entity, privilege):
            raise no_permission(self._inventory_object(entity), privilege)

    def refusal(self, user: str, ref: Any, name: str) -> Any:
        """Return the NoPermission fault for reading a property, or None. The tables name the privilege."""
        privilege = property_privilege(ref, name)
        owner = self._inventory_object(ref)
        if privilege in SYSTEM and owner == root_folder(self._world) and not isinstance(ref, vim.ManagedEntity):
            return None  # a manager or a session's own object: everybody who is logged in may read it
        return None if self.allowed(user, ref, privilege) else no_permission(owner, privilege)

    def _inventory_object(self, ref: Any) -> Any:
        """Return the object whose grants rule a reference: itself, its VM, host or task's entity, or the root."""
        if isinstance(ref, vim.ManagedEntity):
            return ref
        if self._world.exists(ref):
            entry = self._world.entry(ref)
            known = (entry.props.get("vm"), entry.props.get("host"), getattr(entry.props.get("info"), "entity", None))
            owner = next((one for one in known if one is not None), None)
            if isinstance(owner, vim.ManagedEntity) and self._world.exists(owner):  # a task may outlive its VM
                return owner
        return root_folder(self._world)


class Sight:
    """The objects that one user sees, and the properties of them that the user may read."""

    def __init__(self, access: Access, user: str, *, everything: bool) -> None:
        self._access = access
        self._user = user
        self._everything = everything

    def __call__(self, ref: Any) -> bool:
        """Return whether the user sees an object."""
        return (
            self._everything
            or not isinstance(ref, vim.ManagedEntity)
            or self._access.allowed(self._user, ref, SYSTEM[1])
        )

    def refusal(self, ref: Any, path: str) -> Any:
        """Return the fault for reading a property, or None if the user may. The first part of the path decides."""
        name = _first_part(path)
        if self._everything and property_privilege(ref, name) in SYSTEM:
            return None
        return self._access.refusal(self._user, ref, name)
