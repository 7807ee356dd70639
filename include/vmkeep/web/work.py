"""Everything that is in work, as Airflow's database has it now, and the judgement how each task of it is doing. Pure.

A task tells its progress every few seconds. Progress that was not told for longer is the last that is known, and says
nothing of the present.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.model.job import TaskProgress
from vmkeep.web.states import TaskState

FRESH_SECONDS: Final = 30.0
"""Age up to which told progress counts as live: six reports in a row may be lost."""
SILENT_SECONDS: Final = 60.0
"""Age of a worker's last sign of life from which it is shown as silent. It gives one every few seconds."""
_STILL_SECONDS: Final = 60.0
"""Seconds without a byte that are shown."""
_WAITING: Final = {
    "scheduled": TaskState.FOR_SLOT,
    "queued": TaskState.FOR_SLOT,
    "up_for_reschedule": TaskState.FOR_ROOM,
    "up_for_retry": TaskState.FOR_RETRY,
    "deferred": TaskState.FOR_ANSWER,
    "awaiting_input": TaskState.FOR_ANSWER,
}
WORKING_STATES: Final = ("running", "restarting", *_WAITING)
"""Airflow's states of tasks that are in work or wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTask:
    """A task of a run that has not ended, as Airflow knows it."""

    task: str
    map_index: int
    name: str
    """The name of the mapped task, such as its disk; empty: none was given yet."""
    state: str
    pool: str
    host: str
    """Name of the worker's machine; empty: it does not run."""
    begun_at: datetime | None
    heartbeat_at: datetime | None
    progress: TaskProgress | None
    told_at: datetime | None
    """The time at which the progress reached Airflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRun:
    """A DAG run that has not ended."""

    dag_id: str
    run_id: str
    about: str
    """The VM, point or policy."""
    is_running: bool
    """``False``: it waits until another run of its DAG has ended."""
    since: datetime | None
    """The start of the run, or the time from which it waits."""
    tasks: tuple[WorkTask, ...]
    more_tasks: int
    """Tasks that have not ended and are not listed."""
    disks_done: int
    may_stop: bool
    only_plans: bool = False
    """It shows what it would do, and changes nothing, as a plan of the restore wizard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """The use of one pool."""

    name: str
    slots: int
    """-1: any number."""
    running: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotAtWork:
    """A snapshot that a backup has taken, and that is not known to be removed."""

    about: str
    dag_id: str
    run_id: str
    taken_at: datetime
    is_left: bool
    """Its run has ended, and could not remove it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """The limit for reading and writing one repository, as its connection names it."""

    conn_id: str
    location: str
    limit_rate: str | None
    """As the connection has it, or as somebody has just typed it."""
    may_change: bool
    fault: str = ""
    """The reason why the limit that was typed cannot be taken; empty: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtWork:
    """Everything in work, as Airflow's database has it now."""

    runs: tuple[WorkRun, ...]
    total: int
    """All runs that have not ended, those that are not listed included."""
    pools: tuple[PoolUse, ...]
    snapshots: tuple[SnapshotAtWork, ...]
    limits: tuple[RateLimit, ...]
    problems: tuple[str, ...] = ()


def state_of_task(task: WorkTask, now: datetime) -> TaskState:
    """Return how a task is doing."""
    if task.state in _WAITING:
        return _WAITING[task.state]
    if task.heartbeat_at is not None and (now - task.heartbeat_at).total_seconds() > SILENT_SECONDS:
        return TaskState.SILENT
    if task.progress is None or not is_of_this_try(task):
        return TaskState.STARTING
    if task.told_at is None or (now - task.told_at).total_seconds() > FRESH_SECONDS:
        return TaskState.UNKNOWN
    return TaskState.STILL if task.progress.idle_seconds > _STILL_SECONDS else TaskState.MOVING


def is_of_this_try(task: WorkTask) -> bool:
    """Return whether the progress was told by this try. Airflow keeps that of an earlier one until it is replaced."""
    return task.told_at is not None and (task.begun_at is None or task.told_at >= task.begun_at)
