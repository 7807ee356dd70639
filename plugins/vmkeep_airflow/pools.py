"""Makes missing pools of the backup proxies. Each proxy has a queue and a pool of its own name.

The pool limits the number of disks that are copied at once. Airflow lets a task whose pool does not exist wait for
ever, so missing pools are made when the scheduler starts, and when a run of vmkeep starts. The administrator decides on
sizes, so an existing pool is never changed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from vmkeep_airflow.proxies import SLOTS, proxies

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_DESCRIPTION = "Disks that vmkeep's backup proxies of this queue copy or write at the same time"


@hookimpl
def on_starting(component: Any) -> None:
    """Create missing pools when a component with a job in Airflow's database starts, such as the scheduler."""
    from airflow.utils.session import create_session

    if type(component).__name__ == "Job":
        with create_session() as session:
            create_missing_pools(session)


def create_missing_pools(session: Session) -> tuple[str, ...]:
    """Create the missing pools, and return their names.

    :param session: a session of Airflow's database, so that no task may call this. It is not committed here, because a
        run starts within a transaction of the scheduler. That forbids savepoints of the session, but not of its
        connection.
    """
    from airflow.models.pool import Pool
    from sqlalchemy import insert, select
    from sqlalchemy.exc import IntegrityError

    listed = proxies()
    there = set(session.scalars(select(Pool.pool).where(Pool.pool.in_(listed))))
    missing = tuple(name for name in listed if name not in there)
    connection = session.connection()
    for name in missing:
        row = {"pool": name, "slots": SLOTS, "description": _DESCRIPTION, "include_deferred": False}
        try:
            with connection.begin_nested():
                connection.execute(insert(Pool).values(**row))
        except IntegrityError:
            log.debug("pool %s was created by another component in the same moment", name)
        else:
            log.info("created pool %s with %d slots", name, SLOTS)
    return missing


def pools_without_slots(dag_run: DagRun, session: Session) -> tuple[str, ...]:
    """Return the names of those pools of a run's tasks that let no task begin."""
    from airflow.models.pool import Pool
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    used = select(TaskInstance.pool).filter_by(dag_id=dag_run.dag_id, run_id=dag_run.run_id)
    found = select(Pool.pool).where(Pool.pool.in_(used), Pool.slots == 0).order_by(Pool.pool)
    return tuple(str(name) for name in session.scalars(found))
