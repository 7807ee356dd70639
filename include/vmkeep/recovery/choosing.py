"""Chooses the VMs of each group and their restore points, by what the repository knows. Pure.

Nothing is left out silently: a newer point that is not chosen, a VM that belongs to an earlier group, and an image
that is no VM are notes; a group without a VM, a VM without a good point, and two VMs that would get one name are
problems.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from vmkeep.errors import BlobNotFoundError, CorruptError, NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import counted
from vmkeep.recovery.knownpoints import KnownPoint
from vmkeep.recovery.values import DrillRules, PointRule, RecoveryGroup, RecoveryPlan
from vmkeep.selection import Condition, Kind, matcher

_NAMED = 4
"""VMs that one note names."""
PolicyOf = Callable[[str], str | None]
"""Returns the name of the policy that made the point of a ref, or raises one of :data:`UNREADABLE`."""
DAMAGED = (CorruptError, BlobNotFoundError)
"""The errors which tell that a part of a point is damaged."""
UNREADABLE = (*DAMAGED, NotFoundError)
"""The errors which tell that a point is damaged or gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenVm:
    """A VM that is restored, and its point."""

    group: str
    vm_key: str
    vm_name: str
    point: str
    """Ref."""
    taken_at: datetime
    new_name: str
    """Name of the restored VM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenVms:
    """The result of choosing."""

    vms: tuple[ChosenVm, ...]
    """In the order of the groups, by name within a group."""
    problems: tuple[str, ...] = ()
    """One sentence for each reason why the plan cannot be carried out as it stands."""
    notes: tuple[str, ...] = ()


def choose(
    plan: RecoveryPlan,
    points: Iterable[KnownPoint],
    *,
    policy_of: PolicyOf,
    drill: bool = False,
    not_after: datetime | None = None,
) -> ChosenVms:
    """Choose VMs and points for a whole plan.

    :param drill: the VMs get the names of a drill.
    :param not_after: no point that is younger is chosen, whatever the groups say.
    """
    chooser = _Chooser(plan, points, policy_of, plan.drill if drill else None, not_after)
    return chooser.choice()


class _Chooser:
    def __init__(
        self,
        plan: RecoveryPlan,
        points: Iterable[KnownPoint],
        policy_of: PolicyOf,
        drill: DrillRules | None,
        not_after: datetime | None,
    ) -> None:
        self._plan = plan
        self._policy_of = policy_of
        self._drill = drill
        self._not_after = not_after
        self._by_vm: dict[tuple[str, str | None], list[KnownPoint]] = defaultdict(list)
        for point in sorted(points, key=lambda point: (not point.ahead, point.taken_at, point.ref)):
            self._by_vm[point.vm].append(point)
        self._owner: dict[tuple[str, str | None], str] = {}
        self._problems: list[str] = []
        self._notes: list[str] = []

    def choice(self) -> ChosenVms:
        chosen = [vm for group in self._plan.groups for vm in self._of_group(group)]
        self._problems += _double_names(chosen)
        if self._drill is not None:
            self._notes += [_unasked(group) for group in self._plan.groups if group.probes.tcp or group.probes.http]
        return ChosenVms(vms=tuple(chosen), problems=tuple(self._problems), notes=tuple(dict.fromkeys(self._notes)))

    def _of_group(self, group: RecoveryGroup) -> list[ChosenVm]:
        fitting = self._fitting(group)
        self._refuse_two_vcenters(group, fitting)
        chosen, left = [], 0
        earlier: dict[str, list[str]] = defaultdict(list)
        for vm, points in fitting.items():
            name = points[-1].vm_name
            if vm in self._owner:
                earlier[self._owner[vm]].append(f"{name} ({vm[0]})")
                continue
            if points[-1].moref is None:
                self._notes.append(f"group {group.name}: {name} is left out, because it is an imported image, no VM")
                continue
            point = self._point(group, points)
            if point is None:
                self._owner[vm], left = group.name, left + 1
            elif not group.policies or self._policy_of(point.ref) in group.policies:
                self._owner[vm] = group.name
                chosen.append(self._chosen(group, point))
        self._notes += _owned(group, earlier)
        if not chosen and not left:
            self._problems.append(f"group {group.name}: no VM of the repository fits it")
        return sorted(chosen, key=lambda vm: (vm.vm_name, vm.vm_key))

    def _fitting(self, group: RecoveryGroup) -> dict[tuple[str, str | None], list[KnownPoint]]:
        """Return the points of each VM that a group selects. The newest point tells the facts of the VM."""
        selected = matcher(group.selection)
        excluded = [matcher(selector) for selector in group.exclusions]
        found = {}
        for vm, points in self._by_vm.items():
            newest = points[-1]
            if group.vcenter not in (None, newest.vcenter, newest.server):
                continue
            facts = newest.facts
            if selected(facts) and not any(test(facts) for test in excluded):
                found[vm] = points
        return found

    def _refuse_two_vcenters(
        self, group: RecoveryGroup, fitting: Mapping[tuple[str, str | None], Sequence[KnownPoint]]
    ) -> None:
        by_key: dict[str, list[KnownPoint]] = defaultdict(list)
        for points in fitting.values():
            by_key[points[-1].vm_key].append(points[-1])
        for key, newest in by_key.items():
            if len(newest) > 1:
                at = ", ".join(f"{one.server or 'unknown'} ({one.vcenter or 'UUID unknown'})" for one in newest)
                self._problems.append(
                    f"group {group.name}: VM {newest[0].vm_name} ({key}) has points of several vCenters, {at}: name "
                    "one in the group's field vcenter"
                )

    def _point(self, group: RecoveryGroup, points: Sequence[KnownPoint]) -> KnownPoint | None:
        """Return the point to restore, and tell of newer ones that are left out."""
        name = f"VM {points[-1].vm_name} ({points[-1].vm_key})"
        doubts: dict[str, str] = {}
        for point in reversed(allowed_points(group, points, not_after=self._not_after)):
            if not (doubt := point.doubt or self._unreadable(point)):
                for newer, why in doubts.items():
                    self._notes.append(f"group {group.name}: {name}: the newer point {newer} is left out: it is {why}")
                return point
            doubts[point.ref] = doubt
        which = "pinned point" if group.point is PointRule.PINNED else "point"
        limits = _limits(group, self._not_after)
        until = f" until {min(limits).isoformat()}" if limits else ""
        told = "".join(f"; {ref} is {why}" for ref, why in [*doubts.items()][:3])
        self._problems.append(f"group {group.name}: {name} has no good {which}{until}{told}")
        return None

    def _unreadable(self, point: KnownPoint) -> str:
        """Return why the manifest of a point cannot be read; empty: it can."""
        try:
            self._policy_of(point.ref)
        except UNREADABLE as error:
            return f"not readable ({error})"
        return ""

    def _chosen(self, group: RecoveryGroup, point: KnownPoint) -> ChosenVm:
        pattern = group.rename if self._drill is None else self._drill.rename
        return ChosenVm(
            group=group.name,
            vm_key=point.vm_key,
            vm_name=point.vm_name,
            point=point.ref,
            taken_at=point.taken_at,
            new_name=pattern.replace("{name}", point.vm_name),
        )


def _owned(group: RecoveryGroup, earlier: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield one note for each group whose VMs this one selects, too. A group of all others is meant to do that."""
    if group.selection == Condition(Kind.ANY):
        return
    for owner, vms in earlier.items():
        named = ", ".join(vms[:_NAMED]) + (", …" if len(vms) > _NAMED else "")
        belong = "belongs" if len(vms) == 1 else "belong"
        of = f"group {group.name}: {counted(len(vms), 'VM')} that it selects"
        yield f"{of} {belong} to group {owner} already: {named}"


def allowed_points(
    group: RecoveryGroup, points: Iterable[KnownPoint], *, not_after: datetime | None
) -> list[KnownPoint]:
    """Return the points of one VM that the rules of its group allow, in their order, whatever is known against them."""
    limits = _limits(group, not_after)
    return [
        point
        for point in points
        if all(point.taken_at <= limit for limit in limits) and (point.pinned or group.point is not PointRule.PINNED)
    ]


def _limits(group: RecoveryGroup, not_after: datetime | None) -> list[datetime]:
    return [limit for limit in (group.not_after, not_after) if limit is not None]


def _unasked(group: RecoveryGroup) -> str:
    return (
        f"group {group.name}: no port and no page is asked in a drill, because the running original may have the same "
        "address and answer instead; a command in the guest (probes.guest) is asked"
    )


def _double_names(chosen: Sequence[ChosenVm]) -> Iterator[str]:
    by_name: dict[str, list[ChosenVm]] = defaultdict(list)
    for vm in chosen:
        by_name[vm.new_name].append(vm)
    for name, vms in by_name.items():
        if len(vms) > 1:
            which = ", ".join(f"{vm.vm_name} ({vm.vm_key}) of group {vm.group}" for vm in vms)
            yield f"{len(vms)} restored VMs would be named {name}: {which}; give the groups different names (rename)"


def for_drill(group: RecoveryGroup, rules: DrillRules) -> RecoveryGroup:
    """Return a group as it is restored in a drill: every network card goes to the isolated network.

    No port and no page is asked, because the guest has the address of the original there, which would answer instead.
    """
    target = replace(
        group.target,
        networks=(f"*={rules.network}",),
        folder=rules.folder or group.target.folder,
        resource_pool=rules.resource_pool or group.target.resource_pool,
    )
    return replace(group, target=target, probes=replace(group.probes, tcp=(), http=()))
