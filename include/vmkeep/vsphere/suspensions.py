"""Suspends a VM for a backup, and resumes it. A mark in the VM's advanced settings says which run did so, and when.

The mark is set before the VM is suspended and taken off after it runs again, because vSphere may refuse to reconfigure
a suspended VM. A VM that carries no mark, or that was suspended at another time, was suspended by somebody else.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from vmkeep.errors import DeadlineError, TaskForgottenError, VSphereError
from vmkeep.lateclass import dataclass
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere.api import moref_of, vim, vmodl
from vmkeep.vsphere.describe import PowerState
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.machines import SUSPEND_SECONDS, power_on, power_state
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_listed
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import await_sight, run_task, wait_task
from vmkeep.vsphere.vmsettings import change_settings, values_by_key

log = logging.getLogger(__name__)

SUSPENDED_BY = "vmkeep.suspending"
"""Setting with the key of the run that suspends the VM."""
BEGAN = "vmkeep.suspending.began"
"""Setting with the time before the VM was suspended, by vCenter's clock, in ISO format."""
REPOSITORY = "vmkeep.suspending.repository"
"""Setting with the id of the run's repository."""
_FORGOTTEN_SECONDS = 60.0
"""Seconds to look at a VM whose suspension vCenter has forgotten."""
_SUSPENDS = "VirtualMachine.suspend"
"""The description id of a task that suspends a VM."""
_WRONG_STATE = "InvalidPowerState"
_SLACK = timedelta(minutes=5)
"""Difference allowed between the clocks of vCenter and of the VM's host."""
PATHS = ("name", "runtime.powerState", "runtime.suspendTime", "config.extraConfig")
"""Names of the properties by which :func:`parse_marked` finds a mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendMark:
    """The mark of a run on the VM that it suspends."""

    run: str
    began: datetime
    repository: str

    @property
    def settings(self) -> dict[str, str]:
        """The mark as advanced settings."""
        return {SUSPENDED_BY: self.run, BEGAN: self.began.isoformat(), REPOSITORY: self.repository}


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedVm:
    """A VM that carries the mark of a run."""

    vm: VmRef
    mark: SuspendMark
    power: PowerState
    suspended_at: datetime | None

    @property
    def suspended_by_run(self) -> bool:
        """Whether the VM is suspended, and since the time at which the run suspended it."""
        if self.power is not PowerState.SUSPENDED:
            return False
        latest = self.mark.began + timedelta(seconds=SUSPEND_SECONDS) + _SLACK
        return self.suspended_at is None or self.mark.began - _SLACK <= self.suspended_at <= latest

    def is_over(self, now: datetime) -> bool:
        """Return whether the mark serves nothing more: the VM is not suspended by the run, and will not be.

        The difference counts in both directions, so that a clock that was put back keeps no mark for long.
        """
        return not self.suspended_by_run and abs(now - self.mark.began) > timedelta(seconds=SUSPEND_SECONDS)


def find_marked(session: Session, moref: str) -> MarkedVm | None:
    """Return a VM with the mark of the run that suspends it; ``None``: it carries none.

    :raises NotFoundError: there is no such VM.
    """
    with speaking(f"look for the run that suspends VM {moref}"):
        managed = session.vm(moref)
        return parse_marked(managed, read(session, managed, *PATHS))


def settle(session: Session, marked: MarkedVm) -> MarkedVm | None:
    """Wait for a suspension that vSphere still works on, and look again, because its caller may have died.

    Also without one: it may have ended since the caller looked.

    Writing out the memory of a large VM takes minutes, and until its end the VM counts as running.

    :returns: the VM as it is now; ``None``: its mark is gone.
    """
    moref = marked.vm.moref
    with speaking(f"look at the tasks of VM {marked.vm}"):
        tasks = read_listed(session, session.vm(moref), "recentTask", vim.Task, "info.descriptionId", "info.state")
    going_on = [
        task
        for task, info in tasks
        if info["info.descriptionId"] == _SUSPENDS and info["info.state"] in ("queued", "running")
    ]
    for task in going_on:
        log.warning("VM %s: run %s began to suspend it; waiting for the end of that", marked.vm, marked.mark.run)
        try:
            what = f"VM {marked.vm} being suspended"
            wait_task(session, task, what=what, timeout=SUSPEND_SECONDS, cancel=False)
        except TaskForgottenError:  # vCenter was restarted meanwhile, and the host goes on
            is_suspended = partial(_is_suspended, session, moref)
            await_sight(is_suspended, time.monotonic() + _FORGOTTEN_SECONDS)
        except (vmodl.MethodFault, DeadlineError) as error:
            log.debug("VM %s: task %s: %s", marked.vm, moref_of(task), error)
    return find_marked(session, moref)


def _is_suspended(session: Session, moref: str) -> bool | None:
    return True if power_state(session, moref) is PowerState.SUSPENDED else None


def suspend(session: Session, moref: str, mark: SuspendMark) -> bool:
    """Mark a running VM and suspend it. Return whether this call suspended it; else somebody else was faster.

    If vSphere does not answer in time, the mark stays, because the VM may be suspended later.
    """
    try:
        change_settings(session, moref, mark.settings, what=f"mark VM {moref}, which run {mark.run} suspends")
    except VSphereError as error:
        if error.fault == _WRONG_STATE:
            return False
        raise
    what = f"suspend VM {moref} for run {mark.run}"
    try:
        with speaking(what):
            run_task(
                session,
                lambda: session.vm(moref).SuspendVM_Task(),
                what=what,
                timeout=SUSPEND_SECONDS,
                look=lambda: _is_suspended(session, moref),
            )
    except VSphereError as error:
        with contextlib.suppress(VSphereError):
            unmark(session, moref)
        if error.fault == _WRONG_STATE:
            return False
        raise
    return True


def resume(session: Session, moref: str) -> bool:
    """Resume a VM and take the mark off it. Return whether it was not running before."""
    resumed = power_on(session, moref)
    unmark(session, moref)
    return resumed


def unmark(session: Session, moref: str) -> None:
    """Take the mark off a VM."""
    names = dict.fromkeys((SUSPENDED_BY, BEGAN, REPOSITORY), "")
    change_settings(session, moref, names, what=f"take the mark of a suspension off VM {moref}")


def parse_marked(vm: Any, values: Mapping[str, Any]) -> MarkedVm | None:
    """Return a VM with the mark of the run that suspends it; ``None``: it carries none.

    :param values: the properties of :data:`PATHS`.
    """
    settings = values_by_key(values["config.extraConfig"])
    if not settings.get(SUSPENDED_BY):
        return None
    try:
        began = datetime.fromisoformat(settings.get(BEGAN, ""))
    except ValueError:
        began = None
    if began is None or began.tzinfo is None:
        log.warning("VM %s carries a mark of a suspension without a time: left alone", moref_of(vm))
        return None
    return MarkedVm(
        vm=VmRef(moref=moref_of(vm), name=decode_name(values["name"] or "")),
        mark=SuspendMark(run=settings[SUSPENDED_BY], began=began, repository=settings.get(REPOSITORY, "")),
        power=PowerState(str(values["runtime.powerState"])),
        suspended_at=values["runtime.suspendTime"],
    )
