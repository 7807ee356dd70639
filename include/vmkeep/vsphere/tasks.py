"""Starts vSphere's tasks and waits for them by WaitForUpdatesEx, until a deadline, through lost connections.

A restarted vCenter forgets its tasks, while its hosts go on with the work. A forgotten task is neither a success nor a
failure, so the caller that starts a task also passes a function that looks for the result.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from vmkeep.errors import DeadlineError, TaskForgottenError, TransientError, UnreachableError, VmKeepError
from vmkeep.vsphere.api import moref_of, vim, vmodl
from vmkeep.vsphere.faults import message, translate
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

SETTLE_SECONDS = 10.0
"""Seconds in which a restarted vCenter learns from its hosts what they have done meanwhile."""
_TELL_SECONDS = 60.0
"""Seconds between two log lines about the progress of a long task."""
_POLL_SECONDS = 20
"""Seconds that one WaitForUpdatesEx may wait; well below the time limit of a call."""
_RETRY_SECONDS = 1.0
_NO_REASON = "the task failed and gave no reason"
_STATE, _PROGRESS, _RESULT, _ERROR = _PATHS = ("info.state", "info.progress", "info.result", "info.error")
"""The fields that a wait needs. No others are read, because a server may send some that pyVmomi refuses."""


def run_task(
    session: Session,
    start: Callable[[], Any],
    *,
    what: str,
    timeout: float,
    look: Callable[[], Any],
    again: bool = True,
    settle: float | None = None,
    result: bool = False,
    cancel: bool = True,
) -> Any:
    """Start a task, wait for its end, and return its result as vSphere gave it.

    If another task holds the object, the start is tried again until the deadline.

    :param what: the action with its object, for messages.
    :param timeout: seconds.
    :param look: called if the task is forgotten. It returns a stand-in for the result if the work is done, and ``None``
        if no trace of the work is there (yet).
    :param again: a forgotten task may be started again if ``look`` finds nothing for ``settle`` seconds.
    :param settle: ``None`` stands for :data:`SETTLE_SECONDS`.
    :param result: the caller needs the result, as in :func:`wait_task`.
    :param cancel: a task that does not end in time is asked to stop.
    :raises TaskForgottenError: the task is forgotten, its work is not seen, and it may not be started again.
    :raises VmKeepError: the task's fault, translated. A ``DeadlineError`` names the state in which the task was left.
    """
    deadline = time.monotonic() + timeout
    forgotten = False
    while True:
        try:
            left = deadline - time.monotonic()
            return wait_task(session, start(), what=what, timeout=left, result=result, cancel=cancel)
        except vim.fault.TaskInProgress as fault:
            if time.monotonic() + _RETRY_SECONDS >= deadline:
                holder = f"task {moref_of(fault.task)}" if fault.task is not None else "another task"
                waiting_for = f"{what}: {holder} holds it ({message(fault)})"
                raise DeadlineError(waiting_for=waiting_for, seconds=timeout) from None
            time.sleep(_RETRY_SECONDS)
            found = look() if forgotten else None
        except TaskForgottenError as error:
            log.warning("%s", error)
            forgotten = True
            patience = SETTLE_SECONDS if settle is None else settle
            found = await_sight(look, min(deadline, time.monotonic() + patience))
            if found is None and (not again or time.monotonic() >= deadline):
                raise
        except vmodl.MethodFault as fault:
            found = look() if forgotten else None  # the second start may fail because the first one did the work
            if found is None:
                raise translate(fault, what) from None
        if found is not None:
            return found


def await_sight(look: Callable[[], Any], until: float) -> Any:
    """Call ``look`` until it returns something or the time is over. A restarting vCenter is waited for.

    :param until: a time of :func:`time.monotonic`.
    """
    while True:
        with contextlib.suppress(TransientError, UnreachableError):
            if (found := look()) is not None:
                return found
        if time.monotonic() >= until:
            return None
        time.sleep(min(_RETRY_SECONDS, max(0.0, until - time.monotonic())))


def wait_task(
    session: Session, task: Any, *, what: str, timeout: float, result: bool = False, cancel: bool = True
) -> Any:
    """Wait for a task that was started. Return its result, or raise its fault as pyVmomi's exception.

    :param timeout: seconds.
    :param result: the caller needs the result. A call of its own reads it if it does not come with the state.
    :param cancel: a task that does not end in time is asked to stop.
    :raises TaskForgottenError: the server does not know the task, or not any more.
    :raises DeadlineError: the task still runs.
    """
    deadline = time.monotonic() + timeout
    seen = _Seen(what)
    while True:
        try:
            for info in _infos(session, task, deadline):
                seen.tell(info[_STATE], info.get(_PROGRESS))
                if info[_STATE] == vim.TaskInfo.State.success:
                    return _told(session, task, info, _RESULT) if result else info.get(_RESULT)
                if info[_STATE] == vim.TaskInfo.State.error:
                    fault = _told(session, task, info, _ERROR) or vmodl.fault.SystemError(reason=_NO_REASON)
                    break
            else:
                break
        except (TransientError, UnreachableError, *_OF_THE_WAIT) as error:
            if _is_lost(error, task):
                raise TaskForgottenError(
                    f"{what}: the server has forgotten the task ({seen.last}), as it does when it is restarted"
                ) from None
            if time.monotonic() + _RETRY_SECONDS >= deadline:
                seen.last = f"{seen.last}; {error if isinstance(error, VmKeepError) else message(error)}"
                break
            time.sleep(_RETRY_SECONDS)
        else:
            raise fault
    if cancel:
        with contextlib.suppress(VmKeepError, vmodl.MethodFault):
            task.CancelTask()
    raise DeadlineError(waiting_for=f"{what} ({seen.last})", seconds=timeout)


_OF_THE_WAIT = (
    vmodl.query.InvalidCollectorVersion,
    vmodl.fault.RequestCanceled,
    vmodl.fault.ManagedObjectNotFound,
)
"""Faults of a wait whose collector is gone, as it is after its session. They say nothing about the task."""


def _is_lost(error: Any, task: Any) -> bool:
    return isinstance(error, vmodl.fault.ManagedObjectNotFound) and moref_of(error.obj) == moref_of(task)


class _Seen:
    """The last state that was seen of a task. It is logged now and then, because some tasks take hours."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._told = time.monotonic()
        self.last = "no answer yet"

    def tell(self, state: str, progress: int | None) -> None:
        self.last = state if progress is None else f"{state}, {progress} %"
        if time.monotonic() - self._told >= _TELL_SECONDS:
            self._told = time.monotonic()
            log.info("%s: %s", self._what, self.last)


def _told(session: Session, task: Any, info: dict[str, Any], path: str) -> Any:
    """Return a field of a task that has ended. It is read if it has not come with the state."""
    found = info.get(path)
    return found if found is not None else read(session, task, path)[path]


def _infos(session: Session, task: Any, deadline: float) -> Iterator[dict[str, Any]]:
    """Yield the fields of a task at each change until the deadline, once its state is known.

    Each wait makes and destroys a property collector, because a collector belongs to one session and serves one wait.
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
                # Nothing changed for a while. Read the state, because a lost update would hold up the wait.
                known = read(session, task, *_PATHS)
            else:
                version = update.version
                known |= {change.name: change.val for change in _changes(update)}
            if known.get(_STATE) is not None:
                yield known
    finally:
        with contextlib.suppress(VmKeepError, vmodl.MethodFault):
            collector.DestroyPropertyCollector()


def _changes(update: Any) -> Any:
    for found in update.filterSet or ():
        for item in found.objectSet or ():
            yield from item.changeSet or ()
