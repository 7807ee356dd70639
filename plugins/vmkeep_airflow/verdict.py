"""Judges a run from outside: no run of vmkeep's DAGs stays green if one of its tasks left no result.

Airflow takes a run's state from its last tasks. If somebody clears or marks a single task after those have ended, their
states do not change. So this module listens where Airflow declares a run a success: in the scheduler, or in the API
server for a mark by hand. It looks at every task, and turns the run red.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from vmkeep_airflow.causes import KEY, REASON
from vmkeep_airflow.ours import dag_of, is_ours
from vmkeep_airflow.runnotes import add_note
from vmkeep_airflow.states import GOOD

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_RESULT = "return_value"
_GONE = "gone: somebody has deleted it"
"""In place of the state of a task that Airflow does not have any more: its API deletes single tasks of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A task instance of a run, as Airflow's database has it."""

    name: str
    state: str | None
    has_result: bool
    scheduled_at: datetime | None
    """Time by the scheduler's clock, so that the clocks of workers do not matter."""
    is_last: bool
    """No task comes after this one, which has checked all others."""

    @property
    def skipped_itself(self) -> bool:
        """The task skipped itself, because there was nothing to do."""
        return self.state == "skipped" and self.has_result


def objections(seen: Sequence[Seen]) -> Iterator[str]:
    """Yield the reasons why a run that Airflow declares a success is none.

    A task that skips itself leaves a result, as every task does. A skipped task without a result was skipped because of
    another task, or by hand.
    """
    skipped_itself = any(one.skipped_itself for one in seen)
    looked_at = min((one.scheduled_at for one in seen if one.is_last and one.scheduled_at), default=None)
    for one in seen:
        if one.state == "skipped" and skipped_itself:
            continue
        if one.state not in GOOD:
            yield f"{one.name} is {one.state or 'not run'}"
        elif one.state == "success" and not one.has_result:
            yield f"{one.name} left no result: it was marked by hand"
        elif looked_at and one.scheduled_at and one.scheduled_at > looked_at and not one.is_last:
            yield f"{one.name} was done again after the last task had looked: clear that, too"


@hookimpl
def on_dag_run_success(dag_run: DagRun) -> None:
    """Turn a run red that is a success only by its last tasks.

    Airflow calls this, too, for a run that somebody marks as a success while its teardowns wait or work. Such a run
    goes on for them, and is judged at its end. To judge it now would end it, and leave its snapshot.
    """
    if is_ours(dag_run):
        _judge_ended(dag_run)


@hookimpl
def on_task_instance_success(task_instance: Any) -> None:
    """Delete the result of a task that somebody marks as a success, because it can only be that of an earlier try."""
    _marked(task_instance)


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any) -> None:
    """Turn a run red that has ended as a success, if somebody marks one of its tasks as failed.

    A task that a person has ended leaves no cause of a failure. It may have left one ahead, in case its worker dies,
    and a window would start the backup again that the person has ended. Airflow gives no earlier state of a task that
    a person marks.
    """
    _marked(task_instance, forget=(_RESULT, KEY, REASON) if previous_state is None else (_RESULT,))


@hookimpl
def on_task_instance_skipped(task_instance: Any) -> None:
    """Turn a run red that has ended as a success, if somebody marks one of its tasks as skipped."""
    _marked(task_instance)


def _marked(task_instance: Any, *, forget: Sequence[str] = (_RESULT,)) -> None:
    """Judge the run of a task that somebody has marked by hand.

    :param forget: keys of the values that the task has left, and that do not count any more.

    Airflow calls the same listeners in tasks, which have no database, and in the scheduler for a task whose worker has
    died. Neither has just set the state through the database, and the run's state is not final then.
    """
    from sqlalchemy import delete, inspect
    from sqlalchemy.orm import object_session

    if inspect(task_instance, raiseerr=False) is None or (session := object_session(task_instance)) is None:
        return
    dag_run = task_instance.dag_run
    if not is_ours(dag_run):
        return
    from airflow.models.xcom import XComModel

    session.execute(
        delete(XComModel).where(
            XComModel.dag_id == task_instance.dag_id,
            XComModel.run_id == task_instance.run_id,
            XComModel.task_id == task_instance.task_id,
            XComModel.map_index == task_instance.map_index,
            XComModel.key.in_(forget),
        )
    )
    _judge_ended(dag_run)


def _judge_ended(dag_run: DagRun) -> None:
    """Judge a run, unless it goes on."""
    if str(dag_run.state) == "success":
        _judge(dag_run)


def _judge(dag_run: DagRun) -> None:
    from airflow.utils.state import DagRunState
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    assert session is not None
    seen = _look(dag_run, session)
    if found := list(objections(seen)):
        log.error("run %s of %s is no success: %s", dag_run.run_id, dag_run.dag_id, "; ".join(found))
        dag_run.set_state(DagRunState.FAILED)
        add_note(dag_run, f"No success: {'; '.join(found)}")


def _look(dag_run: DagRun, session: Session) -> list[Seen]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    where = {"dag_id": dag_run.dag_id, "run_id": dag_run.run_id}
    results = session.execute(select(XComModel.task_id, XComModel.map_index).filter_by(**where, key=_RESULT))
    left = {(task_id, map_index) for task_id, map_index in results}
    last = {task.task_id for task in dag_of(dag_run).tasks if not task.downstream_task_ids}
    instances: Sequence[TaskInstance] = session.scalars(select(TaskInstance).filter_by(**where)).all()
    there = [
        Seen(
            name=_name(ti.task_id, ti.map_index),
            state=str(ti.state) if ti.state else None,
            has_result=(ti.task_id, ti.map_index) in left,
            scheduled_at=ti.scheduled_dttm,
            is_last=ti.task_id in last,
        )
        for ti in instances
    ]
    gone = _gone(dag_run, {(ti.task_id, ti.map_index) for ti in instances}, session)
    return [
        *there,
        *(Seen(name=name, state=_GONE, has_result=False, scheduled_at=None, is_last=False) for name in gone),
    ]


def _gone(dag_run: DagRun, there: Collection[tuple[str, int]], session: Session) -> Iterator[str]:
    """Yield the names of the task instances that the run lacks.

    :param there: task and map index of those that it has. A task that was not expanded has the index -1.
    """
    from airflow.models.taskmap import TaskMap
    from sqlalchemy import select

    asked = select(TaskMap.task_id, TaskMap.length).filter_by(dag_id=dag_run.dag_id, run_id=dag_run.run_id)
    lengths = {each.task_id: each.length for each in session.execute(asked)}
    for task in dag_of(dag_run).tasks:
        indexes = {index for task_id, index in there if task_id == task.task_id}
        wanted: Iterable[int] = (-1,)
        if task.is_mapped and -1 not in indexes:
            known = [lengths[source.task_id] for source in task.iter_mapped_dependencies() if source.task_id in lengths]
            # A list that stands in the DAG file has no length in the database.
            wanted = range(max(known or [max(indexes, default=0) + 1]))
        yield from (_name(task.task_id, index) for index in wanted if index not in indexes)


def _name(task_id: str, map_index: int) -> str:
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"
