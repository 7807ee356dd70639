"""The hosts that have a datastore or a network: all of them, unless it was limited to some."""

from typing import Any

from vmlab.api import vim
from vmlab.managed.world.world import World


def hosts_of(world: World, ref: Any) -> list[Any]:
    """Return the hosts that have a datastore or network, in order of creation."""
    limits: dict[str, list[str]] = world.meta("reach") or {}
    allowed = limits.get(ref._moId)
    return [host for host in world.all(vim.HostSystem) if allowed is None or host._moId in allowed]


def limit_hosts(world: World, ref: Any, hosts: list[Any]) -> None:
    """Let only some hosts have a datastore or network."""
    world.set_meta("reach", {**(world.meta("reach") or {}), ref._moId: [host._moId for host in hosts]})


def reached(world: World, kind: Any, hosts: list[Any]) -> list[Any]:
    """Return the datastores or networks that any of these hosts has, each once."""
    wanted = {host._moId for host in hosts}
    return [ref for ref in world.all(kind) if wanted & {host._moId for host in hosts_of(world, ref)}]
