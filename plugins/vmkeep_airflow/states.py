"""Reads the states and results of a DAG run's tasks, in a later task of the same run."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NoReturn

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

GOOD = frozenset({"success", "removed"})
"""States in which a task ended well. ``removed``: a mapped task for which the last expansion has no item."""

_ENDED = GOOD | {"failed", "skipped", "upstream_failed"}

PROBLEMS: Final = "problems"
"""Key under which a watch leaves its problems in words, for the task that fails because of them.

The watch itself ends well, because Airflow drops the events of a task that fails.
"""
LEFT: Final = "left_out"
"""Key under which a task leaves a sentence for each point that it has left out, for the note of the run."""


def skip_itself(context: Context, why: str, **result: Any) -> NoReturn:
    """Skip the task that calls, because there is nothing to do, so that the run ends well.

    It leaves a result, because a task that was skipped by hand leaves none, and its run is no success.

    :param result: further values of the result.
    """
    context["ti"].xcom_push(key="return_value", value={"skipped": why, **result})
    raise AirflowSkipException(why)


def problems_left(context: Context, task_ids: Iterable[str]) -> list[str]:
    """Return the problems that tasks left in words, see :data:`PROBLEMS`."""
    return [line for task in task_ids for line in context["ti"].xcom_pull(task_ids=task, key=PROBLEMS) or []]


def task_states(context: Context) -> dict[str, str | None]:
    """Return the state of each other task of this run. Mapped tasks have names like ``copy_disk_0``."""
    ti: Any = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    return {task: state for task, state in states.items() if task != ti.task_id}


def require_good(
    states: Mapping[str, str | None], results: Mapping[str, list[Any]], *, also_good: Collection[str] = ()
) -> None:
    """Return if every task ended well, and every task in ``results`` left its result.

    :param results: the results that each task left, for the tasks that have to leave one.
    :param also_good: further states that are no failure.
    :raises AirflowFailException: a task did not, or is not there any more. The message names these tasks, without those
        that only waited for a failed one.
    """
    bad = _not_good(states, also_good)
    bad |= _lacking(states, results)
    if bad:
        causes = {task: how for task, how in bad.items() if how != "upstream_failed"} or bad
        listed = ", ".join(f"task {task} {how}" for task, how in causes.items())
        raise AirflowFailException(f"the run did not end well: {listed} (see the log of each)")


def ended_already(context: Context, task_ids: Collection[str]) -> list[str]:
    """Return those of some tasks that ended in an earlier try of the run, and that nobody has cleared since."""
    ended = {_without_index(task) for task, state in task_states(context).items() if state in _ENDED}
    return [task for task in task_ids if task in ended]


def _without_index(task: str) -> str:
    return re.sub(r"_\d+$", "", task)


def _not_good(states: Mapping[str, str | None], also_good: Collection[str]) -> dict[str, str]:
    """Return every task that did not end well, with its state. Failed tasks come first."""
    bad = {
        task: str(state or "not run") for task, state in states.items() if state not in GOOD and state not in also_good
    }
    return dict(sorted(bad.items(), key=lambda item: (item[1] != "failed", item[0])))


def task_results(context: Context, task_ids: Iterable[str]) -> dict[str, list[Any]]:
    """Return the results that each task left: one, or one for each map index."""
    ti: Any = context["ti"]
    pulled = {task_id: ti.xcom_pull(task_ids=[task_id]) for task_id in task_ids}
    return {task_id: [result for result in found if result is not None] for task_id, found in pulled.items()}


def _lacking(states: Mapping[str, str | None], results: Mapping[str, list[Any]]) -> dict[str, str]:
    """Return the tasks that were deleted, and those that ended well but left fewer results than they have instances."""
    lacking = {}
    for task_id, found in results.items():
        names = [task for task in states if re.fullmatch(rf"{re.escape(task_id)}(_\d+)?", task)]
        indexes = {int(task.rpartition("_")[2]) for task in names if task != task_id}
        if not names or indexes != set(range(len(indexes))):
            lacking[task_id] = "is gone (was it deleted by hand?)"
        elif len(found) < sum(states[task] == "success" for task in names):
            lacking[task_id] = "left no result (was it marked by hand?)"
    return lacking
