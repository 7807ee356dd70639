"""Names that a saved VM's configuration only refers to by ids: kept with a restore point as ``references.json``.

An id of a port group means nothing in another vCenter, where it may be another group's; its name does.
"""

from __future__ import annotations

from dataclasses import dataclass

ATTACHMENT = "references.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedNetwork:
    """A network that a card's backing names by an id."""

    id: str
    """Key of a distributed port group, or id of an opaque network."""
    name: str
    switch_uuid: str | None = None
    """UUID of the port group's distributed switch."""
    switch_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPolicy:
    """A storage policy that a VM's own files or one of its disks had."""

    id: str
    name: str
    disk: int | None
    """Device key; ``None``: the VM's own files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Names that the ids in one VM's configuration stood for when it was backed up."""

    networks: tuple[NamedNetwork, ...] = ()
    policies: tuple[NamedPolicy, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    """Custom attributes of the VM, name and value: the inventory keeps them, not the VM's configuration."""

    def network(self, network_id: str, switch_uuid: str | None) -> NamedNetwork | None:
        """Return the network of that id; ``None`` where its name was not kept."""
        for network in self.networks:
            if (network.id, network.switch_uuid) == (network_id, switch_uuid):
                return network
        return None


NONE_KEPT = References()
"""Points that older programs made have none."""
