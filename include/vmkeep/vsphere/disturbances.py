"""Looks in vSphere's events for what may have written to the disks of a VM that is off now.

A VM that was switched on and off again looks as before: its power state is the same, and vSphere does not count that as
a change of the configuration.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from vmkeep.errors import UnsupportedError
from vmkeep.lateclass import dataclass
from vmkeep.vsphere.api import type_name, vim, vmodl
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.session import Session

_STARTS = (vim.event.VmPoweredOnEvent, vim.event.VmStartingEvent, vim.event.VmResumingEvent)
_TASKS = {"VirtualMachine.powerOn", "VirtualMachine.revertToSnapshot", "VirtualMachine.revertToCurrentSnapshot"}
"""The description ids of tasks that start a VM or put other content on its disks."""

_TOLD = 1000
"""Events that a vCenter returns at most for one question. Which of more events it leaves out is not documented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """An event that may have changed the content of a VM's disks."""

    what: str
    """vSphere's name of the event or the task."""
    at: datetime

    def __str__(self) -> str:
        """Return the event and its time."""
        return f"{self.what} at {self.at:%Y-%m-%d %H:%M:%S} UTC"


def find_disturbance(session: Session, moref: str, *, since: datetime) -> Disturbance | None:
    """Return the first event of a VM that may have changed its disks.

    A VM with more events than vCenter tells counts as disturbed, because the one that matters may be left out.

    :param since: a time by vCenter's clock.
    :raises UnsupportedError: the server keeps no events.
    """
    manager = session.content.eventManager
    unknown = UnsupportedError(
        f"{session.host} keeps no events, so nobody can tell whether VM {moref} stayed off: use a mode with a snapshot"
    )
    if manager is None:
        raise unknown
    kind = vim.event.EventFilterSpec
    with speaking(f"read the events of VM {moref}"):
        wanted = kind(
            entity=kind.ByEntity(entity=session.vm(moref), recursion=kind.RecursionOption.self),
            time=kind.ByTime(beginTime=since),
        )
        try:
            found = manager.QueryEvents(wanted) or ()
        except (vmodl.fault.NotSupported, vmodl.fault.NotImplemented):
            raise unknown from None
    if len(found) >= _TOLD:
        what = f"one of at least {len(found)} events, of which vCenter does not tell all"
        return Disturbance(what=what, at=since)
    disturbances = [disturbance for event in found if (disturbance := _disturbance(event)) is not None]
    return min(disturbances, key=lambda one: one.at, default=None)


def _disturbance(event: Any) -> Disturbance | None:
    if isinstance(event, _STARTS):
        what = type_name(event)
    elif isinstance(event, vim.event.TaskEvent) and event.info.descriptionId in _TASKS:
        what = str(event.info.descriptionId)
    else:
        return None
    return Disturbance(what=what, at=event.createdTime.astimezone(UTC))
