"""Leads from a restore point to the DAG run that made it.

A point names its run by a run key, which is a digest of the DAG run's id. So the DAG runs of the days round the point
are looked through, by an index of Airflow's database, when somebody follows the link.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from airflow.models import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select

from vmkeep_airflow.dagruns import DagRunId

_BACKUPS: Final = ("vm_backup", "host_config_backup")
_BEFORE: Final = timedelta(days=4)
_AFTER: Final = timedelta(hours=1)
_MOST: Final = 50_000
"""DAG runs that are looked through."""


def path_of_run(run_key: str, taken_at: datetime) -> str | None:
    """Return the path of a DAG run's page in Airflow; ``None``: a command made the point, or Airflow forgot the run."""
    stem, _, number = run_key.rpartition(".")
    if not stem or not number.isdigit():
        return None
    query = (
        select(DagRun.dag_id, DagRun.run_id)
        .where(DagRun.dag_id.in_(_BACKUPS))
        .where(DagRun.run_after >= taken_at - _BEFORE, DagRun.run_after <= taken_at + _AFTER)
        .order_by(DagRun.run_after.desc())  # the newest first: a run starts shortly before its point
        .limit(_MOST)
    )
    with create_session() as session:
        for dag_id, run_id in session.execute(query):
            if DagRunId(dag_id=dag_id, run_id=run_id).run_key(int(number)) == run_key:
                return f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
    return None
