"""The states of a DAG run's tasks, as a later task of the same run sees them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from airflow.sdk import Context

GOOD = frozenset({"success"})


def task_states(context: Context) -> dict[str, str | None]:
    """Return the state of each task of this run, mapped ones as ``copy_disk_0``; the asking task left out."""
    ti: Any = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    return {task: state for task, state in states.items() if task != ti.task_id}


def not_good(states: Mapping[str, str | None], *, also_good: Collection[str] = ()) -> dict[str, str]:
    """Return every task that did not end well, with its state, the ones that failed first."""
    bad = {
        task: str(state or "not run") for task, state in states.items() if state not in GOOD and state not in also_good
    }
    return dict(sorted(bad.items(), key=lambda item: (item[1] != "failed", item[0])))
