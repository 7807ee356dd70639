"""Tells under which key the points of each host of a vCenter are kept, also where hosts share a hardware UUID."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vmkeep.model.hostconfig import host_key
from vmkeep.vsphere.hostbundles import KnownHost


class HostKeys:
    """The keys of the hosts of one server.

    :param hosts: every host that the user sees.
    :param server: UUID of the server.
    """

    def __init__(self, hosts: Sequence[KnownHost], server: str | None) -> None:
        self._server = server
        self._owners = Counter(host.uuid.lower() for host in hosts if host.uuid)

    def is_alone(self, host: KnownHost) -> bool:
        """Return whether no other host has this host's hardware UUID."""
        return host.uuid is None or self._owners[host.uuid.lower()] == 1

    def of(self, host: KnownHost) -> str:
        """Return the key of a host."""
        return host_key(host.uuid, vcenter=self._server, name=host.name, unique=self.is_alone(host))
