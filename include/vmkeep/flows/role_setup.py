"""Makes the vSphere role of the backup user, gives it missing privileges, and grants it to a user.

The privileges are those of the table of rights (:mod:`vmkeep.vsphere.rights`). Everything that could fail is asked
for first, and what was changed is read back. A second call changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vmkeep.errors import ConflictError, UsageError, VSphereError
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.rights import needed_rights
from vmkeep.lateclass import dataclass
from vmkeep.model.purpose import DEFAULT_ROLE
from vmkeep.model.site import Site, VCenter
from vmkeep.vsphere import roles
from vmkeep.vsphere.rights import On
from vmkeep.vsphere.roles import Grant, GrantPlace, Role
from vmkeep.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRequest:
    """The role that a person wants, and the user who gets it."""

    name: str = DEFAULT_ROLE
    purposes: tuple[str, ...] = ()
    """Kinds of run, by the words of :data:`vmkeep.model.purpose.PURPOSES`; none: all of them."""
    remove_others: bool = False
    """Take away the privileges of the role that these kinds of run do not need."""
    assign: str | None = None
    """The user or group to grant the role to; ``None``: nobody."""
    group: bool = False
    on: str | None = None
    """Inventory path of the object that the role is granted on, with all below it; ``/`` is the root."""
    replace: bool = False
    """Grant the role also where that takes privileges away from the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePlan:
    """The difference between the role as it is and as it is wanted. Privileges are sorted."""

    server: str
    name: str
    exists: bool
    adds: tuple[str, ...]
    removes: tuple[str, ...]
    keeps: tuple[str, ...]
    """Privileges that the role has and that are wanted."""
    others: tuple[str, ...]
    """Privileges that the role has, that no kind of run needs, and that stay."""
    unknown: tuple[str, ...]
    """Privileges that are wanted and that the server does not have, such as those for tags at an ESXi host."""
    assign: str | None
    on: str | None
    """The object of the grant, for people."""
    granted: bool
    """Whether the user has the role there already, so that nothing is granted."""
    loses: tuple[str, ...]
    """Privileges that the user has on the object now, and would not have by this role."""
    root_only: tuple[str, ...]
    """Privileges that count on the root alone, if the role is granted elsewhere."""

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return not self.exists or bool(self.adds or self.removes) or (self.assign is not None and not self.granted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """The objects of vSphere behind a plan."""

    role: Role | None
    place: GrantPlace | None
    after: frozenset[str]
    """The privileges of the role once the plan is carried out."""


def set_up_role(vcenter: VCenter, request: RoleRequest, *, dry_run: bool) -> RolePlan:
    """Make the role, give it the privileges that it lacks, and grant it. Return the difference that there was.

    :param dry_run: only return the difference.
    :raises UsageError: the role cannot be changed, or no grant is possible on the object.
    :raises PermissionDeniedError: the user may not make this role, or not grant it there; nothing was changed.
    :raises ConflictError: the grant would take privileges from the user; nothing was changed.
    """
    _check(request)
    with open_vsphere(Site(repository="", vcenter=vcenter)) as session:
        plan, look = _plan(session, request)
        if dry_run or not plan.changes:
            return plan
        _refuse(session, request, plan, look)
        role_id = _change(session, plan, look)
        if look.place is not None and request.assign is not None and not plan.granted:
            roles.grant(session, look.place, who=request.assign, group=request.group, role_id=role_id)
    return plan


def _check(request: RoleRequest) -> None:
    if not request.name.strip() or not request.name.isprintable():
        raise UsageError("the role needs a name")
    if request.assign and not request.on:
        raise UsageError("--assign needs --on: the inventory path of an object, or / for the root")
    if request.on and not request.assign:
        raise UsageError("--on needs --assign: the user who gets the role there")


def _plan(session: Session, request: RoleRequest) -> tuple[RolePlan, _Look]:
    wanted = frozenset(right.privilege for word in request.purposes or (None,) for _, right in needed_rights(word))
    known = roles.known_privileges(session)
    listed = {one.id: one for one in roles.list_roles(session)}
    role = _named(listed.values(), request.name)
    if role is not None and role.fixed:
        raise UsageError(f"role '{request.name}' belongs to vSphere and cannot be changed: choose another name")
    held = role.privileges if role is not None else frozenset()
    usable = wanted & known
    others = held - wanted
    after = usable | (frozenset() if request.remove_others else others)
    place = roles.find_place(session, request.on) if request.on is not None else None
    grants = roles.grants_on(session, place) if place is not None else ()
    granted, loses = _grant_now(request, grants, listed, after)
    if place is not None and request.assign and not request.group and not granted:
        loses = tuple(sorted(roles.held_on(session, place, request.assign) - after))
    plan = RolePlan(
        server=session.host,
        name=request.name,
        exists=role is not None,
        adds=tuple(sorted(usable - held)),
        removes=tuple(sorted(held - after)),
        keeps=tuple(sorted(usable & held)),
        others=tuple(sorted(others & after)),
        unknown=tuple(sorted(wanted - known)),
        assign=request.assign,
        on=place.name if place is not None else None,
        granted=granted,
        loses=loses,
        root_only=_root_only(request, place, known),
    )
    return plan, _Look(role=role, place=place, after=after)


def _named(listed: Iterable[Role], name: str) -> Role | None:
    return next((role for role in listed if role.name == name), None)


def _grant_now(
    request: RoleRequest, grants: Sequence[Grant], listed: Mapping[int, Role], after: frozenset[str]
) -> tuple[bool, tuple[str, ...]]:
    """Return whether the user has the role by a grant on the object, and the privileges that he would lose there.

    :param grants: those that count on the object, the nearest first.
    """
    who = (roles.normal_user(request.assign or ""), request.group)
    nearest = next((one for one in grants if (one.who, one.group) == who), None)
    if nearest is None or (now := listed.get(nearest.role_id)) is None:
        return False, ()
    if now.name == request.name:
        return nearest.here, ()
    return False, tuple(sorted(now.privileges - after))


def _root_only(request: RoleRequest, place: GrantPlace | None, known: frozenset[str]) -> tuple[str, ...]:
    if place is None or place.is_root:
        return ()
    on_root = {r.privilege for word in request.purposes or (None,) for _, r in needed_rights(word) if r.on is On.ROOT}
    return tuple(sorted(on_root & known))


def _refuse(session: Session, request: RoleRequest, plan: RolePlan, look: _Look) -> None:
    """Return if every step of the plan is possible.

    :raises PermissionDeniedError: the user who is logged in lacks privileges.
    :raises ConflictError: the grant would take privileges from the user.
    """
    if plan.loses and not request.replace:
        raise ConflictError(
            f"{request.assign} has other privileges on {plan.on}, by a role or by a group, and a grant there replaces "
            f"them: "
            f"{_shortened(plan.loses)} would be lost. Grant the role to a user of its own, or add --replace"
        )
    if plan.adds or plan.removes or not plan.exists:
        roles.require_may_change(session, look.after)
    if look.place is not None and not plan.granted:
        roles.require_may_grant(session, look.place, look.after)


def _shortened(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _change(session: Session, plan: RolePlan, look: _Look) -> int:
    """Make or change the role; return its id, after reading it back."""
    if look.role is None:
        roles.make_role(session, plan.name, look.after)
    elif plan.adds or plan.removes:
        roles.change_role(session, look.role, look.after)
    made = _named(roles.list_roles(session), plan.name)
    if made is None or made.privileges != look.after:
        raise VSphereError(f"{session.host} does not list role '{plan.name}' with its privileges: look at the role")
    return made.id
