"""The page of a restore that the wizard has started: how far it is while it works, and how it ended. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from vmkeep.flows.attach_values import Attached
from vmkeep.flows.restore_values import Restored, RestorePlan
from vmkeep.flows.restored_wording import RestoreOutcome, outcome_of
from vmkeep.lateclass import dataclass
from vmkeep.model.fieldwords import in_params
from vmkeep.web.restore import PointHead
from vmkeep.web.restore_fields import RestoreKind
from vmkeep.web.restore_plan import kind_of
from vmkeep.web.states import RestoreState, TaskState
from vmkeep.web.task_rows import TaskRow, task_row
from vmkeep.web.words import Moment, length, moment, plain
from vmkeep.web.work import WorkTask

_OF_RUN: Final = {"queued": RestoreState.WAITING, "running": RestoreState.AT_WORK, "failed": RestoreState.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRun:
    """A DAG run that restores, as Airflow tells it."""

    dag_id: str
    run_id: str
    conf: Mapping[str, Any]
    state: str
    by: str
    """Name of the user who started it."""
    note: str
    """The VM on its first line; at the end, how the run went."""
    since: datetime | None
    """The start of the run; ``None``: it has not begun."""
    ended: datetime | None
    has_restored: bool
    """The task that finishes the restore has left its result."""
    result: Restored | Attached | None = None
    """The result; ``None``: there is none, or another version of vmkeep has left it."""
    plan: RestorePlan | None = None
    """The plan that was carried out; ``None``: there is none that can be read."""
    tasks: tuple[WorkTask, ...] = ()
    """Tasks that have not ended."""
    more_tasks: int = 0
    """Further tasks that have not ended."""
    disks_done: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreStartedPage:
    """Everything on the page."""

    at: Moment
    dag_id: str
    run_id: str
    kind: RestoreKind
    title: str
    state: RestoreState
    label: str
    tone: str
    sentence: str
    moves: bool
    """The restore has not ended, so that the page changes by itself."""
    about: str
    """The VM, the time of its point, and where to; empty: the run does not tell."""
    head: PointHead | None
    """The point with its VM; ``None``: no catalog lists it now."""
    by: str
    since: Moment | None
    ended: Moment | None
    took: str
    """The time from the start to the end, or until now; empty: the run has not begun."""
    tasks: tuple[TaskRow, ...]
    more_tasks: int
    disks_done: int
    lines: tuple[str, ...]
    """How the run went, from its note: the bytes that were written, or the task that failed and its cause."""
    vm_name: str
    """Name of the VM that was made, was written over, or got disks; empty: the run has not ended well."""
    client: str
    """Address of that VM in the vSphere Client; empty: it is not known."""
    outcome: tuple[str, ...]
    """Where that VM is, whether it runs, and how it differs from the saved one."""
    warnings: tuple[str, ...]
    """Everything to know before the VM is used."""
    may_stop: bool


def restore_started_page(
    run: RestoreRun,
    *,
    now: datetime,
    head: PointHead | None = None,
    in_words: Callable[[str], str] = in_params,
    server: str = "",
    may_stop: bool = False,
) -> RestoreStartedPage:
    """Return the page.

    :param in_words: puts a message of the engine into the words of the form.
    :param server: the address of the vCenter or ESXi host, with its port; empty: it is not known.
    :param may_stop: whether the user who looks may stop the run.
    """
    at = moment(now, now)
    assert at is not None
    tasks = tuple(task_row(task, now) for task in run.tasks)
    state = _state_of(run, tasks)
    kind = kind_of(run.dag_id, run.conf)
    about, *lines = (run.note.splitlines()) or [""]
    left = outcome_of(run.result, run.plan) if state is RestoreState.DONE and run.result is not None else None
    took = "" if run.since is None else length(((run.ended or now) - run.since).total_seconds())
    return RestoreStartedPage(
        at=at,
        dag_id=run.dag_id,
        run_id=run.run_id,
        kind=kind,
        title=kind.heading,
        state=state,
        label=state.label,
        tone=state.tone,
        sentence=state.meaning,
        moves=state.moves,
        about=plain(about),
        head=head,
        by=plain(run.by),
        since=moment(run.since, now),
        ended=moment(run.ended, now),
        took=took,
        tasks=tasks if state.moves else (),
        more_tasks=run.more_tasks if state.moves else 0,
        disks_done=run.disks_done,
        lines=tuple(map(plain, lines)),
        vm_name=plain(left.vm.name) if left is not None else "",
        client=_client_page(server, left) if left is not None else "",
        outcome=tuple(plain(in_words(line)) for line in left.lines) if left is not None else (),
        warnings=tuple(plain(in_words(line)) for line in left.warnings) if left is not None else (),
        may_stop=may_stop and state.moves,
    )


def _state_of(run: RestoreRun, tasks: tuple[TaskRow, ...]) -> RestoreState:
    if run.state == "success":
        return RestoreState.DONE if run.has_restored else RestoreState.NOTHING
    if run.state == "running" and any(task.state is TaskState.FOR_ANSWER for task in tasks):
        return RestoreState.ASKING
    return _OF_RUN.get(run.state, RestoreState.UNKNOWN)


def _client_page(server: str, left: RestoreOutcome) -> str:
    """Return the address of a VM's page in the vSphere Client; empty: it cannot be told."""
    moref = quote(left.vm.moref, safe="")
    if not server:
        return ""
    if left.vcenter:
        vm = f"urn:vmomi:VirtualMachine:{moref}:{quote(left.vcenter, safe='')}"
        return f"https://{server}/ui/app/vm;nav=h/{vm}/summary"
    return f"https://{server}/ui/#/host/vms/{moref}" if moref.isdecimal() else ""
