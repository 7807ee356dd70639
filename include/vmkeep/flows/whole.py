"""A whole backup or restore in one call, for the command line.

The same steps as in Airflow, with the cleaning up that its teardowns do otherwise.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

from vmkeep.errors import VmKeepError
from vmkeep.flows import backup, restore
from vmkeep.flows.values import BackupRequest, Preflight, Restored, RestoreRequest, Sealed, VerifyReport
from vmkeep.model.job import Progress
from vmkeep.model.site import Site
from vmkeep.transfer import RunningTransfer

log = logging.getLogger(__name__)

PARALLEL_DISKS = 4
"""Disks moved at once; more only queue at the host's NFC server or at the processors."""

T = TypeVar("T")
Bars = Callable[[str], Callable[[Progress], None]]


def run_backup(
    site: Site, request: BackupRequest, *, bars: Bars, announce: Callable[[str], None]
) -> tuple[Sealed, VerifyReport]:
    """Back up one VM from preflight to verification; the snapshot never outlives the call."""
    pre = backup.preflight(site, request)
    for warning in pre.warnings:
        announce(warning)
    try:
        taken = backup.take_snapshot(site, pre)
        for warning in taken.warnings:
            announce(warning)
        copies = _all(
            [
                partial(backup.copy_disk, site, job, cursor=None, on_progress=bars(job.disk.label))
                for job in backup.plan_disks(site, pre, taken)
            ]
        )
        sealed = backup.seal(site, pre, taken, copies)
    except BaseException:
        _remove_after_failure(site, pre)
        raise
    backup.remove_snapshot(site, taken.vm, request.run)
    return sealed, backup.verify_point(site, sealed.point)


def run_restore(site: Site, request: RestoreRequest, *, bars: Bars, announce: Callable[[str], None]) -> Restored:
    """Restore one point; a new VM that was not finished is removed again."""
    plan = restore.plan_restore(site, request)
    for warning in plan.warnings:
        announce(warning)
    if plan.nothing_to_do:
        return Restored(
            vm=plan.target or "", vm_name=plan.target_name, point=plan.point, created=False, powered_on=False,
            disks_written=0, bytes_written=0, bytes_zeroed=0, warnings=(f"VM {plan.target_name} exists and was kept",),
        )  # fmt: skip
    try:
        target = restore.prepare_target(site, plan)
        writes = _all(
            [
                partial(restore.write_disk, site, job, on_progress=bars(f"disk {job.device_key}"))
                for job in restore.write_jobs(site, plan, target)
            ]
        )
        return restore.finish_restore(site, plan, target, writes)
    except BaseException:
        _clean_up_after_failure(site, request.run)
        raise


def _all(starts: Sequence[Callable[[], RunningTransfer[T]]]) -> list[T]:
    """Run transfers side by side; the first failure cancels the others, and only then goes on."""
    running: list[RunningTransfer[T]] = []
    stopped = threading.Event()

    def one(start: Callable[[], RunningTransfer[T]]) -> T:
        with start() as transfer:
            running.append(transfer)
            if stopped.is_set():
                transfer.cancel()
            return transfer.wait()

    with ThreadPoolExecutor(PARALLEL_DISKS, thread_name_prefix="disk") as pool:
        futures = [pool.submit(one, start) for start in starts]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = [error for future in done if (error := future.exception()) is not None]
            if failed:
                raise failed[0]
            return [future.result() for future in futures]
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for transfer in running:
                transfer.cancel()
            raise


def _remove_after_failure(site: Site, pre: Preflight) -> None:
    try:
        backup.remove_snapshot(site, pre.vm.moref or "", pre.request.run)
    except VmKeepError as error:
        log.error("VM %s: cleaning up run %s failed too: %s", pre.vm.name, pre.request.run, error)


def _clean_up_after_failure(site: Site, run: str) -> None:
    try:
        removed = restore.clean_up(site, run)
    except VmKeepError as error:
        log.error("cleaning up run %s failed too: %s", run, error)
        return
    if removed:
        log.warning("run %s: the VM it had begun to create was removed", run)
