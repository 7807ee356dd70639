"""Distinguishes vmkeep's DAGs from other DAGs of the same Airflow."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

_OPERATORS = "vmkeep_airflow.operators."
_module_of = attrgetter("_task_module")
"""Returns the module of a serialized task's operator, for which Airflow has no public name."""


def is_ours(dag_run: DagRun) -> bool:
    """Return whether all tasks of the run's DAG are vmkeep's operators, which always leave a result."""
    tasks = dag_of(dag_run).tasks
    return bool(tasks) and all(_module_of(task).startswith(_OPERATORS) for task in tasks)


def dag_of(dag_run: DagRun) -> Any:
    """Return the DAG of a run that is in a session."""
    from airflow.models.dagbag import DBDagBag
    from sqlalchemy.orm import object_session

    if dag_run.dag:
        return dag_run.dag
    session = object_session(dag_run)
    assert session is not None  # because Airflow calls a listener while the run is in a session
    return DBDagBag().get_dag_for_run(dag_run=dag_run, session=session)
