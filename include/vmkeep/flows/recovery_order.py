"""Decides a recovery before anything is changed: which VMs from which points, and every refusal of vSphere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from vmkeep.clock import now
from vmkeep.errors import ConflictError, StaleError, UsageError, VmKeepError
from vmkeep.flows import restore
from vmkeep.flows.connect import one_log_in, open_vsphere
from vmkeep.flows.recovery_journal import Journal, RecoveryOrder
from vmkeep.flows.recovery_older import step_back, stepped_back_line
from vmkeep.flows.recovery_outcomes import NumberedVm, outcome_so_far
from vmkeep.flows.recovery_points import choose_in, require_fit
from vmkeep.flows.recovery_requests import request_for
from vmkeep.flows.restore_room import Room
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.lateclass import dataclass
from vmkeep.model.fieldwords import in_recovery
from vmkeep.model.guest import Logins
from vmkeep.model.room import StoreNeed
from vmkeep.model.site import Site
from vmkeep.recovery import DAMAGED, ChosenVm, PlanFile, RecoveryPlan, VmState, for_drill, parse_plan
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere.drills import drill_mark
from vmkeep.vsphere.server import server_uuid


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryWishes:
    """A request to carry out a plan, from a person or the API."""

    run: str
    plan: PlanFile
    drill: bool = False
    lost_at: datetime | None = None
    """The time of the disaster; ``None``: when the run begins."""
    not_after: datetime | None = None
    """No point that is younger is chosen, e.g. because an attacker was at work since then."""
    despite_refusals: bool = False
    """Restore the other VMs, if vSphere refuses some."""
    keep: bool = False
    """A drill leaves its VMs, so that a person can look at them. They are removed by a call of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVm:
    """A VM of a recovery as it would be restored now."""

    group: str
    vm_name: str
    new_name: str
    point: str
    lines: tuple[str, ...] = ()
    """The plan of its restore, in words."""
    warnings: tuple[str, ...] = ()
    refusal: str = ""
    """The reason why it cannot be restored; empty: it can."""
    begun: bool = False
    """An earlier call of the run has begun it already."""
    needs: tuple[StoreNeed, ...] = ()
    """The space that it needs, on each of its datastores."""


def make_order(site: Site, repository: Repository, wishes: RecoveryWishes) -> RecoveryOrder:
    """Return the order of a run: the one that it was begun with, or a new one. Nothing is written.

    :raises PlanError: the plan has faults, or does not fit the repository.
    :raises UsageError: the run was begun with another plan, or as a drill.
    :raises StaleError: the run was begun with another vCenter.
    """
    plan = wishes.plan.sound()
    with open_vsphere(site) as session:
        here, server = server_uuid(session), session.host
    begun = Journal(repository, wishes.run).order()
    if begun is not None:
        _require_same(begun, wishes, here, server)
        return begun
    choice = choose_in(
        repository, plan, catalog=site.catalog or "sqlite://", drill=wishes.drill, not_after=wishes.not_after
    )
    require_fit(plan, choice)
    began = now()
    return RecoveryOrder(
        run=wishes.run,
        plan=wishes.plan.text,
        path=wishes.plan.path,
        drill=wishes.drill,
        began=began,
        lost_at=wishes.lost_at or began,
        not_after=wishes.not_after,
        vcenter=here,
        server=server,
        vms=choice.vms,
        notes=choice.notes,
    )


def _require_same(begun: RecoveryOrder, wishes: RecoveryWishes, here: str | None, server: str) -> None:
    if begun.plan != wishes.plan.text or begun.drill != wishes.drill:
        what = "a drill" if begun.drill else "a recovery"
        raise UsageError(
            f"run {begun.run} was begun as {what} with another plan: go on with that plan ('vmkeep dr order "
            f"{begun.run}' prints it), or choose another --run"
        )
    if wishes.lost_at not in (None, begun.lost_at) or wishes.not_after not in (None, begun.not_after):
        raise UsageError(
            f"run {begun.run} was begun with other times: leave --before and --lost-at out, because its points stay "
            "those of its beginning, or choose another --run"
        )
    if begun.vcenter != here:
        raise StaleError(
            f"run {begun.run} restores to vCenter {begun.server} ({begun.vcenter or 'UUID unknown'}), and {server} is "
            f"another one ({here or 'UUID unknown'}): name that one, or choose another --run"
        )


def plan_of(order: RecoveryOrder) -> RecoveryPlan:
    """Return the plan that a run was begun with."""
    return parse_plan(order.plan, path=order.path).sound()


def numbered(order: RecoveryOrder, plan: RecoveryPlan) -> tuple[NumberedVm, ...]:
    """Return the VMs of a run with their numbers, and their groups as they are restored."""
    groups = {group.name: group for group in plan.groups}
    if order.drill and plan.drill is not None:
        groups = {name: for_drill(group, plan.drill) for name, group in groups.items()}
    return tuple(NumberedVm(number=number, group=groups[vm.group], vm=vm) for number, vm in enumerate(order.vms, 1))


def mark_of(repository: Repository, order: RecoveryOrder) -> str:
    """Return the mark of the VMs of a drill; empty: the run is none."""
    return drill_mark(repository.id, order.run) if order.drill else ""


def require_logins(vms: Sequence[NumberedVm], logins: Logins) -> None:
    """Return if the user of every guest that is probed by a command is known.

    :raises UsageError: one is not.
    """
    for name in {one.group.probes.guest.login for one in vms if one.group.probes.guest is not None}:
        logins(name)


def plan_vms(
    site: Site,
    repository: Repository,
    order: RecoveryOrder,
    vms: Sequence[NumberedVm],
    tell: Callable[[PlannedVm], None],
) -> tuple[PlannedVm, ...]:
    """Plan the restore of each VM, and change nothing in vSphere. A VM that is refused hides no other.

    :param tell: takes each VM as soon as it is planned.
    """
    journal, mark, room = Journal(repository, order.run), mark_of(repository, order), Room(repository)
    found = []
    with one_log_in(site):
        for one in vms:
            found.append(_with_room(room, _planned(site, repository, order, one, one.vm, journal, mark)))
            tell(found[-1])
    return tuple(found)


def _planned(
    site: Site, repository: Repository, order: RecoveryOrder, one: NumberedVm, vm: ChosenVm, journal: Journal, mark: str
) -> PlannedVm:
    """Plan the restore of a VM from a point, or from an older one if that is damaged."""
    told = PlannedVm(group=vm.group, vm_name=vm.vm_name, new_name=vm.new_name, point=vm.point)
    if outcome_so_far(journal, one).state is not VmState.WAITING:
        return replace(told, begun=True)
    try:
        request = request_for(repository, one.group, vm, run=f"{order.run}-vm{one.number}-plan", drill=mark)
        plan = restore.plan_restore(site, request)
    except DAMAGED as error:
        older = step_back(site, repository, one.group, vm, not_after=order.not_after)
        if older is None:
            return replace(told, refusal=in_recovery(str(error)))
        found = _planned(site, repository, order, one, older, journal, mark)
        return replace(found, warnings=(stepped_back_line(vm, older, error), *found.warnings))
    except VmKeepError as error:
        return replace(told, refusal=in_recovery(str(error)))
    # The half-made VM of a dead restore is removed first, so that nobody knows yet which room it leaves.
    needs = plan.needs if plan.dead is None else ()
    return replace(told, lines=plan_lines(plan), warnings=tuple(map(in_recovery, plan.warnings)), needs=needs)


def _with_room(room: Room, vm: PlannedVm) -> PlannedVm:
    """Take the room for a VM, or refuse the VM if there is none beside the VMs before it."""
    try:
        growth = room.take(vm.point, vm.needs)
    except VmKeepError as error:
        return replace(vm, refusal=in_recovery(str(error)), needs=())
    return replace(vm, warnings=tuple(dict.fromkeys((*vm.warnings, *growth))))


def require_none_refused(planned: Sequence[PlannedVm]) -> None:
    """Return if vSphere refuses no VM.

    :raises ConflictError: it refuses some. The message names each.
    """
    refused = [vm for vm in planned if vm.refusal]
    if refused:
        told = "; ".join(f"{vm.new_name}: {vm.refusal}" for vm in refused)
        raise ConflictError(
            f"{len(refused)} of {len(planned)} VMs cannot be restored, and nothing was changed (--despite-refusals "
            f"restores the others): {told}"
        )


def preview(
    site: Site, wishes: RecoveryWishes, *, tell: Callable[[PlannedVm], None]
) -> tuple[RecoveryOrder, tuple[PlannedVm, ...]]:
    """Decide everything that a run would do, also against the vCenter, and change nothing there.

    :param tell: takes each VM as soon as it is planned.
    """
    with open_site_repository(site) as repository:
        order = make_order(site, repository, wishes)
        return order, plan_vms(site, repository, order, numbered(order, plan_of(order)), tell)
