"""Finds the ESXi hosts whose newest good bundle is too old, or which have none although other hosts there have some."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from vmkeep.flows.host_list import ListedHost, list_with_points
from vmkeep.model.site import Site
from vmkeep.repository import open_site_repository

TOO_OLD: Final = timedelta(hours=48)
"""Twice the time between two runs of ``host_config_backup`` by its schedule."""


def overdue_hosts(site: Site) -> list[str]:
    """Return the hosts of a vCenter that are overdue, each with the reason in words.

    Hosts count only if the vCenter still has them. If none of these has a point, nobody backs them up into this
    repository, and none is overdue.
    """
    with open_site_repository(site) as repository:
        hosts = list_with_points(repository, site.vcenter)
    return overdue_of([host for host in hosts if host.state is not None])


def overdue_of(hosts: Sequence[ListedHost]) -> list[str]:
    """Return those of a vCenter's hosts that are overdue, each with the reason in words."""
    if not any(host.points for host in hosts):
        return []
    return [f"{host.name}: {why}" for host in hosts if (why := _why(host))]


def _why(host: ListedHost) -> str:
    """Return why a host is overdue; empty: it is not."""
    if not host.points:
        return "no bundle, although other hosts of its vCenter have some"
    if host.last_point_at is None or host.last_point_age_seconds is None:
        return f"its newest bundle cannot be read: {host.problem}"
    if host.last_point_age_seconds <= TOO_OLD.total_seconds():
        return ""
    return f"newest bundle {host.last_point_at:%Y-%m-%d %H:%M} UTC"
