"""The steps of a restore, in the order a run takes them.

:func:`plan_restore` decides and checks everything. Nothing is changed before it has succeeded. Every later step takes
the plan as it is, and first compares it with vSphere. If anything differs, the step stops and touches nothing.

The VM carries the run's mark from the first change to the end of the restore. No step writes to a VM without the mark,
so a step that comes after the end changes nothing. :func:`clean_up` removes half-made VMs and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from vmkeep.errors import ConflictError, NotFoundError, StaleError, VmKeepError
from vmkeep.flows import as_planned, limits, vm_access
from vmkeep.flows.block_choice import still_chosen
from vmkeep.flows.claiming import claim_existing, make_claim
from vmkeep.flows.connect import check_driver, open_vsphere, pinned
from vmkeep.flows.dead_restores import dead_or_refused
from vmkeep.flows.ended_restores import end_with_holds
from vmkeep.flows.given_back import take_on
from vmkeep.flows.half_written import keep_half_written
from vmkeep.flows.liveness import HasEnded, nobody_knows
from vmkeep.flows.plan_over import refuse_beside_a_backup
from vmkeep.flows.restore_end import finish_restore, hand_over
from vmkeep.flows.restore_ledger import PlanLedger, RunLedger, plan_id
from vmkeep.flows.restore_plan import plan_restore
from vmkeep.flows.restore_room import require_room_still
from vmkeep.flows.restore_saved import SavedVm, load_saved, request_place, spec_options
from vmkeep.flows.restore_values import DeadRestore, DiskMatch, RestorePlan, Target
from vmkeep.flows.targets import may_run_here
from vmkeep.flows.undo_snapshot import HeldStill, hold_still
from vmkeep.flows.write_snapshot import files_below, take_for_writing
from vmkeep.flows.write_ways import way_new
from vmkeep.flows.writing_again import as_it_stands
from vmkeep.model.disk import Disk
from vmkeep.model.job import DiskWrite, Progress, WriteJob
from vmkeep.model.site import Site
from vmkeep.model.transport import modes_without_snapshot
from vmkeep.model.vmref import VmRef
from vmkeep.model.wording import exact_size
from vmkeep.repository import Repository, open_site_repository
from vmkeep.transfer import RunningTransfer, start_write
from vmkeep.vsphere import changes, claims, create, freeluns, inventory, machines
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

__all__ = [
    "RunningTransfer", "clean_up", "finish_restore", "hand_over", "plan_id",
    "plan_restore", "prepare_target", "write_disk", "write_jobs",
]  # fmt: skip

log = logging.getLogger(__name__)


def prepare_target(
    site: Site,
    plan: RestorePlan,
    *,
    run: str = "",
    earlier: Sequence[str] = (),
    has_ended: HasEnded = nobody_knows,
) -> Target:
    """Power the existing VM off and switch its tracking off, or create the new VM from its saved configuration.

    A plan is carried out once. A second call before that restore has ended returns the same VM and changes nothing.

    :param run: the run that makes the VM ready; empty: the plan's run. Each try under Airflow has its own.
    :param earlier: the runs of earlier tries, which are dead. Their half-made VMs and marks are removed.
    :raises StaleError: the restore has ended, or vSphere is not as planned any more; nothing was touched.
    :raises ConflictError: another restore, or a backup, is at work on the VM.
    """
    run = run or plan.request.run
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        as_planned.require_same_vcenter(plan.vcenter, server_uuid(session))
        ledger = PlanLedger(repository, plan)
        if (ready := ledger.target()) is not None:
            RunLedger(repository, ready.run).require_open()
            as_planned.require_ready(plan, ready.run, inventory.describe_vm(session, ready.vm))
            return ready
        ledger.require_noted()
        for dead in earlier:
            take_on(repository, dead, run)
            _clear_away(site, session, repository, dead)
        RunLedger(repository, run).begin(plan.request.owner, plan)
        if plan.target is not None:
            held = _hold_existing(site, session, repository, plan, run, has_ended)
            moref = plan.target.moref or ""
            target = Target(vm=moref, run=run, created=False, choices=held.choices, undo=held.undo, way=plan.way)
        else:
            target = Target(vm=_create(site, session, repository, plan, run, has_ended), run=run, created=True)
            target = replace(target, way=way_new(session, plan, target.vm, check_driver(site).transports))
        target = take_for_writing(session, repository, target)
        warnings = vm_access.hold(site, session, repository, VmRef(moref=target.vm, name=plan.target_name), run)
        target = replace(target, warnings=warnings)
        if ledger.record_target(target) != target:
            raise ConflictError(f"another try restores VM {plan.target_name} already; this one gives up")
        return target


def _clear_away(site: Site, session: Session, repository: Repository, run: str) -> None:
    try:
        end_with_holds(site, session, repository, run)
    except VmKeepError as error:
        log.warning("run %s, an earlier try, could not be cleaned up, and is left to the sweep: %s", run, error)


def _hold_existing(
    site: Site, session: Session, repository: Repository, plan: RestorePlan, run: str, has_ended: HasEnded
) -> HeldStill:
    vm = _as_shown(session, plan)
    other = vm.claim if vm.claim is not None and vm.claim.run != run else None
    if other is not None and other.made:
        raise StaleError(f"VM {plan.target_name} is half made by run {other.run}, nothing was touched")
    dead = dead_or_refused(session, repository, VmRef(moref=vm.moref, name=plan.target_name), other, has_ended)
    if dead is not None:
        take_on(repository, dead.run, run)
    _end_dead(site, session, repository, dead)
    claim = make_claim(session, repository, run, made=False, keep=plan.keeps_on_failure)
    vm = claim_existing(session, claim, partial(_as_shown, session, plan))
    # Only after the mark is made, because then a backup that begins now sees it: see refuse_beside_a_restore.
    refuse_beside_a_backup(session, repository, VmRef(moref=vm.moref, name=plan.target_name), has_ended)
    # Read before the VM is off, so that the events from then on hold every start that may follow.
    since = session.server_time()
    if vm.running:
        RunLedger(repository, run).note_switched_off(vm.moref)
    machines.power_off(session, vm.moref)
    held = hold_still(session, repository, plan, run, since=since)
    # Before the first byte is written, so that a VM that somebody starts from here on has a new generation id.
    machines.renew_generation(session, vm.moref)
    # After a restore the tracked changes mean nothing. With tracking off, the next backup is a full one.
    changes.disable_tracking(session, vm.moref)
    return held


def _as_shown(session: Session, plan: RestorePlan) -> inventory.VmDescription:
    vm = inventory.describe_vm(session, plan.target.moref if plan.target and plan.target.moref else "")
    as_planned.require_as_shown(plan, vm)
    return vm


def _create(
    site: Site, session: Session, repository: Repository, plan: RestorePlan, run: str, has_ended: HasEnded
) -> str:
    if plan.place is None:
        raise StaleError(f"the plan for VM {plan.target_name} does not tell where it goes; start a new restore")
    saved = load_saved(repository, repository.load_point(plan.point))
    request = request_place(plan.request.new_vm, saved)
    connect = not plan.original_runs or plan.request.new_vm.connect_networks
    _require_alone(session, plan, saved)
    claim = make_claim(session, repository, run, made=True, keep=plan.keeps_on_failure)
    options = spec_options(
        plan.request.new_vm, saved, plan.target_name, connect=connect, settled=plan.place, claim=claim
    )
    reopen = partial(create.reopen_place, session, plan.place, request, plan.target_name, origin=saved.origin)
    try:
        place = reopen()
    except NotFoundError as error:
        raise StaleError(f"the place of VM {plan.target_name} is gone, nothing was touched: {error}") from error
    if plan.dead is not None and place.taken_by == plan.dead.vm:
        found = claims.claim_on(session, plan.dead.vm)
        half_made = VmRef(moref=plan.dead.vm, name=plan.target_name)
        _end_dead(site, session, repository, dead_or_refused(session, repository, half_made, found, has_ended))
        place = reopen()
    if place.taken_by is None:  # else an earlier call may have made the VM, whose disks take the room
        require_room_still(session, repository, place.host, plan)
    return create.create_vm(session, saved.config, place, options, settled=plan.place)


def _require_alone(session: Session, plan: RestorePlan, saved: SavedVm) -> None:
    """Return if the original is still off, in case the new VM's network cards are connected only because it is off.

    :raises StaleError: the original was switched on since the plan was made.
    """
    if plan.original_runs or plan.request.new_vm.connect_networks:
        return
    if (running := may_run_here(session, saved.point.vm)) is not None:
        raise StaleError(
            f"{running}. It was not running when VM {plan.target_name} was planned with connected network cards: "
            "nothing was touched, start a new restore"
        )


def _end_dead(site: Site, session: Session, repository: Repository, dead: DeadRestore | None) -> None:
    if dead is not None:
        log.warning("VM %s: ending the restore of run %s, which is dead", dead.vm, dead.run)
        end_with_holds(site, session, repository, dead.run)


def write_jobs(site: Site, plan: RestorePlan, target: Target) -> tuple[WriteJob, ...]:
    """Return one job for each disk to write. It names the planned target disk by its present file name.

    :raises StaleError: the VM is not the one that was made ready, or its disks are not as planned any more.
    :raises ConflictError: another VM has mapped a LUN of the new VM meanwhile.
    """
    with open_vsphere(site) as session:
        as_planned.require_same_vcenter(plan.vcenter, server_uuid(session))
        vm = inventory.describe_vm(session, target.vm)
        as_planned.require_ready(plan, target.run, vm)
        matches = _match_created(plan, vm.disks) if target.created else plan.matches
        by_key = {disk.key: disk for disk in vm.disks}
        choices = {choice.disk: choice for choice in target.choices}
        on_luns = dict(plan.place.luns) if plan.place is not None else {}
        if target.created and on_luns:
            freeluns.require_alone(session, target.vm)
        below = files_below(session, target)
        modes = target.way.modes if target.way is not None else modes_without_snapshot(plan.request.transports)
        return tuple(
            WriteJob(
                run=target.run,
                point=plan.point,
                device_key=match.disk.key,
                label=match.disk.label,
                vm=VmRef(moref=target.vm, name=plan.target_name),
                vcenter=plan.vcenter,
                target_key=match.target_key,
                target_uuid=by_key[match.target_key].uuid,
                target_file=by_key[match.target_key].file_name,
                snapshot=target.snapshot if below else None,
                snapshot_file=below[match.target_key] if below else "",
                capacity=by_key[match.target_key].capacity,
                fresh=target.created and match.disk.address not in on_luns,
                choice=choices.get(match.disk.key),
                verify=plan.request.verify,
                transports=modes,
            )
            for match in matches
            if match.written and match.target_key is not None
        )


_ROUNDED_UP = 1 << 20
"""vSphere may make a disk larger by less than this many bytes, if its size was no whole KiB or MiB."""


def _match_created(plan: RestorePlan, now: Sequence[Disk]) -> tuple[DiskMatch, ...]:
    """Find each created disk by the address of its original, because the new VM has new device keys."""
    by_address = {disk.address: disk for disk in now}
    matches = []
    for match in plan.matches:
        if match.written:
            made = by_address.get(match.disk.address)
            if made is None or not 0 <= made.capacity - match.disk.capacity < _ROUNDED_UP:
                wanted = exact_size(match.disk.capacity)
                raise ConflictError(f"the new VM has no disk of {wanted} at {match.disk.address}")
            matches.append(DiskMatch(disk=match.disk, target_key=made.key, written=True))
    return tuple(matches)


def write_disk(site: Site, job: WriteJob, *, on_progress: Callable[[Progress], None]) -> RunningTransfer[DiskWrite]:
    """Start writing one disk in a child process.

    :raises StaleError: the restore that the job belongs to has ended, or the disk is not as planned any more.
    """
    with open_vsphere(site) as session:
        as_planned.require_same_vcenter(job.vcenter, server_uuid(session))
        vm = inventory.describe_vm(session, job.vm.moref)
        as_planned.require_ready_disk(job, vm)
        job = as_it_stands(session, job, vm)
        within = limits.of_transfer(session, site.limits, job.vm.moref, job.transports)
        job = replace(still_chosen(session, job), limits=within)
        child_site = pinned(site, session)
    return start_write(child_site, job, on_progress=on_progress)


def clean_up(site: Site, run: str) -> int:
    """Stop the run's writers, and destroy the VMs that it created and did not finish. Return the number of VMs.

    If the request asks to keep a VM that is partly written, the run stays open, so that it can be gone on with.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        if keep_half_written(session, repository, run):
            return 0
        return end_with_holds(site, session, repository, run)
