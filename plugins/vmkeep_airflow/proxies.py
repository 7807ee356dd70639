"""Names the backup proxies from which a run may choose. Each name is that of a queue and of a pool.

Airflow imports this module while Airflow itself is being imported, because ``routing`` is a policy. So only functions
import Airflow here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BACKUP_PROXY = "backup_proxy"
"""Queue and pool of the proxies that a run uses if it names none. The DAG files send their tasks there."""

SLOTS = 4
"""Number of disks that the proxies of one queue transfer at once, unless an administrator changes the pool."""


def proxies() -> tuple[str, ...]:
    """Return the names of all proxies: ``backup_proxy``, then those in Airflow's setting ``[vmkeep] proxies``."""
    from airflow.configuration import conf

    listed = conf.get("vmkeep", "proxies", fallback="").split(",")
    return tuple(dict.fromkeys([BACKUP_PROXY, *(name.strip() for name in listed if name.strip())]))


def chosen_proxy(conf: Mapping[str, Any] | None) -> str | None:
    """Return the proxy that a run names in its field ``proxy``; ``None``: it names none."""
    return (conf or {}).get("proxy") or None
