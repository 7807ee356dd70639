"""The ESXi hosts as a list shows them: those of a vCenter, also without a point, and those that only have points."""

from __future__ import annotations

from datetime import datetime

from vmkeep.clock import now
from vmkeep.flows.host_identity import HostKeys
from vmkeep.flows.host_points import HostPoints, list_hosts
from vmkeep.lateclass import dataclass
from vmkeep.model.hostconfig import BUNDLE
from vmkeep.model.site import VCenter
from vmkeep.repository import Repository
from vmkeep.vsphere.hostbundles import KnownHost, known_hosts
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import open_session


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedHost:
    """A host, as a line of the list."""

    name: str
    key: str
    """The key of its points."""
    moref: str | None
    server: str | None
    """Address of its vCenter."""
    state: str | None
    """``connected``, or the state in which it cannot be backed up; ``None``: no vCenter was asked, or has the host."""
    lockdown: str | None
    runs: str | None
    """Product, version and build that it runs now; ``None``: no vCenter tells."""
    runs_build: str | None
    points: int
    last_point: str | None
    """Ref of its newest point; ``None``: it has none, or the point cannot be read."""
    last_point_at: datetime | None
    last_point_age_seconds: int | None
    product: str | None
    """Product, version and build that restores the newest bundle."""
    build: str | None
    bundle_bytes: int | None
    warnings: tuple[str, ...]
    problem: str
    """The reason why its newest point cannot be read."""

    @property
    def restorable_as_it_is(self) -> bool:
        """Whether the host runs the build that restores its newest bundle, as far as that is known."""
        return self.runs_build is None or self.build is None or self.runs_build == self.build


def list_with_points(repository: Repository, vcenter: VCenter | None) -> tuple[ListedHost, ...]:
    """Return hosts with their newest points, sorted by name.

    :param vcenter: the server whose hosts are listed, too, with their states; ``None``: only hosts with points.
    """
    with_points = {host.key: host for host in list_hosts(repository)}
    there = {} if vcenter is None else _of_server(vcenter)
    keys = dict.fromkeys((*there, *with_points))
    listed = [_listed(key, there.get(key), with_points.get(key)) for key in keys]
    return tuple(sorted(listed, key=lambda host: (host.name, host.key)))


def _of_server(vcenter: VCenter) -> dict[str, tuple[KnownHost, str]]:
    """Return the hosts of a server by their keys, each with the address of the server."""
    with open_session(vcenter) as session:
        hosts = known_hosts(session)
        keys = HostKeys(hosts, server_uuid(session))
    return {keys.of(host): (host, vcenter.host) for host in hosts}


def _listed(key: str, there: tuple[KnownHost, str] | None, kept: HostPoints | None) -> ListedHost:
    host, server = there or (None, None)
    newest = kept.newest if kept else None
    release = newest.host if newest else None
    return ListedHost(
        name=host.name if host else newest.vm.name if newest else key,
        key=key,
        moref=host.moref if host else newest.vm.moref if newest else None,
        server=server or (newest.vm.server if newest else None),
        state=(host.unreachable or "connected") if host else None,
        lockdown=host.lockdown if host else None,
        runs=host.product if host else None,
        runs_build=host.build if host else None,
        points=kept.points if kept else 0,
        last_point=newest.ref if newest else None,
        last_point_at=newest.taken_at if newest else None,
        last_point_age_seconds=int((now() - newest.taken_at).total_seconds()) if newest else None,
        product=release.product if release else None,
        build=release.build if release else None,
        bundle_bytes=newest.attachment_sizes.get(BUNDLE) if newest else None,
        warnings=newest.warnings if newest else (),
        problem=kept.problem if kept else "",
    )
