"""Tells vmkeep's DAGs from the other ones of the same Airflow."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

_OPERATORS = "vmkeep_airflow.operators."
_module_of = attrgetter("_task_module")
"""The module of a serialized task's operator, which Airflow has no public name for."""


def is_ours(dag_run: DagRun) -> bool:
    """Return whether every task of the run's DAG is one of vmkeep's operators: those promise to leave a result."""
    tasks = dag_of(dag_run).tasks
    return bool(tasks) and all(_module_of(task).startswith(_OPERATORS) for task in tasks)


def dag_of(dag_run: DagRun) -> Any:
    """Return the DAG of a run that is in a session."""
    from airflow.models.dagbag import DBDagBag
    from sqlalchemy.orm import object_session

    if dag_run.dag:
        return dag_run.dag
    session = object_session(dag_run)
    assert session is not None  # Airflow tells of a run while it holds it in a session
    return DBDagBag().get_dag_for_run(dag_run=dag_run, session=session)
