"""The pools that limit how much is copied at once, made when the scheduler starts.

Airflow lets a task whose pool does not exist wait for ever; so nobody has to remember to create one.
Sizes are the administrator's: an existing pool is never changed.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)

BACKUP_PROXY = "backup_proxy"
"""One slot per disk that is copied or written at the same time."""

_POOLS = {BACKUP_PROXY: (4, "Disks that vmkeep's backup proxies copy or write at the same time")}


@hookimpl
def on_starting(component: Any) -> None:
    """Create what is missing as a component that has a job in Airflow's database starts: the scheduler, for one."""
    if type(component).__name__ == "Job":
        create_missing_pools()


def create_missing_pools() -> tuple[str, ...]:
    """Create the pools that do not exist yet; return their names. Needs Airflow's database, so no task may call it."""
    from airflow.models.pool import Pool
    from sqlalchemy.exc import IntegrityError

    missing = tuple(name for name in _POOLS if Pool.get_pool(name) is None)
    for name in missing:
        slots, description = _POOLS[name]
        try:
            Pool.create_or_update_pool(name, slots=slots, description=description, include_deferred=False)
        except IntegrityError:
            log.debug("pool %s was created by another component in the same moment", name)
        else:
            log.info("created pool %s with %d slots", name, slots)
    return missing
