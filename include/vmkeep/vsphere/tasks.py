"""Waiting for vSphere's tasks: by WaitForUpdatesEx, never past the deadline, through lost connections and sessions."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

from vmkeep.errors import DeadlineError, TransientError, UnreachableError, VmKeepError
from vmkeep.vsphere.api import vim, vmodl
from vmkeep.vsphere.faults import message, translate
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session

_POLL_SECONDS = 20
"""Longest that one WaitForUpdatesEx may hold its connection: well below the time-out of a call."""
_RETRY_SECONDS = 1.0
_PATHS = ("info.state", "info.progress")


def run_task(session: Session, start: Callable[[], Any], *, what: str, timeout: float, cancel: bool = True) -> Any:
    """Start a task and wait for its end; its result is returned as vSphere gave it.

    Where another task holds the object, the start is tried again until the deadline.

    :raises VmKeepError: the task's fault, translated; ``DeadlineError`` names the state it was left in.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return wait_task(session, start(), what=what, timeout=deadline - time.monotonic(), cancel=cancel)
        except vim.fault.TaskInProgress as fault:
            if time.monotonic() + _RETRY_SECONDS >= deadline:
                raise DeadlineError(
                    waiting_for=f"{what}: another task holds it ({message(fault)})", seconds=timeout
                ) from None
            time.sleep(_RETRY_SECONDS)
        except vmodl.MethodFault as fault:
            raise translate(fault, what) from None


def wait_task(session: Session, task: Any, *, what: str, timeout: float, cancel: bool = True) -> Any:
    """Wait for a task that was started; return its result, or raise its own fault as pyVmomi's exception.

    :param cancel: ask a task that is not done in time to stop.
    :raises DeadlineError: it still runs.
    """
    deadline = time.monotonic() + timeout
    last = "no answer yet"
    while True:
        try:
            for state, progress in _states(session, task, deadline):
                last = state if progress is None else f"{state}, {progress} %"
                if state == vim.TaskInfo.State.success:
                    return read(session, task, "info.result")["info.result"]
                if state == vim.TaskInfo.State.error:
                    raise _outcome(session, task)
            break
        except (TransientError, UnreachableError, vmodl.query.InvalidCollectorVersion) as error:
            if time.monotonic() + _RETRY_SECONDS >= deadline:
                last = f"{last}; {error}"
                break
            time.sleep(_RETRY_SECONDS)
    if cancel:
        with contextlib.suppress(VmKeepError, vmodl.MethodFault):
            task.CancelTask()
    raise DeadlineError(waiting_for=f"{what} ({last})", seconds=timeout)


def _outcome(session: Session, task: Any) -> Any:
    error = read(session, task, "info.error")["info.error"]
    return error if error is not None else vmodl.fault.SystemError(reason="the task failed and gave no reason")


def _states(session: Session, task: Any, deadline: float) -> Any:
    """Yield (state, progress) at each change until the deadline, through a collector of this wait's own.

    A collector belongs to one session and serves one waiter; so each wait makes one and destroys it.
    """
    kinds = vmodl.query.PropertyCollector
    collector = session.content.propertyCollector.CreatePropertyCollector()
    try:
        spec = kinds.FilterSpec(
            objectSet=[kinds.ObjectSpec(obj=task)], propSet=[kinds.PropertySpec(type=vim.Task, pathSet=list(_PATHS))]
        )
        collector.CreateFilter(spec, False)
        known: dict[str, Any] = {}
        version = ""
        while (remaining := deadline - time.monotonic()) > 0:
            options = kinds.WaitOptions(maxWaitSeconds=max(1, min(_POLL_SECONDS, math.ceil(remaining))))
            update = collector.WaitForUpdatesEx(version, options)
            if update is None:
                # Nothing changed for a while; ask outright, so that no lost update can hold a wait to its deadline.
                known = read(session, task, *_PATHS)
            else:
                version = update.version
                known.update((change.name, change.val) for change in _changes(update))
            if known.get("info.state") is not None:
                yield known["info.state"], known.get("info.progress")
    finally:
        with contextlib.suppress(VmKeepError, vmodl.MethodFault):
            collector.DestroyPropertyCollector()


def _changes(update: Any) -> Any:
    for found in update.filterSet or ():
        for item in found.objectSet or ():
            yield from item.changeSet or ()
