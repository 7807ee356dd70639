"""Checks a run of vmkeep's DAGs at its start, so that its tasks never wait without a reason that a person sees.

A run starts when it is triggered, and again when it is cleared after its end. In between, its proxy may have left the
list, and its pool may be gone or without slots. In Airflow a task without a pool waits for ever, and a task whose queue
has no worker waits for an hour at each try.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

from vmkeep_airflow.ours import dag_of, is_ours
from vmkeep_airflow.pools import create_missing_pools, pools_without_slots
from vmkeep_airflow.proxies import chosen_proxy, proxies
from vmkeep_airflow.runnotes import add_note

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_FIELD_OF_AIRFLOW = "airflow/task_span_detail_level"
"""Airflow itself takes this field for any DAG: how much of a run its tracing records."""


@hookimpl(trylast=True)
def on_dag_run_running(dag_run: DagRun) -> None:
    """Fail a run with a field or a proxy that does not exist; else make missing pools, and note which have no slots.

    It comes last, because the note that says what a run is about is made only for a run without one.
    """
    from sqlalchemy.orm import object_session

    if not is_ours(dag_run):
        return
    session = object_session(dag_run)
    assert session is not None
    _count_restart(dag_run, session)
    if why := _unknown_fields(dag_run) or _unknown_proxy(dag_run):
        _refuse(dag_run, why)
        return
    create_missing_pools(session)
    for name in pools_without_slots(dag_run, session):
        add_note(dag_run, f"Pool {name} has no slots as the run starts; until it has, tasks wait (Admin > Pools).")


def _count_restart(dag_run: DagRun, session: Session) -> None:
    """Count a run that begins again as cleared, because the rule of a second person asks Airflow for that count.

    Airflow itself leaves out a clear of tasks whose call says ``reset_dag_runs: false``.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from sqlalchemy import exists, or_, select

    now, before = TaskInstance, TaskInstanceHistory
    worked = exists().where(now.dag_id == dag_run.dag_id, now.run_id == dag_run.run_id, now.try_number > 0)
    cleared = exists().where(before.dag_id == dag_run.dag_id, before.run_id == dag_run.run_id)
    if not dag_run.clear_number and session.scalar(select(or_(worked, cleared))):
        dag_run.clear_number = 1


def _unknown_fields(dag_run: DagRun) -> str | None:
    """Return why the run's fields are wrong."""
    known = list(dag_of(dag_run).params)
    unknown = sorted(set(dag_run.conf or {}) - {*known, _FIELD_OF_AIRFLOW})
    if not unknown:
        return None
    named = ", ".join(map(repr, unknown))
    return f"{dag_run.dag_id} has no field {named}. It has {', '.join(known)}. Trigger a new run with these."


def _unknown_proxy(dag_run: DagRun) -> str | None:
    """Return why the run's proxy is none."""
    chosen = chosen_proxy(dag_run.conf)
    if chosen is None or chosen in proxies():
        return None
    return (
        f"there is no proxy {chosen!r}. Airflow's setting [vmkeep] proxies lists {', '.join(proxies())}. "
        "Trigger a new run with one of these; or list it again, restart the scheduler, and clear this run."
    )


def _refuse(dag_run: DagRun, why: str) -> None:
    """Fail a run before any of its tasks is done."""
    from airflow.utils.state import DagRunState

    log.error("run %s of %s is not started: %s", dag_run.run_id, dag_run.dag_id, why)
    dag_run.set_state(DagRunState.FAILED)
    add_note(dag_run, f"Not started: {why}")
