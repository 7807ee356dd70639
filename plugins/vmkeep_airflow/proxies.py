"""The backup proxies that a run may choose from. Each is a name: that of a queue and of a pool.

Airflow imports this while it is itself being imported, because ``routing`` is a policy; so nothing here imports Airflow
before a function is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BACKUP_PROXY = "backup_proxy"
"""Queue and pool of the proxies that a run uses if it names no other; the DAG files send their tasks there."""

SLOTS = 4
"""Disks that the proxies of one queue move at the same time, until an administrator says otherwise."""


def proxies() -> tuple[str, ...]:
    """Return the names that a run may choose from: ``backup_proxy``, then those in Airflow's ``[vmkeep] proxies``."""
    from airflow.configuration import conf

    listed = conf.get("vmkeep", "proxies", fallback="").split(",")
    return tuple(dict.fromkeys([BACKUP_PROXY, *(name.strip() for name in listed if name.strip())]))


def chosen_proxy(conf: Mapping[str, Any] | None) -> str | None:
    """Return the proxy that a run names in its field ``proxy``; ``None``: it names none."""
    return (conf or {}).get("proxy") or None
