"""Takes the snapshots of runs, finds them again by the run's key, and removes them completely.

A snapshot's description holds its run and the id of its repository, as JSON, because vSphere limits and re-encodes
names. Every function may be called again after a crash or a lost reply.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, Final

from vmkeep.errors import (
    DeadlineError,
    NotFoundError,
    QuiesceFailedError,
    StaleError,
    TaskForgottenError,
    TransientError,
    VmKeepError,
    VSphereError,
)
from vmkeep.lateclass import dataclass
from vmkeep.vsphere import protection
from vmkeep.vsphere.api import moref_of, vim, vmodl
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import look_at, read, read_listed
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.snapshottree import VmSnapshot, describe, in_tree, list_all
from vmkeep.vsphere.tasks import await_sight, run_task, wait_task

__all__ = [
    "ALONG",
    "PATHS",
    "REMOVE_SECONDS",
    "QuiesceFailedError",
    "SeenSnapshots",
    "VmSnapshot",
    "consolidate_if_needed",
    "create",
    "discard",
    "find_by_run",
    "in_tree",
    "list_all",
    "list_ours",
    "list_seen",
    "remove",
    "require",
    "revert",
    "see_ours",
]

log = logging.getLogger(__name__)

CREATE_SECONDS = 900.0
REMOVE_SECONDS = 24 * 3600.0
"""Seconds to remove a snapshot. Merging a large delta of a busy VM takes hours, and giving up would not help."""
FORGOTTEN_SECONDS = 60.0
"""Seconds to look for a snapshot whose task was forgotten, before it is taken again."""
_CREATES = "VirtualMachine.createSnapshot"
"""The description id of a task that takes a snapshot."""
_NAME_LENGTH = 80
_RETRY_SECONDS = 2.0
_CONSOLIDATIONS = 3
_CONSOLIDATION = "runtime.consolidationNeeded"
_POWER = "runtime.powerState"
_OF_TASKS = ("info.descriptionId", "info.state")
PATHS: Final = ("snapshot", *protection.PATHS)
"""Names of a VM's own properties that tell its snapshots."""
ALONG: Final = {("recentTask", vim.Task): _OF_TASKS}
"""The reference from a VM to its tasks, and the properties that tell whether one of them takes a snapshot."""
_QUIESCE_FAULTS = {"ApplicationQuiesceFault", "FilesystemQuiesceFault", "ToolsUnavailable"}
_QUIESCE_KEY = re.compile("quiesc", re.IGNORECASE)
"""Pattern for keys of vSphere's messages, e.g. ``msg.snapshot.error-QUIESCINGERROR``."""
_TELL_NOTHING = {"SnapshotFault", "GenericVmConfigFault", "SystemError"}
_GENERAL = {"VmConfigFault"}
"""Types of fault that may have quiescing as a cause, but only if a cause or a message's key says so."""


def create(
    session: Session,
    moref: str,
    *,
    run: str,
    repository: str | None = None,
    quiesce: bool,
    memory: bool = False,
    undo: bool = False,
    below: bool = False,
    timeout: float = CREATE_SECONDS,
) -> VmSnapshot:
    """Take a snapshot for a run.

    vSphere ignores ``quiesce`` for a VM that is off or runs no VMware Tools, and may still call the snapshot quiesced.
    So the caller has to know whether quiescing was possible.

    :param memory: the snapshot includes the VM's memory.
    :param undo: the snapshot is kept after the run, so that a restore can be undone. No clean-up removes it.
    :param below: the disks below the snapshot are going to be written, so that only :func:`discard` removes it.
    :param timeout: seconds.
    :raises QuiesceFailedError: the guest could not be quiesced. There is no snapshot.
    :raises DeadlineError: the task did not end in time. A snapshot may still appear; :func:`find_by_run` waits for it.
    """
    what = f"snapshot VM {moref} for run {run}"
    call = uuid.uuid4().hex
    description = describe(run=run, call=call, repository=repository, undo=undo, below=below)

    def start() -> Any:
        return session.vm(moref).CreateSnapshot_Task(_name(run, undo=undo), description, memory, quiesce)

    def look() -> Any:
        taken = [snapshot.moref for snapshot in list_all(session, moref) if snapshot.call == call]
        return session.managed(vim.vm.Snapshot, taken[0]) if taken else None

    try:
        with speaking(what):
            made = run_task(
                session, start, what=what, timeout=timeout, look=look, settle=FORGOTTEN_SECONDS, result=True
            )
    except VSphereError as error:
        if quiesce and _is_quiesce_failure(error):
            raise QuiesceFailedError(str(error), fault=error.fault) from None
        raise
    found = [snapshot for snapshot in list_all(session, moref) if snapshot.moref == moref_of(made)]
    if not found:
        raise StaleError(f"{what}: vSphere made snapshot {moref_of(made)}, but it is gone already; start again")
    return found[0]


def list_ours(session: Session, moref: str) -> tuple[VmSnapshot, ...]:
    """Wait for snapshots that are being taken. Return those that any run of vmkeep has taken and not removed."""
    with look_at(session, session.vm(moref), *PATHS, along=ALONG):
        seen = see_ours(session, moref)
    return list_seen(session, moref, seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSnapshots:
    """The answer of one look at the snapshots that runs have taken of a VM."""

    creating: tuple[tuple[Any, Mapping[str, Any]], ...]
    """The recent tasks that take a snapshot of the VM, ended ones included."""
    ours: tuple[VmSnapshot, ...]
    """The snapshots, if there is no such task."""

    @property
    def going_on(self) -> tuple[Any, ...]:
        """The tasks that had not ended."""
        return tuple(task for task, info in self.creating if info["info.state"] in ("queued", "running"))


def see_ours(session: Session, moref: str) -> SeenSnapshots:
    """Look at the snapshots that runs have taken. To be called in a look at ``PATHS`` and ``ALONG``."""
    creating = _creating(session, moref)
    return SeenSnapshots(creating=creating, ours=() if creating else _of_runs(list_all(session, moref)))


def list_seen(session: Session, moref: str, seen: SeenSnapshots) -> tuple[VmSnapshot, ...]:
    """Wait for snapshots that were seen being taken, and return those that any run has taken and not removed."""
    if not seen.creating:
        return seen.ours
    for task in seen.going_on:  # because a snapshot whose caller died appears only when it is done
        with speaking(f"look at the tasks of VM {moref}"):
            _await_create(session, moref, task)
    # Asked again, because one answer may show a task that has ended, and a list from before its end.
    return _of_runs(list_all(session, moref))


def _of_runs(found: Iterable[VmSnapshot]) -> tuple[VmSnapshot, ...]:
    return tuple(snapshot for snapshot in found if snapshot.run)


def find_by_run(session: Session, moref: str, run: str) -> tuple[VmSnapshot, ...]:
    """Wait for snapshots that are being taken. Return those of one run. A VM that is gone has none."""
    try:
        return tuple(snapshot for snapshot in list_ours(session, moref) if snapshot.run == run)
    except NotFoundError:
        return ()


def require(session: Session, moref: str, snapshot: str) -> None:
    """Return if a snapshot is still there.

    :raises StaleError: the snapshot is gone, so that the run has to plan again.
    """
    if snapshot not in {known.moref for known in list_all(session, moref)}:
        raise StaleError(f"VM {moref}: snapshot {snapshot} is gone; start a new run")


def remove(session: Session, moref: str, snapshot: str, *, timeout: float = REMOVE_SECONDS) -> None:
    """Remove one snapshot, merge its disks, and look whether anything is left. A snapshot that is gone is success.

    :param timeout: seconds.
    :raises VSphereError: the snapshot is still there, or its disks could not be consolidated. A person has to look.
    :raises DeadlineError: the removal did not end in time. vSphere goes on by itself, and another call waits again.
    """
    what = f"remove snapshot {snapshot} of VM {moref}"
    deadline = time.monotonic() + timeout
    target = session.managed(vim.vm.Snapshot, snapshot)
    for attempt in count():
        if attempt and not _is_there(session, moref, snapshot):
            break
        try:
            left = deadline - time.monotonic()
            run_task(
                session,
                lambda: _start_removal(target),
                what=what,
                timeout=left,
                look=lambda: None if _is_there(session, moref, snapshot) else True,
                cancel=False,
            )
        except NotFoundError:
            break  # another process or person removed it meanwhile
        except VSphereError as error:
            raise _may_end(error) from None
        except TransientError as error:
            # The reply was lost or the host was busy. The removal may run or not, so look again.
            if time.monotonic() + _RETRY_SECONDS >= deadline:
                raise DeadlineError(waiting_for=f"{what} ({error})", seconds=timeout) from None
            time.sleep(_RETRY_SECONDS)
        else:
            with look_at(session, session.vm(moref), "snapshot", *protection.PATHS, _CONSOLIDATION):
                if _is_there(session, moref, snapshot):
                    raise VSphereError(
                        f"{what}: vSphere reported success, but the snapshot is still there; remove it by hand"
                    )
                if not _needs_consolidation(session, moref):
                    return
            break
    consolidate_if_needed(session, moref, timeout=deadline - time.monotonic())


def discard(session: Session, moref: str, snapshot: VmSnapshot, *, timeout: float = REMOVE_SECONDS) -> None:
    """Remove a snapshot of a run, whatever it was taken for. A snapshot that is gone is success.

    If the disks below it were written, the VM is first put back to it, because its current disks do not fit them any
    more. A VM that is not off is not put back: it could not have been started on such disks.

    :param timeout: seconds.
    """
    if snapshot.below and _is_there(session, moref, snapshot.moref) and _is_off(session, moref):
        revert(session, moref, snapshot.moref)
    remove(session, moref, snapshot.moref, timeout=timeout)


def _is_off(session: Session, moref: str) -> bool:
    with speaking(f"look at the power of VM {moref}"):
        return str(read(session, session.vm(moref), _POWER)[_POWER]) == "poweredOff"


def consolidate_if_needed(session: Session, moref: str, *, timeout: float = REMOVE_SECONDS) -> bool:
    """Consolidate a VM's disks if vSphere says that they need it. Return whether they needed it.

    :raises VSphereError: the disks still need it afterwards.
    """
    what = f"consolidate the disks of VM {moref}"
    deadline = time.monotonic() + timeout
    error: VSphereError | TransientError | None = None
    for attempt in range(_CONSOLIDATIONS):
        try:
            if not _needs_consolidation(session, moref):
                return attempt > 0
        except NotFoundError:
            return False  # the VM itself is gone
        if attempt:
            time.sleep(_RETRY_SECONDS)
        log.warning("VM %s: its disks need consolidation", moref)
        try:
            with speaking(what):
                left = deadline - time.monotonic()
                run_task(
                    session,
                    session.vm(moref).ConsolidateVMDisks_Task,
                    what=what,
                    timeout=left,
                    look=lambda: None if _needs_consolidation(session, moref) else True,
                    cancel=False,
                )
        except (VSphereError, TransientError) as failed:  # mostly because a process holds a file a moment longer
            error = failed
    if _needs_consolidation(session, moref):
        why = f" ({error})" if error else ""
        unmerged = VSphereError(
            f"VM {moref}: its disks still need consolidation{why}; see that no proxy holds a disk and the datastore "
            "has room, then consolidate by hand: the delta disks grow until then",
            fault=error.fault if isinstance(error, VSphereError) else "",
        )
        raise _may_end(unmerged)
    return True


def _may_end(error: VSphereError) -> VmKeepError:
    """Return the error to raise where disks could not be merged.

    A lock ends with its holder, mostly a copy that was killed a moment ago: its host keeps the disk open for a while.
    """
    if error.fault != "FileLocked":
        return error
    return TransientError(f"{error}; if a copy that was killed holds it, its host lets it go within minutes: try again")


def revert(session: Session, moref: str, snapshot: str) -> None:
    """Put a VM back to a snapshot. The VM is off afterwards if the snapshot holds no memory."""
    what = f"revert VM {moref} to snapshot {snapshot}"
    target = session.managed(vim.vm.Snapshot, snapshot)
    with speaking(what):
        # Nothing shows that a VM was put back. A forgotten task is started again, because that does no harm.
        run_task(
            session,
            lambda: target.RevertToSnapshot_Task(None, True),
            what=what,
            timeout=CREATE_SECONDS,
            look=lambda: None,
            settle=0.0,
        )


def _is_quiesce_failure(error: VSphereError) -> bool:
    """Return whether a snapshot failed, or may have failed, because of quiescing.

    Some types of fault name quiescing. A fault of a general type does so at most by a cause or by the key of a message.
    The text of a message decides nothing, because vCenter speaks its administrator's language. A fault that tells no
    reason at all counts too: the caller then tries without quiescing, and reports the error of that if it fails.
    """
    if error.fault in _QUIESCE_FAULTS | _TELL_NOTHING:
        return True
    if error.fault not in _GENERAL:
        return False
    return bool(_QUIESCE_FAULTS & set(error.keys)) or any(_QUIESCE_KEY.search(key) for key in error.keys)


def _start_removal(target: Any) -> Any:
    try:
        return target.RemoveSnapshot_Task(False, True)
    except vmodl.fault.ManagedObjectNotFound:
        raise NotFoundError("the snapshot is gone") from None


def _name(run: str, *, undo: bool) -> str:
    return f"vmkeep {'undo ' if undo else ''}{run}"[:_NAME_LENGTH]


def _is_there(session: Session, moref: str, snapshot: str) -> bool:
    try:
        return snapshot in {known.moref for known in list_all(session, moref)}
    except NotFoundError:
        return False


def _needs_consolidation(session: Session, moref: str) -> bool:
    with speaking(f"look at the disks of VM {moref}"):
        return bool(read(session, session.vm(moref), _CONSOLIDATION)[_CONSOLIDATION])


def _creating(session: Session, moref: str) -> tuple[tuple[Any, Mapping[str, Any]], ...]:
    """Return the recent tasks that take a snapshot of a VM, ended ones included."""
    with speaking(f"look at the tasks of VM {moref}"):
        tasks = read_listed(session, session.vm(moref), "recentTask", vim.Task, *_OF_TASKS)
    return tuple((task, info) for task, info in tasks if info["info.descriptionId"] == _CREATES)


def _await_create(session: Session, moref: str, task: Any) -> None:
    before = list_all(session, moref)
    try:
        wait_task(session, task, what=f"a snapshot of VM {moref} being taken", timeout=CREATE_SECONDS, cancel=False)
    except TaskForgottenError:
        # vCenter was restarted during the wait. The host goes on, and the snapshot may still appear.
        until = time.monotonic() + FORGOTTEN_SECONDS
        await_sight(lambda: None if list_all(session, moref) == before else True, until)
    except (vmodl.MethodFault, DeadlineError) as error:
        # The task failed, or vSphere has forgotten it, or it never ends. No snapshot is to be waited for.
        log.debug("VM %s: task %s: %s", moref, moref_of(task), error)
