"""Starts the transfers that run in a child process: a copy, a write, access holds, and the test of a disk driver.

Each becomes a request to the child. This process unlocks the repository, so that its child asks no key service.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vmkeep.errors import VmKeepError
from vmkeep.model.access import AccessDone, AccessJob
from vmkeep.model.diskaccess import DriverProbe
from vmkeep.model.job import Cursor, DiskCopy, DiskJob, DiskWrite, Progress, WriteJob, to_plain
from vmkeep.model.site import Site
from vmkeep.repository import unlock_site
from vmkeep.transfer.child_process import LIBRARY_PATH, RunningTransfer
from vmkeep.transfer.drivers import choose_driver
from vmkeep.transfer.protocol import ChildRequest, plain_site


def start_copy(
    site: Site,
    job: DiskJob,
    *,
    cursor: Cursor | None,
    on_progress: Callable[[Progress], None],
    explain: Callable[[VmKeepError], VmKeepError] | None = None,
) -> RunningTransfer[DiskCopy]:
    """Start copying one disk into the repository.

    :param cursor: the position of an earlier try, from which the copy continues.
    :param explain: returns the reason of an error of the copy, which may be the error itself.
    """
    master = unlock_site(site)
    request = _request(site, "copy", master, job=to_plain(job), cursor=to_plain(cursor) if cursor else None)
    title = f"the copy of {job.vm.name} {job.disk.label}"
    running = _RunningCopy(site, request, DiskCopy, title=title, on_progress=on_progress)
    running.explain = explain
    return running


def start_write(site: Site, job: WriteJob, *, on_progress: Callable[[Progress], None]) -> RunningTransfer[DiskWrite]:
    """Start writing one disk of a restore point."""
    title = f"the restore of {job.target_file}"
    return RunningTransfer(
        site,
        _request(site, "write", unlock_site(site), job=to_plain(job)),
        DiskWrite,
        title=title,
        on_progress=on_progress,
    )


def change_access(site: Site, job: AccessJob) -> AccessDone:
    """Take or end the access holds on some VMs, in a child process that has ended on return.

    A driver that needs no hold takes none, so that there is nothing to do.

    :raises VmKeepError: the driver does not start, or hangs. The errors of single VMs are in the result.
    """
    if job.prepare and not choose_driver(site).holds:
        return AccessDone(problems={})
    choice = choose_driver(site, holding=True)
    title = f"{choice.launch.library}'s access to {', '.join(vm.vm.name for vm in job.vms)}"
    request = _request(site, "access", job=to_plain(job))
    with RunningTransfer(site, request, AccessDone, title=title, on_progress=lambda _: None, choice=choice) as running:
        return running.wait()


def probe_driver(site: Site) -> DriverProbe:
    """Start the site's disk driver in a child process, and return its abilities.

    :raises VmKeepError: the error with which a copy would fail.
    """
    choice = choose_driver(site)
    request = _request(replace(site, repository="", catalog=None, aws=None, vcenter=None), "probe")
    title = f"the test of {choice.launch.title}"
    with RunningTransfer(site, request, DriverProbe, title=title, on_progress=lambda _: None, choice=choice) as running:
        return running.wait()


def _request(
    site: Site, verb: str, master: bytes | None = None, *, job: Any = None, cursor: Any = None
) -> ChildRequest:
    return ChildRequest(
        verb=verb,
        site=plain_site(site),
        job=job,
        cursor=cursor,
        log_level=logging.getLogger("vmkeep").getEffectiveLevel(),
        library_path=os.environ.get(LIBRARY_PATH),
        master=None if master is None else master.hex(),
    )


class _RunningCopy(RunningTransfer[DiskCopy]):
    """A child process that copies a disk. Its CPU seconds are known when it is gone, so it cannot tell them itself."""

    explain: Callable[[VmKeepError], VmKeepError] | None = None
    """Returns the reason of an error, which may be the error itself. It is asked once."""

    def wait(self) -> DiskCopy:
        """Follow the child to its end, and return its result with its CPU seconds."""
        try:
            return replace(super().wait(), cpu_seconds=self.cpu_seconds)
        except VmKeepError as error:
            explain, self.explain = self.explain, None
            reason = explain(error) if explain is not None else error
            if reason is error:
                raise
            self._outcome = reason
            raise reason from error
