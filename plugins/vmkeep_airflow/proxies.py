"""Names the backup proxies from which a run may choose. Each name is that of a queue and of a pool.

Airflow imports this module while Airflow itself is being imported, because ``routing`` is a policy. So only functions
import Airflow here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmkeep.selection import Selector

BACKUP_PROXY = "backup_proxy"
"""Queue and pool of the proxies that a run uses if it names none. The DAG files send their tasks there."""

SLOTS = 4
"""Number of disks that the proxies of one queue transfer at once, unless an administrator changes the pool."""


def proxies() -> tuple[str, ...]:
    """Return the names of all proxies: ``backup_proxy``, then those in Airflow's setting ``[vmkeep] proxies``."""
    from airflow.configuration import conf

    listed = conf.get("vmkeep", "proxies", fallback="").split(",")
    return tuple(dict.fromkeys([BACKUP_PROXY, *(name.strip() for name in listed if name.strip())]))


def reaches() -> dict[str, Selector | None]:
    """Return every proxy with the VMs that it reaches best; ``None``: it reaches any VM, by the network.

    Airflow's setting ``[vmkeep] proxy_reach`` names them: JSON, by proxy a selector such as ``datastore:san-*``.

    :raises UsageError: the setting names no proxy, or a selector has a fault.
    """
    from airflow.configuration import conf

    from vmkeep.errors import UsageError
    from vmkeep.selection import parse_selector

    where = "Airflow's setting [vmkeep] proxy_reach"
    try:
        given = json.loads(conf.get("vmkeep", "proxy_reach", fallback="") or "{}")
    except ValueError as error:
        raise UsageError(f"{where} is no JSON: {error}") from error
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
        raise UsageError(f'{where} has to be like {{"site-b": "cluster:B*"}}')
    if unknown := sorted(set(given) - set(proxies())):
        raise UsageError(f"{where} names {', '.join(unknown)}, and [vmkeep] proxies lists {', '.join(proxies())}")
    found: dict[str, Selector | None] = {}
    for name in proxies():
        try:
            found[name] = parse_selector(given[name]) if name in given else None
        except UsageError as error:
            raise UsageError(f"{where}, {name}: {error}") from error
    return found


def chosen_proxy(conf: Mapping[str, Any] | None) -> str | None:
    """Return the proxy that a run names in its field ``proxy``; ``None``: it names none."""
    return (conf or {}).get("proxy") or None
