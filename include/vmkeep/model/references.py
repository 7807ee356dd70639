"""Names of objects to which a saved VM's configuration refers by ids only. A point keeps them as ``references.json``.

In another vCenter the id of a port group may belong to another port group. So a restore there needs the name.
"""

from __future__ import annotations

from dataclasses import dataclass

ATTACHMENT = "references.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedNetwork:
    """A network to which a network card's backing refers by an id."""

    id: str
    """Key of a distributed port group, or id of an opaque network."""
    name: str
    switch_uuid: str | None = None
    """UUID of the port group's distributed switch."""
    switch_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPolicy:
    """A storage policy of a VM's own files or of one of its disks."""

    id: str
    name: str
    disk: int | None
    """Device key of the disk; ``None``: the policy is that of the VM's own files."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class NamedTag:
    """A tag of a VM. Its name is unique only in its category."""

    category: str
    name: str

    def __str__(self) -> str:
        """Return the tag as a person reads it."""
        return f"{self.category}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """The names that belonged to the ids in a VM's configuration at the time of its backup."""

    networks: tuple[NamedNetwork, ...] = ()
    policies: tuple[NamedPolicy, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    """Names and values of the VM's custom attributes, which the inventory holds, not the VM's configuration."""
    tags: tuple[NamedTag, ...] = ()
    """The VM's tags, which vCenter keeps beside the inventory."""

    def network(self, network_id: str, switch_uuid: str | None) -> NamedNetwork | None:
        """Return the network with an id; ``None``: its name was not kept."""
        for network in self.networks:
            if (network.id, network.switch_uuid) == (network_id, switch_uuid):
                return network
        return None


NONE_KEPT = References()
"""The references of points that older programs made: none."""
