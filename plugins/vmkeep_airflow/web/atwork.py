"""Reads from Airflow's database what is in work: runs, tasks with their progress, pools, and open snapshots."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from airflow.models import DagRun
from airflow.models.dag import DagTag
from airflow.models.pool import Pool
from airflow.models.task_state_store import TaskStateStoreModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from vmkeep.model.job import TaskProgress, from_plain
from vmkeep.web import RUNS, TASKS, WORKING_STATES, PoolUse, SnapshotAtWork, WorkRun, WorkTask, only_planned
from vmkeep_airflow.liveprogress import KEY
from vmkeep_airflow.web.access import may_with_runs
from vmkeep_airflow.web.runnames import about_of, names_of, results_of

_TAG: Final = "vmkeep"
"""Every DAG of ours has this tag."""
_ACTIVE: Final = ("running", "queued")
_DISKS: Final = ("copy_disk", "write_disk", "verify")
"""The mapped tasks that each do one disk or one point."""
_COLUMNS: Final = (
    "task_id", "map_index", "rendered_map_index", "state", "pool", "hostname", "start_date", "last_heartbeat_at",
)  # fmt: skip
_LEFT: Final = timedelta(days=7)
"""Time for which a snapshot that a run could not remove is shown. The sweep has looked many times by then."""
_MOST_LEFT: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFound:
    """The work of Airflow that a user may see."""

    runs: tuple[WorkRun, ...]
    total: int
    pools: tuple[PoolUse, ...]
    snapshots: tuple[SnapshotAtWork, ...]


def find_work(user: Any, now: datetime) -> WorkFound:
    """Return the runs that have not ended, the pools that they use, and the snapshots that they hold or have left."""
    with create_session() as session:
        ours = session.scalars(select(DagTag.dag_id).where(DagTag.name == _TAG)).all()
        seen = tuple(dag_id for dag_id in ours if may_with_runs(user, "GET", dag_id))
        active = (DagRun.dag_id.in_(seen), DagRun.state.in_(_ACTIVE))
        total = session.scalar(select(func.count()).select_from(DagRun).where(*active)) or 0
        order = (DagRun.state.desc(), func.coalesce(DagRun.start_date, DagRun.run_after))  # running before queued
        listed = select(DagRun).where(*active).order_by(*order).limit(RUNS)
        runs = session.scalars(listed.options(selectinload(DagRun.dag_run_note))).all()
        may_stop = {dag_id: may_with_runs(user, "PUT", dag_id) for dag_id in {run.dag_id for run in runs}}
        left = _left(session, seen, now)
        names = names_of(session, [*runs, *left])
        about = {run.id: names.get(run.id) or about_of(run) for run in (*runs, *left)}
        tasks = _tasks(session, runs)
        return WorkFound(
            runs=tuple(
                WorkRun(
                    dag_id=run.dag_id,
                    run_id=run.run_id,
                    about=about[run.id],
                    is_running=run.state == "running",
                    since=run.start_date or run.run_after,
                    tasks=tuple(tasks[run.id].tasks),
                    more_tasks=tasks[run.id].number - len(tasks[run.id].tasks),
                    disks_done=tasks[run.id].disks_done,
                    may_stop=may_stop[run.dag_id],
                    only_plans=only_planned(run.dag_id, run.conf or {}),
                )
                for run in runs
            ),
            total=total,
            pools=_pools(session),
            snapshots=_snapshots(session, runs, left, about),
        )


def find_tasks(dag_id: str, run_id: str) -> RunTasks:
    """Return the tasks of a run that have not ended. Whoever asks has made sure that the user may see the run."""
    with create_session() as session:
        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        return RunTasks() if run is None else _tasks(session, [run])[run.id]


def find_run(user: Any, dag_id: str, run_id: str) -> tuple[str, bool] | None:
    """Return the VM, point or policy of a run, and whether the user may stop it; ``None``: no such run is in work."""
    with create_session() as session:
        tagged = select(DagTag.dag_id).where(DagTag.name == _TAG, DagTag.dag_id == dag_id)
        wanted = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id, DagRun.state.in_(_ACTIVE))
        run = session.scalar(wanted)
        if run is None or session.scalar(tagged) is None or not may_with_runs(user, "GET", dag_id):
            return None
        return names_of(session, [run]).get(run.id) or about_of(run), may_with_runs(user, "PUT", dag_id)


@dataclass(slots=True)
class RunTasks:
    """The tasks of one run that have not ended."""

    tasks: list[WorkTask] = field(default_factory=list)
    number: int = 0
    """All of them, those that are not listed included."""
    disks_done: int = 0


def _tasks(session: Session, runs: Sequence[DagRun]) -> defaultdict[int, RunTasks]:
    """Return the tasks of runs by the runs' ids.

    A run may have a thousand tasks that wait, one for each point. So those at work go first, and the rest is counted.
    """
    ids = [run.id for run in runs if run.state == "running"]
    found: defaultdict[int, RunTasks] = defaultdict(RunTasks)
    ti = TaskInstance
    of_run = (ti.dag_id == DagRun.dag_id) & (ti.run_id == DagRun.run_id)
    order = (ti.start_date.is_(None), ti.start_date, ti.task_id, ti.map_index)
    ranked = (
        select(
            DagRun.id.label("run"), ti.id.label("task"),
            func.row_number().over(partition_by=DagRun.id, order_by=order).label("place"),
            func.count().over(partition_by=DagRun.id).label("number"),
        )
        .select_from(DagRun)
        .join(ti, of_run)
        .where(DagRun.id.in_(ids), ti.state.in_(WORKING_STATES))
        .subquery()
    )  # fmt: skip
    listed = (
        select(ranked.c.run, ranked.c.number, *(getattr(ti, name) for name in _COLUMNS))
        .join(ti, ti.id == ranked.c.task)
        .where(ranked.c.place <= TASKS)
        .order_by(ranked.c.place)
    )
    told = _told(session, ids)
    for row in session.execute(listed):
        of_it = found[row.run]
        of_it.number = row.number
        of_it.tasks.append(_task(row, told.get((row.run, row.task_id, row.map_index))))
    done = (
        select(DagRun.id, func.count())
        .join(ti, of_run)
        .where(DagRun.id.in_(ids), ti.state == "success", ti.task_id.in_(_DISKS), ti.map_index >= 0)
        .group_by(DagRun.id)
    )
    for run, number in session.execute(done):
        found[run].disks_done = number
    return found


def _told(session: Session, runs: Collection[int]) -> dict[tuple[int, str, int], tuple[str, datetime]]:
    """Return the progress that the tasks of runs have told, each with its time."""
    row = TaskStateStoreModel
    wanted = select(row.dag_run_id, row.task_id, row.map_index, row.value, row.updated_at).where(
        row.dag_run_id.in_(runs), row.key == KEY
    )
    return {(each.dag_run_id, each.task_id, each.map_index): (each.value, each.updated_at)
            for each in session.execute(wanted)}  # fmt: skip


def _task(ti: Any, told: tuple[str, datetime] | None) -> WorkTask:
    return WorkTask(
        task=ti.task_id,
        map_index=ti.map_index,
        name=ti.rendered_map_index or "",
        state=str(ti.state),
        pool=ti.pool,
        host=ti.hostname or "",
        begun_at=ti.start_date,
        heartbeat_at=ti.last_heartbeat_at,
        progress=_progress(told[0]) if told is not None else None,
        told_at=told[1] if told is not None else None,
    )


def _progress(text: str) -> TaskProgress | None:
    """Return told progress; ``None``: another version told it, or Airflow keeps such values elsewhere."""
    try:
        return from_plain(TaskProgress, json.loads(text))
    except ValueError:
        return None


def _pools(session: Session) -> tuple[PoolUse, ...]:
    """Return the pools that tasks use or wait for. Tasks of other DAGs count, too, because they take slots."""
    counts = session.execute(
        select(TaskInstance.pool, TaskInstance.state, func.sum(TaskInstance.pool_slots))
        .where(TaskInstance.state.in_(("running", "queued", "scheduled")))
        .group_by(TaskInstance.pool, TaskInstance.state)
    )
    used: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for pool, state, slots in counts:
        used[pool][str(state)] += int(slots)
    sizes = session.execute(select(Pool.pool, Pool.slots).where(Pool.pool.in_(used)).order_by(Pool.pool))
    return tuple(
        PoolUse(
            name=str(name),
            slots=slots,
            running=used[str(name)]["running"]
            + used[str(name)]["queued"],  # a task that is queued has its slot already
            waiting=used[str(name)]["scheduled"],
        )
        for name, slots in sizes
    )


def _snapshots(
    session: Session, runs: Sequence[DagRun], left: Sequence[DagRun], about: Mapping[int, str]
) -> tuple[SnapshotAtWork, ...]:
    """Return the snapshots of backups in work, and those that ended backups have left.

    A backup in work has one from the end of the task that takes it until the end of that which removes it.

    :param left: ended backups whose removal has failed.
    """
    backups = [run for run in runs if run.dag_id == "vm_backup" and run.state == "running"]
    removed = set(
        session.scalars(
            select(TaskInstance.run_id).where(
                TaskInstance.dag_id == "vm_backup",
                TaskInstance.run_id.in_([run.run_id for run in backups]),
                TaskInstance.task_id == "remove_snapshot",
                TaskInstance.state == "success",
            )
        )
    )
    held = [run for run in backups if run.run_id not in removed]
    taken = _taken(session, [run.id for run in (*held, *left)])
    return tuple(
        SnapshotAtWork(
            about=about[run.id], dag_id=run.dag_id, run_id=run.run_id, taken_at=taken[run.id], is_left=is_left
        )
        for some, is_left in ((held, False), (left, True))
        for run in some
        if run.id in taken
    )


def _left(session: Session, seen: Sequence[str], now: datetime) -> Sequence[DagRun]:
    """Return the ended backups whose removal of the snapshot has failed, or never came because the run was cleared."""
    if "vm_backup" not in seen:
        return ()
    wanted = (
        select(DagRun)
        .join(TaskInstance, (TaskInstance.dag_id == DagRun.dag_id) & (TaskInstance.run_id == DagRun.run_id))
        .where(DagRun.dag_id == "vm_backup", DagRun.state == "failed", DagRun.end_date >= now - _LEFT)
        .where(TaskInstance.task_id == "remove_snapshot", TaskInstance.state.in_(("failed", "upstream_failed")))
        .order_by(DagRun.end_date.desc())
        .limit(_MOST_LEFT)
        .options(selectinload(DagRun.dag_run_note))
    )
    return session.scalars(wanted).all()


def _taken(session: Session, runs: Collection[int]) -> dict[int, datetime]:
    """Return the times at which runs took their snapshots, by vCenter's clock; runs that took none are left out."""
    found = {}
    for run, value in results_of(session, runs, "snapshot").items():
        taken = value.get("taken") or {}
        if taken.get("snapshot") and taken.get("taken_at"):
            found[run] = datetime.fromisoformat(taken["taken_at"])
    return found
