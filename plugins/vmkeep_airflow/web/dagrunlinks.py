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
from sqlalchemy import or_, select

from vmkeep_airflow.dagruns import DagRunId
from vmkeep_airflow.vmruns import patterns_of_runs

_BACKUPS: Final = ("vm_backup", "host_config_backup")
_BEFORE: Final = timedelta(days=4)
_AFTER: Final = timedelta(hours=1)
_MOST: Final = 50_000
"""DAG runs that are looked through."""


def path_of_run(run_key: str, taken_at: datetime, moref: str | None) -> str | None:
    """Return the path of a DAG run's page in Airflow; ``None``: a command made the point, or Airflow forgot the run.

    :param moref: the VM's managed object id, which the ids of runs name that windows have started.
    """
    stem, _, number = run_key.rpartition(".")
    if not stem or not number.isdigit():
        return None
    near = DagRun.run_after.between(taken_at - _BEFORE, taken_at + _AFTER)
    runs = select(DagRun.dag_id, DagRun.run_id).where(DagRun.dag_id.in_(_BACKUPS), near)
    of_vm = [DagRun.run_id.like(pattern, escape="/") for pattern in patterns_of_runs(moref or "", escape="/")]
    with create_session() as session:
        # A night has thousands of runs, and a few of them name the VM. The others are looked through if none fits.
        for query in (runs.where(or_(*of_vm)), runs) if moref else (runs,):
            newest = query.order_by(DagRun.run_after.desc()).limit(_MOST)  # a run starts shortly before its point
            for dag_id, run_id in session.execute(newest):
                if DagRunId(dag_id=dag_id, run_id=run_id).run_key(int(number)) == run_key:
                    return f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
    return None
