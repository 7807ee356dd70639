"""The authorization manager: reads and changes the roles and permissions that `site.access` checks."""

from collections.abc import Iterable
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.site import ADMIN_ROLE, BUILT_IN, SYSTEM, Call, Site, method
from vmlab.managed.vcenter.service import known_privileges
from vmlab.managed.world import above, root_folder

Manager = vim.AuthorizationManager


@method(Manager, "HasPrivilegeOnEntity")
def has_privilege(call: Call, entity: Any, sessionId: str, privId: list[str]) -> list[bool]:
    """Return for each privilege whether a session's user holds it on an object."""
    _check_known(call, privId, "privId")
    user = _user_of(call.site, sessionId)
    return [call.site.access.allowed(user, entity, privilege) for privilege in privId]


@method(Manager, "HasPrivilegeOnEntities")
def has_privilege_on_entities(call: Call, entity: list[Any], sessionId: str, privId: list[str]) -> list[Any]:
    """Return for each object and privilege whether a session's user holds it."""
    return _entity_privileges(call, entity, _user_of(call.site, sessionId), privId)


@method(Manager, "HasUserPrivilegeOnEntities")
def has_user_privilege(call: Call, entities: list[Any], userName: str, privId: list[str]) -> list[Any]:
    """Return for each object and privilege whether a named user holds it."""
    return _entity_privileges(call, entities, _canonical(userName), privId)


@method(Manager, "FetchUserPrivilegeOnEntities")
def fetch_user_privilege(call: Call, entities: list[Any], userName: str) -> list[Any]:
    """All privileges of a user on objects."""
    user = _canonical(userName)
    names = sorted(known_privileges(call.site))
    allowed = call.site.access.allowed
    return [
        Manager.UserPrivilegeResult(entity=entity, privileges=[name for name in names if allowed(user, entity, name)])
        for entity in entities
    ]


@method(Manager, "RetrieveEntityPermissions")
def retrieve_entity_permissions(call: Call, entity: Any, inherited: bool) -> list[Any]:
    """Return the grants on an object, and on request those that it inherits."""
    found, node = [], entity
    while node is not None:
        found += [
            _permission(call, user, node, roles[node._moId])
            for user, roles in call.site.access.grants().items()
            if node._moId in roles
        ]
        node = above(call.world, node) if inherited else None
    return found


@method(Manager, "RetrieveAllPermissions")
def retrieve_all_permissions(call: Call) -> list[Any]:
    """All grants."""
    grants = call.site.access.grants()
    refs = {ref._moId: ref for ref in call.world.all(vim.ManagedEntity)}
    return [
        _permission(call, user, refs[moid], role)
        for user, roles in grants.items()
        for moid, role in roles.items()
        if moid in refs
    ]


@method(Manager, "SetEntityPermissions")
def set_entity_permissions(call: Call, entity: Any, permission: list[Any]) -> None:
    """Grant roles to users on an object. Nobody grants privileges that he does not hold there himself."""
    grants = call.site.access.grants()
    known = {role.role_id: role for role in call.site.access.roles()}
    for item in permission:
        if item.roleId not in known:
            raise vim.fault.NotFound(msg=f"no role {item.roleId}")
        user = _canonical(item.principal)
        if user not in grants and not call.site.product.takes_user(user):
            raise vim.fault.UserNotFound(principal=item.principal, unresolved=False, msg=f"no user {item.principal}")
        _require_held(call, entity, known[item.roleId].privileges)
        grants[user] = {**grants.get(user, {}), entity._moId: item.roleId}
        _set_local(call, user, entity, local=not item.propagate)
    call.world.set_meta("grants", grants)


@method(Manager, "RemoveEntityPermission")
def remove_entity_permission(call: Call, entity: Any, user: str, isGroup: bool) -> None:
    """Take a grant away."""
    grants = call.site.access.grants()
    if grants.get(_canonical(user), {}).pop(entity._moId, None) is None:
        raise vim.fault.NotFound(msg=f"{user} has no permission on {entity._moId}")
    if not any(ADMIN_ROLE in roles.values() for roles in grants.values()):
        raise vim.fault.AuthMinimumAdminPermission(msg="there must be one administrator left")
    call.world.set_meta("grants", grants)
    _set_local(call, _canonical(user), entity, local=False)


@method(Manager, "AddAuthorizationRole")
def add_role(call: Call, name: str, privIds: list[str]) -> int:
    """Make a role."""
    _check_name(name)
    _check_known(call, privIds, "privIds")
    roles = call.site.access.roles()
    if any(role.name == name for role in roles):
        raise vim.fault.AlreadyExists(name=name, msg=f"a role {name} already exists")
    number = max(role.role_id for role in roles) + 1
    extra = [privilege for privilege in privIds if privilege not in SYSTEM]
    call.world.set_meta("roles", [*(call.world.meta("roles") or []), [number, name, extra]])
    return int(number)


@method(Manager, "UpdateAuthorizationRole")
def update_role(call: Call, roleId: int, newName: str, privIds: list[str]) -> None:
    """Change a role that a user made. Nobody puts privileges into it that he does not hold himself."""
    _check_name(newName)
    if any(role.role_id == roleId for role in BUILT_IN):
        raise vmodl.fault.InvalidArgument(invalidProperty="roleId", msg="a system role cannot be changed")
    roles = call.world.meta("roles") or []
    if not any(role[0] == roleId for role in roles):
        raise vim.fault.NotFound(msg=f"no role {roleId}")
    if any(role.name == newName and role.role_id != roleId for role in call.site.access.roles()):
        raise vim.fault.AlreadyExists(name=newName, msg=f"a role {newName} already exists")
    if unknown := _unknown(call, privIds):
        raise vim.fault.NotFound(msg=f"there is no privilege '{unknown}'")
    _require_held(call, root_folder(call.world), privIds)
    extra = [privilege for privilege in privIds if privilege not in SYSTEM]
    call.world.set_meta("roles", [[roleId, newName, extra] if role[0] == roleId else role for role in roles])


@method(Manager, "RemoveAuthorizationRole")
def remove_role(call: Call, roleId: int, failIfUsed: bool) -> None:
    """Remove a role that a user made. It must not be granted to anybody."""
    if any(role.role_id == roleId for role in BUILT_IN):
        raise vmodl.fault.InvalidArgument(invalidProperty="roleId", msg="a system role cannot be removed")
    roles = call.world.meta("roles") or []
    if not any(role[0] == roleId for role in roles):
        raise vim.fault.NotFound(msg=f"no role {roleId}")
    if any(roleId in granted.values() for granted in call.site.access.grants().values()):
        raise vim.fault.RemoveFailed(msg=f"role {roleId} is in use")
    call.world.set_meta("roles", [role for role in roles if role[0] != roleId])


def _check_known(call: Call, names: list[str], parameter: str) -> None:
    if unknown := _unknown(call, names):
        raise vmodl.fault.InvalidArgument(invalidProperty=parameter, msg=f"there is no privilege '{unknown}'")


def _unknown(call: Call, names: Iterable[str]) -> str | None:
    """Return the first name that is no privilege of this server."""
    known = known_privileges(call.site)
    return next((name for name in names if name not in known), None)


def _check_name(name: str) -> None:
    if not name:
        raise vim.fault.InvalidName(name=name, msg="a role needs a name")


def _require_held(call: Call, entity: Any, privileges: Iterable[str] | None) -> None:
    """Return if the caller holds privileges on an object; ``None``: all that there are."""
    assert call.session is not None
    for privilege in sorted(known_privileges(call.site)) if privileges is None else privileges:
        call.site.access.require(call.session.user, entity, privilege)


def _set_local(call: Call, user: str, entity: Any, *, local: bool) -> None:
    """Note whether a grant holds for this object alone."""
    kept = dict(call.world.meta("local_grants") or {})
    kept[user] = sorted({*kept.get(user, ()), entity._moId} if local else {*kept.get(user, ())} - {entity._moId})
    call.world.set_meta("local_grants", kept)


def _permission(call: Call, user: str, entity: Any, role: int) -> Any:
    name, _, domain = user.partition("@")
    propagate = entity._moId not in call.site.access.local(user)
    return Manager.Permission(
        entity=entity, principal=f"{domain.upper()}\\{name}", group=False, roleId=role, propagate=propagate
    )


def _canonical(user: str) -> str:
    domain, _, name = user.rpartition("\\")
    return (f"{name}@{domain}" if domain else name).lower()


def _user_of(site: Site, key: str) -> str:
    for session in site.sessions.all():
        if session.info.key == key:
            return session.user
    raise vmodl.fault.InvalidArgument(invalidProperty="sessionId", msg="no such session")


def _entity_privileges(call: Call, entities: list[Any], user: str, privileges: list[str]) -> list[Any]:
    """Return for each object which of some privileges a user holds. An empty list stands for all privileges."""
    _check_known(call, privileges, "privId")
    privileges = privileges or sorted(known_privileges(call.site))
    kind = Manager.EntityPrivilege
    allowed = call.site.access.allowed
    return [
        kind(
            entity=entity,
            privAvailability=[kind_of(privilege, allowed(user, entity, privilege)) for privilege in privileges],
        )
        for entity in entities
    ]


def kind_of(privilege: str, granted: bool) -> Any:
    """Return one privilege with whether it is granted."""
    return Manager.PrivilegeAvailability(privId=privilege, isGranted=granted)
