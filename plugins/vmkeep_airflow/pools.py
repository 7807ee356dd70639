"""The backup proxies of this Airflow: each has a queue and a pool of its own name.

The pool limits how much is copied at once. Airflow lets a task whose pool does not exist wait for ever, so missing
pools are made as the scheduler starts, and as a run of vmkeep's starts. Sizes are the administrator's: an existing pool
is never changed.
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
    """Create what is missing as a component that has a job in Airflow's database starts: the scheduler, for one."""
    from airflow.utils.session import create_session

    if type(component).__name__ == "Job":
        with create_session() as session:
            create_missing_pools(session)


def create_missing_pools(session: Session) -> tuple[str, ...]:
    """Create the pools that do not exist yet; return their names.

    :param session: of Airflow's database, so no task may call this. It is not committed here: a run starts in the
        midst of a transaction of the scheduler's, which forbids savepoints of the session, but not of its connection.
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
