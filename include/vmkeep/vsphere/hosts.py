"""Finds the hosts on which a new VM can be made, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vmkeep.errors import ConflictError, UsageError
from vmkeep.lateclass import dataclass
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.candidates import Named, one_named
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import WHOLE, read, read_all, read_each
from vmkeep.vsphere.session import Session

_STATE = ("name", "runtime.connectionState", "runtime.inMaintenanceMode", "runtime.powerState")
_SHOWN_HOSTS = 5
"""Number of host names that one message lists."""
_SHOWN_REASONS = 3
"""Number of different reasons that one message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The hosts on which one new VM can be made."""

    usable: tuple[Any, ...]
    """At least one host. The first one with all that the VM needs is taken."""
    by_vsphere: bool
    """vSphere may choose among these hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlace:
    """The host and cluster on which a VM runs, by names that people read."""

    name: str
    """Name of the host."""
    cluster: str | None
    """Name of its cluster; ``None``: the host is in no cluster, or the user may not see it."""


def list_places(session: Session) -> dict[str, HostPlace]:
    """Return every host that the user may see, by managed object id."""
    clusters = {
        moref_of(cluster): decode_name(values["name"])
        for cluster, values in read_all(session, vim.ClusterComputeResource, "name")
        if values["name"]
    }
    return {
        moref_of(host): HostPlace(
            name=decode_name(values["name"]),
            cluster=clusters.get(moref_of(values["parent"])) if values["parent"] is not None else None,
        )
        for host, values in read_all(session, vim.HostSystem, "name", "parent")
        if values["name"]
    }


def host_named(session: Session, datacenter: Any, wanted: str | None, *, where: str = "") -> Any | None:
    """Return the host that a person names, which has to be in use; ``None``: no host is wanted.

    :raises NotFoundError: the datacenter has no such host. The message suggests the nearest names.
    :raises AmbiguousError: several hosts have that name.
    :raises ConflictError: the host is not connected, in maintenance mode or in standby.
    """
    if wanted is None:
        return None
    hosts = [
        (decode_name(values["name"]), host)
        for host, values in read_all(session, vim.HostSystem, "name", under=datacenter, page=WHOLE)
    ]
    found = one_named(session, Named.HOST, wanted, hosts, where=where)
    require_in_use(session, found)
    return found


def require_in_use(session: Session, host: Any) -> None:
    """Return if a VM can be made on a host.

    :raises ConflictError: the host is not connected, in maintenance mode or in standby.
    """
    state = read(session, host, *_STATE)
    if (why := why_not_in_use(state)) is not None:
        raise ConflictError(f"no VM can be made on host {decode_name(state['name'])}: it is {why}")


def find_hosts(session: Session, pool: Any, *, named: Any | None, first: Any | None) -> Hosts:
    """Return the hosts on which a VM of a resource pool can be made.

    :param named: the host that a person chose, which is in use.
    :param first: the host to try first, if it belongs to the pool: the one on which the original VM runs.
    :raises UsageError: the chosen host does not belong to the pool.
    :raises ConflictError: no host of the pool is in use.
    """
    owner = read(session, pool, "owner")["owner"]
    about = read(session, owner, "name", "host")
    members = about["host"] or ()
    if named is not None:
        if moref_of(named) not in map(moref_of, members):
            name = read(session, named, "name")["name"]
            raise UsageError(
                f"host {name} is not in {about['name']}, to which the resource pool belongs: choose one of it"
            )
        return Hosts(usable=(named,), by_vsphere=False)
    states = [(host, values, why_not_in_use(values)) for host, values in read_each(session, members, *_STATE)]
    usable = [host for host, _, why in states if why is None]
    if not usable:
        listed = ", ".join(f"{values['name']} is {why}" for _, values, why in states) or "it has no host"
        raise ConflictError(f"no VM can be made in {about['name']}: {listed}")
    usable.sort(key=lambda host: first is None or moref_of(host) != moref_of(first))
    return Hosts(usable=tuple(usable), by_vsphere=_uses_drs(session, owner))


def told_by_host(lacking: Mapping[str, str]) -> str:
    """Word what each host lacks. Hosts that lack the same share a sentence, and long lists are cut.

    :param lacking: the reason, by the host's name.
    """
    hosts: dict[str, list[str]] = {}
    for host, why in lacking.items():
        hosts.setdefault(why, []).append(host)
    told = [f"on {_first(sorted(names), _SHOWN_HOSTS)}: {why}" for why, names in hosts.items()]
    return _first(told, _SHOWN_REASONS, "; ")


def _first(words: Sequence[str], most: int, between: str = ", ") -> str:
    more = [f"and {len(words) - most} more"] if len(words) > most else []
    return between.join([*words[:most], *more])


def why_not_in_use(state: Mapping[str, Any]) -> str | None:
    """Return the reason why no VM can be made on a host, from its properties; ``None``: one can."""
    if str(state["runtime.connectionState"]) != "connected":
        return str(state["runtime.connectionState"])
    if state["runtime.inMaintenanceMode"]:
        return "in maintenance mode"
    if str(state["runtime.powerState"]) in ("standBy", "poweredOff"):
        return "in standby"
    return None


def _uses_drs(session: Session, owner: Any) -> bool:
    """Return whether vSphere can choose the host of a new VM, as it does in a cluster that uses DRS."""
    if not isinstance(owner, vim.ClusterComputeResource):
        return False
    config = read(session, owner, "configurationEx")["configurationEx"]
    drs = getattr(config, "drsConfig", None)
    return bool(drs is not None and drs.enabled)
