"""The page of everything that is in work: runs with their disks, the queue, open snapshots, and rate limits. Pure.

A task tells its progress every few seconds. Progress that was not told for longer is shown as what it is, the last
that is known, without a rate and without a time that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.model.wording import counted, size
from vmkeep.web.states import TaskState
from vmkeep.web.task_rows import TaskRow, task_row
from vmkeep.web.words import Moment, moment, plain
from vmkeep.web.work import AtWork, PoolUse, RateLimit, SnapshotAtWork, WorkRun

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
    only_plans: bool
    """It shows what it would do, and changes nothing, as a plan of the restore wizard."""


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
        tasks=tuple(task_row(task, now) for task in run.tasks),
        more_tasks=run.more_tasks,
        disks_done=run.disks_done,
        may_stop=run.may_stop,
        only_plans=run.only_plans,
    )


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
