"""VMware snapshots that belong to a run: taken, found again by the run's key, removed without a rest.

A snapshot carries its run, and the id of its repository, in the description, as JSON, since vSphere limits and
re-encodes names. Every function may be called again after a crash or a lost reply.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vmkeep.errors import (
    DeadlineError,
    NotFoundError,
    QuiesceFailedError,
    StaleError,
    TaskForgottenError,
    TransientError,
    VmOutOfReachError,
    VSphereError,
)
from vmkeep.vsphere import protection
from vmkeep.vsphere.api import moref_of, vim, vmodl
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import await_sight, run_task, wait_task

__all__ = [
    "QuiesceFailedError",
    "VmSnapshot",
    "consolidate_if_needed",
    "create",
    "find_by_run",
    "list_all",
    "list_ours",
    "remove",
    "require",
    "revert",
]

log = logging.getLogger(__name__)

CREATE_SECONDS = 900.0
REMOVE_SECONDS = 24 * 3600.0
"""Merging a large delta of a busy VM takes hours, also over a restart of vCenter, and giving up helps nobody."""
FORGOTTEN_SECONDS = 60.0
"""Time for looking for a snapshot whose task was forgotten, before it is taken anew."""
_NAME_LENGTH = 80
_RETRY_SECONDS = 2.0
_CONSOLIDATIONS = 3
_QUIESCE_FAULTS = {"ApplicationQuiesceFault", "FilesystemQuiesceFault", "ToolsUnavailable"}
_QUIESCE_KEY = re.compile("quiesc", re.IGNORECASE)
"""In keys of messages, e.g. ``msg.snapshot.error-QUIESCINGERROR``."""
_TELL_NOTHING = {"SnapshotFault", "GenericVmConfigFault", "SystemError"}
_GENERAL = {"VmConfigFault"}
"""Types that say little themselves, but are not what vSphere gives for a quiescing that failed without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSnapshot:
    """A snapshot in a VM's tree."""

    moref: str
    name: str
    run: str
    """Key of the run that took it; empty for a snapshot that is not ours."""
    repository: str | None = None
    """The repository that the run backs up into, by its id; older programs did not tell."""
    created_at: datetime
    call: str = ""
    """The one call that took it; older programs did not tell."""
    quiesced: bool
    """True if vSphere says so. It also does where no VMware Tools run; see :func:`create`."""

    def is_of_other(self, repository: str) -> bool:
        """Whether it is known to be of a run into another repository, which alone knows whether that run is alive."""
        return self.repository is not None and self.repository != repository


def create(
    session: Session,
    moref: str,
    *,
    run: str,
    repository: str | None = None,
    quiesce: bool,
    memory: bool = False,
    timeout: float = CREATE_SECONDS,
) -> VmSnapshot:
    """Take a snapshot for a run.

    vSphere ignores ``quiesce`` for a VM that is off or runs no VMware Tools, and may still call the snapshot
    quiesced: whether it was possible is for the caller to know.

    :raises QuiesceFailedError: the guest could not be quiesced; there is no snapshot.
    :raises DeadlineError: not done in time; a snapshot may still appear, :func:`find_by_run` waits for it.
    """
    what = f"snapshot VM {moref} for run {run}"
    call = uuid.uuid4().hex
    told = {"run": run, "call": call} | ({} if repository is None else {"repository": repository})
    description = json.dumps({"vmkeep": told})

    def start() -> Any:
        return session.vm(moref).CreateSnapshot_Task(_name(run), description, memory, quiesce)

    def look() -> Any:
        taken = [snapshot.moref for snapshot in list_all(session, moref) if snapshot.call == call]
        return session.managed(vim.vm.Snapshot, taken[0]) if taken else None

    try:
        with speaking(what):
            made = run_task(session, start, what=what, timeout=timeout, look=look, settle=FORGOTTEN_SECONDS)
    except VSphereError as error:
        if quiesce and _is_quiesce_failure(error):
            raise QuiesceFailedError(str(error), fault=error.fault) from None
        raise
    found = [snapshot for snapshot in list_all(session, moref) if snapshot.moref == moref_of(made)]
    if not found:
        raise StaleError(f"{what}: vSphere made snapshot {moref_of(made)}, but it is gone already; start again")
    return found[0]


def list_all(session: Session, moref: str) -> tuple[VmSnapshot, ...]:
    """Return every snapshot of a VM, parents before children.

    :raises VmOutOfReachError: vSphere shows none, and no configuration either: there may be some.
    """
    with speaking(f"list the snapshots of VM {moref}"):
        values = read(session, session.vm(moref), "snapshot", *protection.PATHS)
    info = values["snapshot"]
    if info is None and values["config.version"] is None:
        why = protection.no_configuration(values["runtime.connectionState"])
        raise VmOutOfReachError(f"VM {moref}: which snapshots it has is not known: {why}")
    return tuple(_snapshot(tree) for tree in _walk(info.rootSnapshotList)) if info is not None else ()


def list_ours(session: Session, moref: str) -> tuple[VmSnapshot, ...]:
    """Return the snapshots that some run of vmkeep has taken and not removed; waits for one being taken."""
    _await_running_creates(session, moref)
    return tuple(snapshot for snapshot in list_all(session, moref) if snapshot.run)


def find_by_run(session: Session, moref: str, run: str) -> tuple[VmSnapshot, ...]:
    """Return the snapshots of one run; waits for one being taken. A VM that is gone has none."""
    try:
        return tuple(snapshot for snapshot in list_ours(session, moref) if snapshot.run == run)
    except NotFoundError:
        return ()


def require(session: Session, moref: str, snapshot: str) -> None:
    """Make sure that a snapshot is still there.

    :raises StaleError: it is gone; what was planned on it has to be planned again.
    """
    if snapshot not in {known.moref for known in list_all(session, moref)}:
        raise StaleError(f"VM {moref}: snapshot {snapshot} is gone; start a new run")


def remove(session: Session, moref: str, snapshot: str, *, timeout: float = REMOVE_SECONDS) -> None:
    """Remove one snapshot, merge its disks, and look whether anything is left. One that is gone is success.

    :raises VSphereError: it is still there, or its disks could not be consolidated: a person has to look.
    :raises DeadlineError: not done in time; vSphere goes on by itself, and calling again waits again.
    """
    what = f"remove snapshot {snapshot} of VM {moref}"
    deadline = time.monotonic() + timeout
    target = session.managed(vim.vm.Snapshot, snapshot)
    while _is_there(session, moref, snapshot):
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
            break  # somebody else removed it meanwhile
        except TransientError as error:
            # The reply was lost or the host was busy: the removal may run or not, so look again.
            if time.monotonic() + _RETRY_SECONDS >= deadline:
                raise DeadlineError(waiting_for=f"{what} ({error})", seconds=timeout) from None
            time.sleep(_RETRY_SECONDS)
        else:
            if _is_there(session, moref, snapshot):
                raise VSphereError(
                    f"{what}: vSphere reported success, but the snapshot is still there; remove it by hand"
                )
    consolidate_if_needed(session, moref, timeout=deadline - time.monotonic())


def consolidate_if_needed(session: Session, moref: str, *, timeout: float = REMOVE_SECONDS) -> bool:
    """Consolidate a VM's disks where vSphere says that they need it; return whether it was needed.

    :raises VSphereError: they still need it afterwards.
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
        except (VSphereError, TransientError) as failed:  # most often a file that somebody holds for a moment longer
            error = failed
    if _needs_consolidation(session, moref):
        why = f" ({error})" if error else ""
        raise VSphereError(
            f"VM {moref}: its disks still need consolidation{why}; see that no proxy holds a disk and the datastore "
            "has room, then consolidate by hand: the delta disks grow until then",
            fault=error.fault if isinstance(error, VSphereError) else "",
        )
    return True


def revert(session: Session, moref: str, snapshot: str) -> None:
    """Put a VM back to a snapshot, powered off where the snapshot holds no memory."""
    what = f"revert VM {moref} to snapshot {snapshot}"
    target = session.managed(vim.vm.Snapshot, snapshot)
    with speaking(what):
        # A VM that was put back looks as one that runs on that snapshot; and putting it back twice does no harm.
        run_task(
            session,
            lambda: target.RevertToSnapshot_Task(None, True),
            what=what,
            timeout=CREATE_SECONDS,
            look=lambda: None,
            settle=0.0,
        )


def _is_quiesce_failure(error: VSphereError) -> bool:
    """Whether quiescing failed, or may have: a fault of a general type says so at most by a cause or a message's key.

    Text decides nothing, because vCenter speaks its administrator's language. Where a fault tells no reason at all, a
    snapshot without quiescing tells: if that fails too, its error is the one to report. A fault of any other type
    says itself what went wrong.
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


def _name(run: str) -> str:
    return f"vmkeep {run}"[:_NAME_LENGTH]


def _walk(trees: Iterable[Any]) -> Iterator[Any]:
    waiting = list(trees or ())
    while waiting:
        tree = waiting.pop(0)
        yield tree
        waiting.extend(tree.childSnapshotList or ())


def _snapshot(tree: Any) -> VmSnapshot:
    told = _told(tree.description)
    return VmSnapshot(
        moref=moref_of(tree.snapshot),
        name=tree.name,
        run=told.get("run", ""),
        repository=told.get("repository") or None,
        created_at=tree.createTime.astimezone(UTC),
        call=told.get("call", ""),
        quiesced=bool(tree.quiesced),
    )


def _told(description: str | None) -> dict[str, str]:
    """Return what the description of a snapshot says of its run; nothing where it is not ours."""
    try:
        told = json.loads(description or "")["vmkeep"]
        return {name: str(told[name]) for name in ("run", "repository", "call") if name in told}
    except (ValueError, KeyError, TypeError):
        return {}


def _is_there(session: Session, moref: str, snapshot: str) -> bool:
    try:
        return snapshot in {known.moref for known in list_all(session, moref)}
    except NotFoundError:
        return False


def _needs_consolidation(session: Session, moref: str) -> bool:
    with speaking(f"look at the disks of VM {moref}"):
        return bool(read(session, session.vm(moref), "runtime.consolidationNeeded")["runtime.consolidationNeeded"])


def _await_running_creates(session: Session, moref: str) -> None:
    """Wait for snapshots being taken: one whose caller died shows up only when it is done."""
    with speaking(f"look at the tasks of VM {moref}"):
        before = list_all(session, moref)
        for task in read(session, session.vm(moref), "recentTask")["recentTask"] or ():
            try:
                info = read(session, task, "info")["info"]
                if info.descriptionId == "VirtualMachine.createSnapshot" and info.state in ("queued", "running"):
                    wait_task(
                        session,
                        task,
                        what=f"a snapshot of VM {moref} being taken",
                        timeout=CREATE_SECONDS,
                        cancel=False,
                    )
            except TaskForgottenError:
                # vCenter was restarted during the wait: the host goes on, and the snapshot may still appear.
                until = time.monotonic() + FORGOTTEN_SECONDS
                await_sight(lambda: None if list_all(session, moref) == before else True, until)
            except (vmodl.MethodFault, DeadlineError) as error:
                # It failed, or it is over so long that vSphere has forgotten it, or it never ends.
                log.debug("VM %s: task %s: %s", moref, moref_of(task), error)
