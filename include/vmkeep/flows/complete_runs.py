"""A whole backup or restore in one call, for the command line.

The steps are those of the DAGs. The cleaning up, which Airflow leaves to teardown tasks, is done here too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import count

from vmkeep.errors import ArrayHookError, CancelledError, GuestCommandError
from vmkeep.flows import backup, restore
from vmkeep.flows.backup_values import BackupRequest, Preflight, Sealed, VerifyReport
from vmkeep.flows.connect import one_log_in
from vmkeep.flows.liveness import LEASE
from vmkeep.flows.restore_request import RestoreRequest
from vmkeep.flows.restore_values import Restored, RestorePlan
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.flows.rollback import Rollback, rolled_back_on_failure
from vmkeep.flows.stopping import Stop
from vmkeep.model.guest import Logins, no_logins
from vmkeep.model.job import DiskCopy, DiskJob, Progress
from vmkeep.model.overwrite import Undo
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Lease, open_site_repository
from vmkeep.repository.unlock import share_keys
from vmkeep.transfer import RunningTransfer

log = logging.getLogger(__name__)

_LEASE = "backup"
"""Name of the lease that a backup in one process holds from its snapshot to its seal."""

Bars = Callable[[str], Callable[[Progress], None]]


def run_backup(
    site: Site,
    request: BackupRequest,
    *,
    bars: Bars,
    announce: Callable[[str], None],
    verify: float = 0.05,
    logins: Logins = no_logins,
    stop: Stop | None = None,
) -> tuple[Sealed, VerifyReport]:
    """Back up one VM from preflight to verification. The snapshot never outlives the call.

    A lease tells sweeps that this process is at work, also between two copies.

    :param verify: the share of the new point's blocks that is read back; 1.0: all.
    :param logins: returns the guest's user for commands in the guest.
    :param stop: ends the backup early, from another thread.
    :raises CancelledError: the backup was stopped; only an error that tells of a sealed point leaves one.
    """
    share_keys()
    stop = stop or Stop()
    stop.check()
    with one_log_in(site):
        return _backed_up(site, request, bars=bars, announce=announce, verify=verify, logins=logins, stop=stop)


def _backed_up(
    site: Site,
    request: BackupRequest,
    *,
    bars: Bars,
    announce: Callable[[str], None],
    verify: float,
    logins: Logins,
    stop: Stop,
) -> tuple[Sealed, VerifyReport]:
    pre = backup.preflight(site, request, logins=logins)
    for warning in pre.warnings:
        announce(warning)
    rollback = _backup_rollback(site, pre, logins)
    with rolled_back_on_failure(rollback) as transfers, stop.cancels(transfers.cancel):
        stop.check()
        taken = transfers.in_turn(partial(backup.take_snapshot, site, pre, logins=logins), announce)
        for warning in taken.warnings:
            announce(warning)
        stop.check()
        with open_site_repository(site) as repository, repository.run(request.run).open_lease(_LEASE, removed=True):
            jobs = backup.plan_disks(site, pre, taken)
            for job in jobs:
                if job.full_reason is not None and not job.full_reason.expected:
                    announce(f"{job.disk.label} is read in full: {job.reason}")
            copies = transfers.run([_start_of_copy(site, job, bars(job.disk.label)) for job in jobs])
            sealed = backup.seal(site, pre, taken, copies)
    try:
        rollback.action()
    except KeyboardInterrupt:
        log.error("interrupted: %s is sealed, but %s", sealed.point, rollback.left)
        raise
    if stop.asked:
        raise CancelledError(f"told to stop: {sealed.point} is sealed, and was not verified")
    return sealed, backup.verify_point(site, sealed.point, sample=verify)


def _start_of_copy(
    site: Site, job: DiskJob, on_progress: Callable[[Progress], None]
) -> Callable[[], RunningTransfer[DiskCopy]]:
    """Return a function that starts the copy of a disk, and that looks for the disk anew from its second call on."""
    tries = count()
    return lambda: backup.copy_disk(site, job, cursor=None, on_progress=on_progress, again=next(tries) > 0)


def run_restore(
    site: Site,
    request: RestoreRequest,
    *,
    bars: Bars,
    announce: Callable[[str], None],
    show: Callable[[str], None] = lambda _line: None,
) -> Restored:
    """Restore one point: make the plan and carry it out.

    :param show: takes the plan and the name of the run, line by line, before anything is changed.
    """
    share_keys()
    plan = restore.plan_restore(site, request)
    for line in plan_lines(plan):
        show(line)
    for warning in plan.warnings:
        announce(warning)
    if not plan.nothing_to_do:
        show(f"this is run {request.run}: 'vmkeep restore resume {request.run}' goes on with it, if it is killed")
    return carry_out(site, plan, bars=bars, announce=announce)


def carry_out(
    site: Site,
    plan: RestorePlan,
    *,
    bars: Bars,
    announce: Callable[[str], None],
    stop: Stop | None = None,
    run: str = "",
) -> Restored:
    """Carry out the plan of a restore. A new VM that was not finished is removed again, unless it is to be kept.

    A lease tells other processes that this one is at work, from before the first change to the end.

    :param stop: ends the restore early, from another thread. A VM that was handed over stays.
    :param run: the run that carries it out; empty: the plan's run.
    :raises CancelledError: the restore was stopped.
    """
    if plan.nothing_to_do:
        kept = VmRef(moref=plan.target.moref or "" if plan.target else "", name=plan.target_name)
        return Restored(
            run="", vm=kept, point=plan.point,
            created=False, powered_on=False, disks_written=0, bytes_written=0, bytes_zeroed=0,
            warnings=(f"VM {plan.target_name} exists and was kept",), kept=True,
        )  # fmt: skip
    stop, run = stop or Stop(), run or plan.request.run
    with (
        open_site_repository(site) as repository,
        nullcontext(repository.run(run).open_lease(LEASE)) as lease,
        rolled_back_on_failure(_restore_rollback(site, plan, run, lease)) as transfers,
        lease,
        stop.cancels(transfers.cancel),
    ):
        stop.check()
        target = restore.prepare_target(site, plan, run=run)
        lease.check()
        writes = transfers.run(
            [
                partial(restore.write_disk, site, job, on_progress=bars(job.name))
                for job in restore.write_jobs(site, plan, target)
            ]
        )
        lease.check()
        stop.check()
        restore.hand_over(site, plan, target, writes)
    # From here on the VM belongs to its user: no failure takes anything back.
    done = restore.finish_restore(site, plan, target, writes)
    for warning in done.warnings[len(plan.warnings) :]:
        announce(warning)
    return done


def _backup_rollback(site: Site, pre: Preflight, logins: Logins) -> Rollback:
    vm, run = pre.vm.moref or "", pre.request.run

    def remove() -> None:
        backup.remove_own_snapshot(site, vm, run, vcenter=pre.vm.vcenter, repository=pre.repository, logins=logins)

    return Rollback(
        action=remove,
        begins=f"the snapshot that this run took of VM {pre.vm.name}, if any, is removed",
        left=f"VM {pre.vm.name} ({vm}) may keep the snapshot 'vmkeep {run}': the VM's next backup removes it, once it "
        "is ten minutes old; or delete it in vCenter, under the VM's Snapshots",
        errors_after=(GuestCommandError, ArrayHookError),
    )


def _restore_rollback(site: Site, plan: RestorePlan, run: str, lease: Lease) -> Rollback:
    def remove() -> str | None:
        if lease.is_taken_over:
            return f"run {run}: another process goes on with this restore, so that nothing is taken back"
        return f"run {run}: the VM it had begun to create was removed" if restore.clean_up(site, run) else None

    if plan.keeps_on_failure:
        kept = f"VM {plan.target_name} stays off as it is, if it was begun: 'vmkeep restore resume {run}' goes on"
        return Rollback(action=remove, begins=kept, left=kept)
    if plan.target is None:
        return Rollback(
            action=remove,
            begins=f"the new VM {plan.target_name} is removed, if it was begun",
            left=f"a half-made VM {plan.target_name} may stay: do not start it; the next restore to that name "
            "removes it, or delete it in vCenter",
        )
    vm = f"VM {plan.target_name} ({plan.target.moref})"
    back = ", or put it back by 'vmkeep restore undo'" if plan.request.over.undo is Undo.SNAPSHOT else ""
    half = (
        f"if a disk of {vm} was written to already, it is half written: then restore the VM again before its "
        f"start{back}"
    )
    back_on = "; if none was, the VM is switched on again if it ran"
    off = f"; if none was, start {vm} again if it is off"
    return Rollback(action=remove, begins=half + back_on, left=half + off)
