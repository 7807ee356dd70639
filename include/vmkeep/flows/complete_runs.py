"""A whole backup or restore in one call, for the command line.

The steps are those of the DAGs. The cleaning up, which Airflow leaves to teardown tasks, is done here too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from vmkeep.errors import ArrayHookError, CancelledError, DiskMovedError, GuestCommandError, VmKeepError
from vmkeep.flows import backup, restore
from vmkeep.flows.connect import one_log_in
from vmkeep.flows.other_restores import LEASE
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.flows.stopping import Stop
from vmkeep.flows.turns import in_turn
from vmkeep.flows.values import BackupRequest, Preflight, Restored, RestorePlan, RestoreRequest, Sealed, VerifyReport
from vmkeep.model.guest import Logins, no_logins
from vmkeep.model.job import Progress
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import open_site_repository
from vmkeep.repository.unlock import share_keys
from vmkeep.transfer import RunningTransfer

log = logging.getLogger(__name__)

PARALLEL_DISKS = 4
"""Number of disks transferred at once. More would only wait for the host's NFC server or the processors."""

_LEASE = "backup"
"""Name of the lease that a backup in one process holds from its snapshot to its seal."""

T = TypeVar("T")
R = TypeVar("R")
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
    undo = _backup_undo(site, pre, logins)
    with _undone(undo) as transfers, stop.cancels(transfers.cancel):
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
            copies = transfers.run(
                [partial(backup.copy_disk, site, job, cursor=None, on_progress=bars(job.disk.label)) for job in jobs]
            )
            sealed = backup.seal(site, pre, taken, copies)
    try:
        undo.action()
    except KeyboardInterrupt:
        log.error("interrupted: %s is sealed, but %s", sealed.point, undo.left)
        raise
    if stop.asked:
        raise CancelledError(f"told to stop: {sealed.point} is sealed, and was not verified")
    return sealed, backup.verify_point(site, sealed.point, sample=verify)


def run_restore(
    site: Site,
    request: RestoreRequest,
    *,
    bars: Bars,
    announce: Callable[[str], None],
    show: Callable[[str], None] = lambda _line: None,
) -> Restored:
    """Restore one point: make the plan and carry it out.

    :param show: takes the plan, line by line, before anything is changed.
    """
    share_keys()
    plan = restore.plan_restore(site, request)
    for line in plan_lines(plan):
        show(line)
    for warning in plan.warnings:
        announce(warning)
    return carry_out(site, plan, bars=bars, announce=announce)


def carry_out(
    site: Site, plan: RestorePlan, *, bars: Bars, announce: Callable[[str], None], stop: Stop | None = None
) -> Restored:
    """Carry out the plan of a restore. A new VM that was not finished is removed again.

    A lease tells other processes that this one is at work, from before the first change to the end.

    :param stop: ends the restore early, from another thread. A VM that was handed over stays.
    :raises CancelledError: the restore was stopped.
    """
    if plan.nothing_to_do:
        kept = VmRef(moref=plan.target.moref or "" if plan.target else "", name=plan.target_name)
        return Restored(
            run="", vm=kept, point=plan.point,
            created=False, powered_on=False, disks_written=0, bytes_written=0, bytes_zeroed=0,
            warnings=(f"VM {plan.target_name} exists and was kept",), kept=True,
        )  # fmt: skip
    stop = stop or Stop()
    with (
        _undone(_restore_undo(site, plan)) as transfers,
        open_site_repository(site) as repository,
        repository.run(plan.request.run).open_lease(LEASE) as lease,
        stop.cancels(transfers.cancel),
    ):
        stop.check()
        target = restore.prepare_target(site, plan)
        lease.check()
        writes = transfers.run(
            [
                partial(restore.write_disk, site, job, on_progress=bars(f"disk {job.device_key}"))
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


class _Transfers:
    """The transfers of one call, side by side."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(PARALLEL_DISKS, thread_name_prefix="disk")
        self._running: list[RunningTransfer[Any]] = []
        self._stopped = threading.Event()

    def run(self, starts: Sequence[Callable[[], RunningTransfer[T]]]) -> list[T]:
        """Start the transfers and return their results. The first error is raised at once; the others go on."""
        futures = [self._pool.submit(self._one, start) for start in starts]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        failed = [error for future in done if (error := future.exception()) is not None]
        if failed:
            raise failed[0]
        return [future.result() for future in futures]

    def cancel(self) -> None:
        """Cancel the transfers that run, and those that start from now on."""
        self._stopped.set()
        for transfer in list(self._running):
            transfer.cancel()

    def stop(self) -> None:
        """Cancel the transfers that still run, and wait until their processes are gone."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.cancel()
        self._pool.shutdown(wait=True)

    def _one(self, start: Callable[[], RunningTransfer[T]]) -> T:
        try:
            return self.in_turn(partial(self._follow, start), log.warning)
        except DiskMovedError as error:
            log.warning("%s; trying once more, where the disk is now", error)
            return self.in_turn(partial(self._follow, start), log.warning)

    def in_turn(self, work: Callable[[], R], announce: Callable[[str], None]) -> R:
        """Do a work as soon as limits leave room for it, unless the transfers are cancelled meanwhile."""
        return in_turn(work, announce=announce, stopped=self._stopped)

    def _follow(self, start: Callable[[], RunningTransfer[T]]) -> T:
        with start() as transfer:
            self._running.append(transfer)
            if self._stopped.is_set():
                transfer.cancel()
            return transfer.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Undo:
    """The way to take back the work that a call has begun, with its words for the log."""

    action: Callable[[], str | None]
    """Take the work back; return a sentence about it for the log, if there is one."""
    begins: str
    left: str
    """Names the things that stay if it is not taken back, and how to remove them."""
    undone_but: tuple[type[VmKeepError], ...] = ()
    """Errors of something else, raised after the work was taken back."""


@contextmanager
def _undone(undo: _Undo) -> Iterator[_Transfers]:
    """Stop the transfers and take the work back, if anything fails. A second interruption ends that at once."""
    transfers = _Transfers()
    try:
        yield transfers
        transfers.stop()
    except BaseException as error:
        again = " again" if isinstance(error, KeyboardInterrupt) else ""
        try:
            log.warning("stopping: %s; interrupt%s to end at once", undo.begins, again)
            transfers.stop()
            if done := undo.action():
                log.warning("%s", done)
        except VmKeepError as second:
            left = "" if isinstance(second, undo.undone_but) else f": {undo.left}"
            log.error("cleaning up failed too: %s%s", second, left)
        except KeyboardInterrupt:
            log.error("interrupted%s: %s", again, undo.left)
            raise
        raise


def _backup_undo(site: Site, pre: Preflight, logins: Logins) -> _Undo:
    vm, run = pre.vm.moref or "", pre.request.run

    def remove() -> None:
        backup.remove_own_snapshot(site, vm, run, vcenter=pre.vm.vcenter, repository=pre.repository, logins=logins)

    return _Undo(
        action=remove,
        begins=f"the snapshot that this run took of VM {pre.vm.name}, if any, is removed",
        left=f"VM {pre.vm.name} ({vm}) may keep the snapshot 'vmkeep {run}': the VM's next backup removes it, once it "
        "is ten minutes old; or delete it in vCenter, under the VM's Snapshots",
        undone_but=(GuestCommandError, ArrayHookError),
    )


def _restore_undo(site: Site, plan: RestorePlan) -> _Undo:
    run = plan.request.run

    def remove() -> str | None:
        return f"run {run}: the VM it had begun to create was removed" if restore.clean_up(site, run) else None

    if plan.target is None:
        return _Undo(
            action=remove,
            begins=f"the new VM {plan.target_name} is removed, if it was begun",
            left=f"a half-made VM {plan.target_name} may stay: do not start it; the next restore to that name "
            "removes it, or delete it in vCenter",
        )
    vm = f"VM {plan.target_name} ({plan.target.moref})"
    half = f"if a disk of {vm} was written to already, it is half written: then restore the VM again before its start"
    return _Undo(action=remove, begins=half, left=half)
