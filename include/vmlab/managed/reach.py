"""Which hosts have a datastore or a network: all of them, unless it was limited to some."""

from typing import Any

from vmlab.api import vim
from vmlab.managed.site import Site


def hosts_of(site: Site, ref: Any) -> list[Any]:
    """The hosts that have a datastore or network, in order of creation."""
    limits: dict[str, list[str]] = site.world.meta("reach") or {}
    allowed = limits.get(ref._moId)
    return [host for host in site.world.all(vim.HostSystem) if allowed is None or host._moId in allowed]


def limit(site: Site, ref: Any, hosts: list[Any]) -> None:
    """Let no other hosts have a datastore or network."""
    site.world.set_meta("reach", {**(site.world.meta("reach") or {}), ref._moId: [host._moId for host in hosts]})


def reached(site: Site, kind: Any, hosts: list[Any]) -> list[Any]:
    """The datastores or networks that any of these hosts has, each once."""
    wanted = {host._moId for host in hosts}
    return [ref for ref in site.world.all(kind) if wanted & {host._moId for host in hosts_of(site, ref)}]
