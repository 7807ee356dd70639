"""Checks a run of vmkeep's DAGs at its start, so that its tasks never wait without a reason that a person sees.

A run starts when it is triggered, and again when it is cleared after its end. In between, its proxy may have left the
list, and its pool may be gone or without slots. In Airflow a task without a pool waits for ever, and a task whose queue
has no worker waits for an hour at each try.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

from vmkeep_airflow.ours import is_ours
from vmkeep_airflow.pools import create_missing_pools, pools_without_slots
from vmkeep_airflow.proxies import chosen_proxy, proxies
from vmkeep_airflow.runnotes import add_note

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

log = logging.getLogger(__name__)


@hookimpl(trylast=True)
def on_dag_run_running(dag_run: DagRun) -> None:
    """Fail a run whose proxy is not listed. Otherwise make missing pools, and note the run's pools that have no slots.

    This listener comes last, because the note that names the run's VM is made only for a run without a note.
    """
    from sqlalchemy.orm import object_session

    if not is_ours(dag_run):
        return
    session = object_session(dag_run)
    assert session is not None
    chosen = chosen_proxy(dag_run.conf)
    if chosen is not None and chosen not in proxies():
        _refuse(dag_run, chosen)
        return
    create_missing_pools(session)
    for name in pools_without_slots(dag_run, session):
        add_note(dag_run, f"Pool {name} has no slots as the run starts; until it has, tasks wait (Admin > Pools).")


def _refuse(dag_run: DagRun, chosen: str) -> None:
    """Fail a run before any of its tasks runs."""
    from airflow.utils.state import DagRunState

    why = (
        f"Not started: there is no proxy {chosen!r}. Airflow's setting [vmkeep] proxies lists {', '.join(proxies())}. "
        "Trigger a new run with one of these; or list it again, restart the scheduler, and clear this run."
    )
    log.error("run %s of %s: %s", dag_run.run_id, dag_run.dag_id, why)
    dag_run.set_state(DagRunState.FAILED)
    add_note(dag_run, why)
