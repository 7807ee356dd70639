"""Users, roles and privileges: who may do what on which object.

Privileges come from the API's own tables (method by method, parameter by parameter); roles are granted to users on
inventory objects and inherited downwards. Refuses to know what a method does.
"""

import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.ancestry import above
from vmlab.managed.site import ROOT_FOLDER
from vmlab.managed.world import World

SYSTEM = ("System.Anonymous", "System.View", "System.Read")
ADMIN_ROLE, READ_ONLY_ROLE, NO_ACCESS_ROLE, BACKUP_ROLE = -1, -2, -5, 1101

BACKUP_PRIVILEGES = (
    "Cryptographer.Access",
    "Cryptographer.EncryptNew",
    "Cryptographer.ManageKeys",
    "Datastore.AllocateSpace",
    "Datastore.Browse",
    "Datastore.FileManagement",
    "Global.DisableMethods",
    "Global.EnableMethods",
    "Global.Licenses",
    "Network.Assign",
    "Resource.AssignVMToPool",
    "Sessions.ValidateSession",
    "StorageProfile.View",
    "VirtualMachine.Config.AddExistingDisk",
    "VirtualMachine.Config.AddNewDisk",
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.Annotation",
    "VirtualMachine.Config.CPUCount",
    "VirtualMachine.Config.ChangeTracking",
    "VirtualMachine.Config.DiskExtend",
    "VirtualMachine.Config.DiskLease",
    "VirtualMachine.Config.EditDevice",
    "VirtualMachine.Config.Memory",
    "VirtualMachine.Config.MksControl",
    "VirtualMachine.Config.RawDevice",
    "VirtualMachine.Config.RemoveDisk",
    "VirtualMachine.Config.Rename",
    "VirtualMachine.Config.Resource",
    "VirtualMachine.Config.Settings",
    "VirtualMachine.Config.SwapPlacement",
    "VirtualMachine.Interact.DeviceConnection",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Interact.Suspend",
    "VirtualMachine.Inventory.Create",
    "VirtualMachine.Inventory.Delete",
    "VirtualMachine.Inventory.Register",
    "VirtualMachine.Inventory.Unregister",
    "VirtualMachine.Provisioning.DiskRandomAccess",
    "VirtualMachine.Provisioning.DiskRandomRead",
    "VirtualMachine.Provisioning.GetVmFiles",
    "VirtualMachine.Provisioning.MarkAsTemplate",
    "VirtualMachine.Provisioning.PutVmFiles",
    "VirtualMachine.State.CreateSnapshot",
    "VirtualMachine.State.RemoveSnapshot",
    "VirtualMachine.State.RevertToSnapshot",
)
"""What backup products ask for, plus what restoring to a new VM needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A named set of privileges; `None` stands for all of them."""

    role_id: int
    name: str
    label: str
    privileges: tuple[str, ...] | None

    def holds(self, privilege: str) -> bool:
        """Whether the role carries a privilege."""
        return self.privileges is None or privilege in SYSTEM[:1] or privilege in self.privileges


BUILT_IN = (
    Role(role_id=ADMIN_ROLE, name="Admin", label="Administrator", privileges=None),
    Role(role_id=READ_ONLY_ROLE, name="ReadOnly", label="Read-only", privileges=SYSTEM),
    Role(role_id=NO_ACCESS_ROLE, name="NoAccess", label="No access", privileges=()),
    Role(role_id=BACKUP_ROLE, name="Backup", label="Backup", privileges=(*SYSTEM, *BACKUP_PRIVILEGES)),
)


def property_privilege(ref: Any, name: str) -> str:
    """The privilege for reading a property; System.Read where the tables name none."""
    kind: Any = type(ref)
    try:
        return str(kind._GetPropertyInfo(name).privId or SYSTEM[2])
    except AttributeError:
        return SYSTEM[2]  # there is no such property, which is told elsewhere


def no_permission(entity: Any, privilege: str) -> Any:
    """The fault for a missing privilege."""
    message = f"Permission to perform this operation was denied. Missing privilege {privilege}"
    missing = [vim.fault.NoPermission.EntityPrivileges(entity=entity, privilegeIds=[privilege])]
    return vim.fault.NoPermission(object=entity, privilegeId=privilege, missingPrivileges=missing, msg=message)


class Access:
    """Users with one password, roles, and the grants `{user: {moid: role id}}` kept in the world."""

    def __init__(self, world: World, password: str) -> None:
        self._world = world
        self._password = password

    def grants(self) -> dict[str, dict[str, int]]:
        """Role by object id by user."""
        return dict(self._world.meta("grants") or {})

    def local(self, user: str) -> set[str]:
        """The ids of the objects on which a user's grant does not propagate to what lies below."""
        return set((self._world.meta("local_grants") or {}).get(user, ()))

    def roles(self) -> list[Role]:
        """Built-in roles, then those made by users."""
        made = self._world.meta("roles") or []
        return [*BUILT_IN, *(Role(role_id=r[0], name=r[1], label=r[1], privileges=(*SYSTEM, *r[2])) for r in made)]

    def authenticate(self, user: str, password: str) -> str | None:
        r"""The canonical user name where user and password are right; `DOMAIN\\user` and any case are accepted."""
        domain, _, name = user.rpartition("\\")
        canonical = (f"{name}@{domain}" if domain else name).lower()
        known = canonical in self.grants()
        right = hmac.compare_digest(password.encode(), self._password.encode())
        return canonical if known and right else None

    def allowed(self, user: str, entity: Any, privilege: str) -> bool:
        """Whether a user holds a privilege on an object, by the nearest grant on its way up.

        What lies above an object with a grant can be seen, and no more.
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
        """The view of a user; cheap where the root's grant already says so."""
        mine = self.grants().get(user, {})
        roles = {role.role_id: role for role in self.roles()}
        at_root = set(mine) == {ROOT_FOLDER._moId} and not self.local(user)
        everything = at_root and all(roles[mine[ROOT_FOLDER._moId]].holds(privilege) for privilege in SYSTEM)
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
        """Raise the NoPermission fault where `allowed` says no, and ManagedObjectNotFound for what is not there."""
        if isinstance(entity, vim.ManagedEntity):
            self._world.entry(entity)
        if not self.allowed(user, entity, privilege):
            raise no_permission(self._inventory_object(entity), privilege)

    def refusal(self, user: str, ref: Any, name: str) -> Any:
        """The NoPermission fault for reading a property, or None: the tables name its privilege, else System.Read."""
        privilege = property_privilege(ref, name)
        owner = self._inventory_object(ref)
        if privilege in SYSTEM and owner is ROOT_FOLDER and not isinstance(ref, vim.ManagedEntity):
            return None  # a manager, or what a session has made: for everybody who is logged in
        return None if self.allowed(user, ref, privilege) else no_permission(owner, privilege)

    def _inventory_object(self, ref: Any) -> Any:
        """The inventory object whose grants rule a reference: itself, a snapshot's VM, a task's entity, or the root."""
        if isinstance(ref, vim.ManagedEntity):
            return ref
        if self._world.exists(ref):
            entry = self._world.entry(ref)
            owner = entry.props.get("vm") or getattr(entry.props.get("info"), "entity", None)
            if isinstance(owner, vim.ManagedEntity) and self._world.exists(owner):  # a task may outlive its VM
                return owner
        return ROOT_FOLDER


class Sight:
    """The view of one user: which objects are seen at all, and which of their properties."""

    def __init__(self, access: Access, user: str, *, everything: bool) -> None:
        self._access = access
        self._user = user
        self._everything = everything

    def __call__(self, ref: Any) -> bool:
        """Whether the user sees an object."""
        return (
            self._everything
            or not isinstance(ref, vim.ManagedEntity)
            or self._access.allowed(self._user, ref, SYSTEM[1])
        )

    def refusal(self, ref: Any, path: str) -> Any:
        """The fault for reading a property, or None where the user may; the path's first part decides."""
        name = re.split(r"[.\[]", path, maxsplit=1)[0]
        if self._everything and property_privilege(ref, name) in SYSTEM:
            return None
        return self._access.refusal(self._user, ref, name)


def session_needed(ref: Any) -> Any:
    """The fault for a call without a valid session."""
    return vim.fault.NotAuthenticated(object=ref, privilegeId="System.View", msg="The session is not authenticated.")


def is_system(privilege: str | None) -> bool:
    """Whether a privilege needs no session at all."""
    return privilege == SYSTEM[0]


def invalid_login() -> Any:
    """The fault for a wrong user or password."""
    return vim.fault.InvalidLogin(msg="Cannot complete login due to an incorrect user name or password.")


def not_supported(what: str) -> Any:
    """The fault for something the lab does not do."""
    return vmodl.fault.NotSupported(msg=f"vmlab does not support {what}")
