"""Tells in one line the task at which a run has failed, and its reason in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from vmkeep.model.fieldwords import in_params
from vmkeep.model.wording import counted
from vmkeep_airflow.causes import KEY, REASON
from vmkeep_airflow.ours import dag_of
from vmkeep_airflow.states import PROBLEMS

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

_STOPPED: Final = re.compile(r"(stopped by .+ through vmkeep|marked as (failed|a success) by hand)$")
"""The line that tells that a person has ended a run."""
_OF_AN_END: Final = (re.compile(r"Failed at task \w+( \(.*?\))?: "), re.compile("Not started: "), _STOPPED)
"""The beginnings of lines that tell how a run has ended."""
_LONGEST: Final = 600
"""Characters of the line, because a note has 1,000 and tells the VM and more."""
_NO_REASON: Final = "it left no reason; its log tells more"


def without_end(note: str) -> str:
    """Return a note without the lines of an earlier end, because a run that begins again may end otherwise."""
    return "\n".join(line for line in note.splitlines() if not any(each.match(line) for each in _OF_AN_END))


def is_stopped(note: str | None) -> bool:
    """Return whether somebody has stopped a run, so that nobody asks for the task that was ended."""
    return any(map(_STOPPED.match, (note or "").splitlines()))


def cause_line(dag_run: DagRun) -> list[str]:
    """Return the line about the task that failed first; empty: no task failed.

    A last task fails because of others, and only repeats that they failed. So it counts only if no other one did.
    """
    found = _failed(dag_run)
    last = _last_tasks(dag_run)
    failed = [ti for ti in found if ti.task_id not in last] or found
    if not failed:
        return []
    first, *others = failed
    why = _words(dag_run, first, is_last=first.task_id in last) or _NO_REASON
    also = f"; {counted(len(others), 'other task')} failed, too" if others else ""
    part = f" ({first.rendered_map_index})" if first.map_index >= 0 and first.rendered_map_index else ""
    line = f"Failed at task {first.task_id}{part}: {' '.join(why.split())}"
    room = _LONGEST - len(also)
    return [(line if len(line) <= room else f"{line[: room - 1]}…") + also]


def only_told(dag_run: DagRun) -> bool:
    """Return whether no task failed but the last one, which tells what the others have found."""
    last = _last_tasks(dag_run)
    return all(ti.task_id in last for ti in _failed(dag_run))


def _last_tasks(dag_run: DagRun) -> set[str]:
    return {task.task_id for task in dag_of(dag_run).tasks if not task.downstream_task_ids}


def _failed(dag_run: DagRun) -> Sequence[TaskInstance]:
    """Return the failed tasks of a run, in the order of their ends."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    ti = TaskInstance
    order = (ti.end_date.is_(None), ti.end_date, ti.task_id, ti.map_index)
    wanted = select(ti).filter_by(dag_id=dag_run.dag_id, run_id=dag_run.run_id, state="failed").order_by(*order)
    found: Sequence[TaskInstance] = _session(dag_run).scalars(wanted).all()
    return found


def _words(dag_run: DagRun, ti: TaskInstance, *, is_last: bool) -> str:
    """Return the reason for which a task failed; empty: it left none.

    :param is_last: the task fails because of the problems that tasks before it have left.
    """
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    run = select(XComModel).filter_by(dag_id=dag_run.dag_id, run_id=dag_run.run_id)
    session = _session(dag_run)
    own = run.filter_by(task_id=ti.task_id, map_index=ti.map_index).where(XComModel.key.in_((KEY, REASON)))
    left = {each.key: XComModel.deserialize_value(each) for each in session.scalars(own)}
    cause = left.get(KEY)
    if isinstance(cause, Mapping) and cause.get("why"):
        return in_params(str(cause["why"]))
    if left.get(REASON):
        return str(left[REASON])
    if not is_last:
        return ""
    problems = [XComModel.deserialize_value(each) for each in session.scalars(run.filter_by(key=PROBLEMS))]
    lines = [str(line) for some in problems for line in some or ()]
    more = f"; {counted(len(lines) - 1, 'more problem')}" if len(lines) > 1 else ""
    return f"{lines[0]}{more}" if lines else ""


def _session(dag_run: DagRun) -> Any:
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    assert session is not None  # because Airflow calls a listener while the run is in a session
    return session
