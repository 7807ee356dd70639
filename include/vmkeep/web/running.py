"""The page of everything that is in work: runs with their disks, the queue, open snapshots, and rate limits. Pure.

A task tells its progress every few seconds. Progress that was not told for longer is shown as what it is, the last
that is known, without a rate and without a time that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from vmkeep.model.job import TaskProgress
from vmkeep.model.wording import age, counted, size
from vmkeep.web.states import TaskState
from vmkeep.web.words import Moment, moment, plain
from vmkeep.web.work import AtWork, PoolUse, RateLimit, SnapshotAtWork, WorkRun, WorkTask, is_of_this_try, state_of_task

RUNS: Final = 200
"""Runs that the page lists."""
TASKS: Final = 50
"""Tasks of a run that the page lists, those at work first."""


class RunsShown(StrEnum):
    """A count of runs, which leads to the list of these runs."""

    ALL = "all"
    WAITING = "waiting"
    """Those that have not begun."""
    MOVING = "moving"
    """Those with a task that moves bytes."""
    SILENT = "silent"
    """Those with a task whose worker gives no sign of life."""


_WORDS: Final = {
    RunsShown.ALL: "listed",
    RunsShown.WAITING: "waiting to begin",
    RunsShown.MOVING: "moving bytes",
    RunsShown.SILENT: "with a silent worker",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task as the page shows it."""

    task: str
    map_index: int
    name: str
    state: TaskState
    label: str
    tone: str
    detail: str
    """The reason for the state, in a sentence; mostly empty."""
    percent: int | None
    done: int | None
    total: int | None
    """Bytes; ``None``: the work is not counted in bytes, or nothing was told."""
    amount: str
    rate: int | None
    """Bytes per second; ``None``: not known now."""
    speed: str
    eta_seconds: int | None
    left: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as the page shows it."""

    dag_id: str
    run_id: str
    about: str
    is_running: bool
    since: Moment | None
    tasks: tuple[TaskRow, ...]
    more_tasks: int
    """Tasks that have not ended and are not listed."""
    disks_done: int
    may_stop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRow:
    """A pool as the page shows it."""

    name: str
    slots: str
    running: int
    waiting: int
    is_full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRow:
    """A snapshot as the page shows it."""

    about: str
    dag_id: str
    run_id: str
    taken: Moment
    is_left: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsCount:
    """A number of runs that the page lists alone."""

    shown: RunsShown
    number: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPage:
    """The page of everything in work."""

    at: Moment
    sentence: str
    shown: RunsShown
    counts: tuple[RunsCount, ...]
    """Those that are not 0. With more runs than the page lists, only the listed ones are counted."""
    runs: tuple[RunRow, ...]
    more: int
    """Runs that are not listed."""
    pools: tuple[PoolRow, ...]
    snapshots: tuple[SnapshotRow, ...]
    limits: tuple[RateLimit, ...]
    problems: tuple[str, ...]


def running_page(work: AtWork, *, now: datetime, shown: RunsShown = RunsShown.ALL) -> RunningPage:
    """Return the page.

    :param shown: the runs to list.
    """
    at = moment(now, now)
    assert at is not None
    runs = tuple(_run_row(run, now) for run in work.runs)
    groups = _groups(runs)
    return RunningPage(
        at=at,
        sentence=_sentence(work, runs),
        shown=shown,
        counts=tuple(
            RunsCount(shown=each, number=len(found), words=_WORDS[each]) for each, found in groups.items() if found
        ),
        runs=groups[shown],
        more=max(0, work.total - len(runs)),
        pools=tuple(_pool_row(pool) for pool in work.pools),
        snapshots=tuple(_snapshot_row(each, now) for each in sorted(work.snapshots, key=lambda one: one.taken_at)),
        limits=work.limits,
        problems=work.problems,
    )


def _groups(runs: tuple[RunRow, ...]) -> dict[RunsShown, tuple[RunRow, ...]]:
    """Return the runs behind each count."""
    return {
        RunsShown.ALL: runs,
        RunsShown.WAITING: tuple(run for run in runs if not run.is_running),
        RunsShown.MOVING: tuple(run for run in runs if any(task.rate for task in run.tasks)),
        RunsShown.SILENT: tuple(run for run in runs if any(task.state is TaskState.SILENT for task in run.tasks)),
    }


def _sentence(work: AtWork, runs: Sequence[RunRow]) -> str:
    if not work.total:
        return "Nothing is in work."
    waiting = sum(not run.is_running for run in runs)
    words = [f"{counted(work.total, 'run')} in work" + (f", {waiting} of them waiting to begin" if waiting else "")]
    moving = [task for run in runs for task in run.tasks if task.rate]
    if moving:
        rate = sum(task.rate or 0 for task in moving)
        words.append(f"{counted(len(moving), 'disk or check', 'disks and checks')} moving {size(rate)}/s")
    if silent := sum(task.state is TaskState.SILENT for run in runs for task in run.tasks):
        words.append(f"{counted(silent, 'task')} without a sign of life")
    return "; ".join(words) + "."


def _run_row(run: WorkRun, now: datetime) -> RunRow:
    return RunRow(
        dag_id=run.dag_id,
        run_id=run.run_id,
        about=plain(run.about),
        is_running=run.is_running,
        since=moment(run.since, now),
        tasks=tuple(_task_row(task, now) for task in run.tasks),
        more_tasks=run.more_tasks,
        disks_done=run.disks_done,
        may_stop=run.may_stop,
    )


def _task_row(task: WorkTask, now: datetime) -> TaskRow:
    state = state_of_task(task, now)
    found = task.progress if is_of_this_try(task) else None
    is_live = state in (TaskState.MOVING, TaskState.STILL)
    in_bytes = found is not None and found.in_bytes
    rate = round(found.rate) if found is not None and in_bytes and is_live else None
    eta = None
    if found is not None and is_live and found.rate > 0 and found.total:
        eta = round(max(0, found.total - found.done) / found.rate)
    return TaskRow(
        task=task.task,
        map_index=task.map_index,
        name=plain(found.label if found is not None else task.name),
        state=state,
        label=state.label,
        tone=state.tone,
        detail=_detail(task, state, found, now),
        percent=_percent(found),
        done=found.done if found is not None and in_bytes else None,
        total=found.total if found is not None and in_bytes else None,
        amount=_amount(found),
        rate=rate,
        speed="" if rate is None else f"{size(rate)}/s",
        eta_seconds=eta,
        left="" if eta is None else f"{eta} s left" if eta < 60 else f"{age(eta)} left",
        host=plain(task.host),
    )


def _detail(task: WorkTask, state: TaskState, found: TaskProgress | None, now: datetime) -> str:
    match state:
        case TaskState.SILENT if task.heartbeat_at is not None:
            quiet = age((now - task.heartbeat_at).total_seconds())
            return f"no sign of life for {quiet}; Airflow ends the task by itself after some minutes"
        case TaskState.UNKNOWN if task.told_at is not None:
            quiet = age((now - task.told_at).total_seconds())
            return f"its worker lives, but has told nothing for {quiet}; the numbers are the last that it told"
        case TaskState.STILL if found is not None:
            return f"no byte for {age(found.idle_seconds)}; a transfer that stands still for half an hour fails"
        case TaskState.FOR_ROOM:
            return "a limit is used up; the task's log says which one, and who uses it"
        case TaskState.FOR_SLOT:
            return f"pool {plain(task.pool)}"
        case _:
            return ""


def _percent(found: TaskProgress | None) -> int | None:
    if found is None or not found.total:
        return None
    return min(100, 100 * found.done // found.total)


def _amount(found: TaskProgress | None) -> str:
    if found is None:
        return ""
    if not found.in_bytes:
        return found.phase
    of = f" of {size(found.total)}" if found.total else ""
    return f"{found.phase}: {size(found.done)}{of}"


def _pool_row(pool: PoolUse) -> PoolRow:
    return PoolRow(
        name=plain(pool.name),
        slots="any number" if pool.slots < 0 else str(pool.slots),
        running=pool.running,
        waiting=pool.waiting,
        is_full=0 <= pool.slots <= pool.running,
    )


def _snapshot_row(each: SnapshotAtWork, now: datetime) -> SnapshotRow:
    taken = moment(each.taken_at, now)
    assert taken is not None
    return SnapshotRow(
        about=plain(each.about), dag_id=each.dag_id, run_id=each.run_id, taken=taken, is_left=each.is_left
    )
