"""Plans a window: which VMs are backed up in it, the ones with the oldest point first, and which are not, and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from vmkeep.flows.answerable import answerable_policies, answerable_reaches
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.last_seen import sightings
from vmkeep.flows.listing import newest_points, protected_until
from vmkeep.flows.pointlist import good_origins, list_origins
from vmkeep.flows.repositories import open_site_repository
from vmkeep.lateclass import dataclass
from vmkeep.model.site import Site
from vmkeep.model.wording import told_apart
from vmkeep.policy import Due, Opening, Policy, by_precedence, selectors_of, taker
from vmkeep.selection import Selector, VmFacts, matcher
from vmkeep.vsphere import claims
from vmkeep.vsphere.choosing import known_vms
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

if TYPE_CHECKING:
    from vmkeep.catalog import PointOrigin
    from vmkeep.vsphere.inventory import VmRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVm:
    """A VM whose backup the window starts."""

    moref: str
    name: str
    last_point_at: datetime | None
    """Time of its newest good point in the policy's repository."""
    proxies: tuple[str, ...] = ()
    """The proxies that reach it best; empty: there is no choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutVm:
    """A VM that the policy takes, and that cannot be backed up."""

    moref: str
    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ElsewhereVm:
    """A VM that the policy selects, and that another policy has."""

    moref: str
    name: str
    policy: str
    """Name of the policy that backs it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlan:
    """One window of a policy, with its VMs as they were found when it opened."""

    policy: str
    stamp: str
    """Names the window in the runs that it starts."""
    due: Due
    opens_at: datetime
    """From then on, backups may start."""
    closes_at: datetime
    """No backup starts then or later."""
    next_opens_at: datetime | None
    """Until then the window waits for its backups."""
    max_age_seconds: float | None = None
    """The age from which a VM's newest good point is an alarm; ``None``: no age is."""
    vms: tuple[PlannedVm, ...] = ()
    left_out: tuple[LeftOutVm, ...] = ()
    unprotected: tuple[str, ...] = ()
    """Names of VMs that no policy takes."""
    elsewhere: tuple[ElsewhereVm, ...] = ()
    conflicts: tuple[str, ...] = ()
    """Names of VMs of this window that other policies select, too, and leave to this one."""
    newly_found: tuple[str, ...] = ()
    """Names of VMs that the window before did not have."""
    vanished: tuple[str, ...] = ()
    """Names of VMs that the window before had, and that are gone, or are not taken any more."""

    @property
    def spread(self) -> bool:
        """Return whether backups start one after the other over the whole time, because nobody expects them now."""
        return self.due is Due.CAUGHT_UP


def plan_window(
    site: Site,
    policy: Policy,
    others: Sequence[Policy],
    *,
    opened_at: datetime,
    by_hand: bool,
    now: datetime,
    again: bool = False,
    asleep: Collection[str] = (),
    reaches: Mapping[str, Selector | None] | None = None,
) -> WindowPlan:
    """Look for the VMs that a policy takes now, unless the window is missed or another one has taken its place.

    :param others: the other policies of the same vCenter.
    :param asleep: names of those whose windows do not open. They have no VM.
    :param reaches: every proxy with a selector of the VMs that it reaches best; ``None`` for one that reaches any VM.
    :param opened_at: when the window was to open.
    :param by_hand: a person has asked for it, at that moment.
    :param again: a person has asked for it once more, now.
    """
    due, opening = (
        (Due.OPEN, policy.window.by_hand(opened_at))
        if by_hand
        else policy.window.due(opened_at, now=now, catch_up=policy.catch_up)
    )
    if again and due is not Due.SUPERSEDED and (due is not Due.OPEN or not opening.holds(now)):
        due, opening = Due.OPEN, policy.window.by_hand(now)
    coming = policy.window.next_opening(max(opening.opens_at, now))
    times: dict[str, Any] = {
        "policy": policy.name,
        "stamp": Opening(opens_at=opened_at, closes_at=opened_at).stamp,
        "due": due,
        "opens_at": opening.opens_at,
        "closes_at": opening.closes_at,
        "next_opens_at": coming.opens_at if coming else None,
        "max_age_seconds": policy.max_age.total_seconds() if policy.max_age else None,
    }
    if due is Due.SUPERSEDED:
        return WindowPlan(**times)
    return _with_vms(site, policy, others, asleep, times, reaches or {})


def overdue_vms(plan: WindowPlan, done: Collection[str], at: datetime) -> tuple[PlannedVm, ...]:
    """Return the VMs whose newest good point is older than the policy allows, or of an age that nobody knows.

    :param done: managed object ids of VMs that have got a new point since the plan was made.
    """
    if plan.max_age_seconds is None or plan.due is Due.SUPERSEDED:
        return ()
    oldest = at - timedelta(seconds=plan.max_age_seconds)
    return tuple(vm for vm in plan.vms if vm.moref not in done and protected_until(vm.last_point_at) < oldest)


def compared_with(plan: WindowPlan, earlier: WindowPlan | None) -> WindowPlan:
    """Return a plan that tells which of its VMs are new, and which have vanished, since an earlier one."""
    if earlier is None or Due.SUPERSEDED in (plan.due, earlier.due):
        return plan
    then, now = named_by_plan(earlier), named_by_plan(plan)
    names = told_apart(then | now)
    return replace(
        plan,
        newly_found=tuple(names[moref] for moref in now if moref not in then),
        vanished=tuple(names[moref] for moref in then if moref not in now),
    )


def named_by_plan(plan: WindowPlan) -> dict[str, str]:
    """Return the names of the VMs that the policy takes, by managed object id, which stays when a VM is renamed."""
    groups: tuple[Sequence[PlannedVm | LeftOutVm | ElsewhereVm], ...] = (plan.vms, plan.left_out, plan.elsewhere)
    return {vm.moref: vm.name for group in groups for vm in group}


def _with_vms(
    site: Site,
    policy: Policy,
    others: Sequence[Policy],
    asleep: Collection[str],
    times: dict[str, Any],
    reaches: Mapping[str, Selector | None],
) -> WindowPlan:
    with open_site_repository(site) as repository:
        points = list_origins(repository, catalog=site.catalog or "sqlite://")
        good = good_origins(repository, points)
    with open_vsphere(site) as session:
        here = server_uuid(session)
        others, reaches = answerable_policies(session, others), answerable_reaches(session, reaches)
        known = known_vms(
            session,
            (*selectors_of([policy, *others]), *(one for one in reaches.values() if one is not None)),
            sightings(points, here),
        )
        takes = taker(policy)
        selected = [vm for vm in known if takes(vm.facts)]
        being_made = _being_made(session, [vm.record for vm in selected], good, here)
    taken_too = [taker(other) for other in others]
    first, nearest = _earlier_takers(policy, others, asleep), _by_reach(reaches)
    names = told_apart({vm.record.moref: vm.record.name for vm in known})
    elsewhere = {vm.record.moref: name for vm in selected if (name := first(vm.facts)) is not None}
    taken = [vm for vm in selected if vm.record.moref not in elsewhere]
    newest = newest_points([vm.record for vm in taken], good, here)
    left_out = _left_out([vm.record for vm in taken], being_made)
    planned = [
        PlannedVm(
            moref=vm.record.moref,
            name=vm.record.name,
            last_point_at=point.taken_at if (point := newest.get(vm.record.moref)) else None,
            proxies=nearest(vm.facts),
        )
        for vm in taken
        if vm.record.moref not in left_out
    ]
    return WindowPlan(
        **times,
        vms=tuple(sorted(planned, key=lambda vm: (protected_until(vm.last_point_at), vm.name, vm.moref))),
        left_out=tuple(left_out.values()),
        unprotected=tuple(
            names[vm.record.moref]
            for vm in known
            if obstacle(vm.record) is None and not takes(vm.facts) and not any(other(vm.facts) for other in taken_too)
        ),
        elsewhere=tuple(
            ElsewhereVm(moref=vm.record.moref, name=vm.record.name, policy=elsewhere[vm.record.moref])
            for vm in selected
            if vm.record.moref in elsewhere
        ),
        conflicts=tuple(names[vm.record.moref] for vm in taken if any(other(vm.facts) for other in taken_too)),
    )


def _earlier_takers(
    policy: Policy, others: Sequence[Policy], asleep: Collection[str]
) -> Callable[[VmFacts], str | None]:
    """Return a function that names the policy that has a VM before this one does; ``None``: this one has it."""
    ahead = list(takewhile(lambda each: each.name != policy.name, by_precedence((policy, *others))))
    takers = [(each.name, taker(each)) for each in ahead if each.name not in asleep]
    return lambda vm: next((name for name, takes in takers if takes(vm)), None)


def _by_reach(reaches: Mapping[str, Selector | None]) -> Callable[[VmFacts], tuple[str, ...]]:
    """Return a function that names the proxies for a VM: those that reach it best, or else those that reach any VM."""
    near = [(name, matcher(selector)) for name, selector in reaches.items() if selector is not None]
    any_vm = tuple(name for name, selector in reaches.items() if selector is None) if len(reaches) > 1 else ()
    return lambda vm: tuple(name for name, reached in near if reached(vm)) or any_vm


def _left_out(records: Sequence[VmRecord], being_made: Mapping[str, str]) -> dict[str, LeftOutVm]:
    """Return the VMs that the window leaves out, by managed object id."""
    reasons = {record.moref: obstacle(record) or being_made.get(record.moref) for record in records}
    return {
        record.moref: LeftOutVm(moref=record.moref, name=record.name, why=why)
        for record in records
        if (why := reasons[record.moref]) is not None
    }


def _being_made(
    session: Session, records: Sequence[VmRecord], good: Sequence[PointOrigin], here: str | None
) -> dict[str, str]:
    """Return the VMs that are not whole yet, by managed object id, each with the reason in words.

    Only VMs without a point are asked for their settings, because a VM with a point was whole.
    """
    known = newest_points(records, good, here)
    new = [record.moref for record in records if record.moref not in known]
    found = claims.list_being_made(session, new) if new else {}
    return {moref: f"it is being made by the restore of run {run}" for moref, run in found.items()}


def obstacle(vm: VmRecord) -> str | None:
    """Return why a window does not back up a VM."""
    if vm.not_protectable is not None:
        return vm.not_protectable
    return f"managed by {vm.managed_by}" if vm.managed_by else None
