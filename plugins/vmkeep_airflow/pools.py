"""The backup proxies of this Airflow: each has a queue and a pool of its own name.

The pool limits how much is copied at once. Airflow lets a task whose pool does not exist wait for ever, so the
scheduler makes missing pools as it starts. Sizes are the administrator's: an existing pool is never changed.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.listeners import hookimpl

from vmkeep_airflow.proxies import SLOTS, proxies

log = logging.getLogger(__name__)

_DESCRIPTION = "Disks that vmkeep's backup proxies of this queue copy or write at the same time"


@hookimpl
def on_starting(component: Any) -> None:
    """Create what is missing as a component that has a job in Airflow's database starts: the scheduler, for one."""
    if type(component).__name__ == "Job":
        create_missing_pools()


def create_missing_pools() -> tuple[str, ...]:
    """Create the pools that do not exist yet; return their names. Needs Airflow's database, so no task may call it."""
    from airflow.models.pool import Pool
    from sqlalchemy.exc import IntegrityError

    missing = tuple(name for name in proxies() if Pool.get_pool(name) is None)
    for name in missing:
        try:
            Pool.create_or_update_pool(name, slots=SLOTS, description=_DESCRIPTION, include_deferred=False)
        except IntegrityError:
            log.debug("pool %s was created by another component in the same moment", name)
        else:
            log.info("created pool %s with %d slots", name, SLOTS)
    return missing
