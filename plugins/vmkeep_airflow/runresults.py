"""Reads from Airflow's database what the tasks of a run have left, for listeners, which have the run in a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun


def result_of(dag_run: DagRun, task: str) -> Mapping[str, Any]:
    """Return the result of a task; empty if there is none."""
    value = left_by(dag_run, task, "return_value")
    return value if isinstance(value, Mapping) else {}


def left_by(dag_run: DagRun, task: str, key: str) -> Any:
    """Return the value that a task has left under a key; ``None``: it left none."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    assert session is not None  # because Airflow calls a listener while the run is in a session
    where = {"dag_id": dag_run.dag_id, "run_id": dag_run.run_id, "task_id": task, "key": key}
    found = session.scalars(select(XComModel).filter_by(**where)).first()
    return XComModel.deserialize_value(found) if found is not None else None
