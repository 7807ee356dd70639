"""Lists the networks of a host: standard networks, port groups of distributed switches, and networks of NSX."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import WHOLE, read, read_each
from vmkeep.vsphere.session import Session

_Card = vim.vm.device.VirtualEthernetCard


class NetworkKind(StrEnum):
    """The kinds of network to which a network card can be connected."""

    STANDARD = "standard network"
    PORT_GROUP = "port group"
    OPAQUE = "opaque network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network that a host offers."""

    kind: NetworkKind
    name: str
    managed: Any
    stored_name: str = ""
    """The name in vSphere's spelling, which a card's backing has to use too."""
    id: str = ""
    """Key of a port group, or id of an opaque network."""
    switch_uuid: str | None = None
    switch_name: str | None = None
    opaque_type: str | None = None

    @property
    def shown(self) -> str:
        """The name, with the switch or id that distinguishes networks of one name."""
        match self.kind:
            case NetworkKind.STANDARD:
                return self.name
            case NetworkKind.PORT_GROUP:
                return f"{self.name} (port group {self.id} of switch {self.switch_name})"
            case NetworkKind.OPAQUE:
                return f"{self.name} (opaque network {self.id})"

    @property
    def candidate(self) -> str:
        """The name as in :attr:`shown`, with the managed object id by which a person can choose it."""
        return f"{self.name} ({self.kind}{f' of switch {self.switch_name}' if self.switch_name else ''}, {self.moref})"

    @property
    def moref(self) -> str:
        """Managed object id."""
        return moref_of(self.managed)

    def backing(self) -> Any:
        """Return the backing of a card on this network."""
        if self.kind is NetworkKind.PORT_GROUP:
            port = vim.dvs.PortConnection(portgroupKey=self.id, switchUuid=self.switch_uuid)
            return _Card.DistributedVirtualPortBackingInfo(port=port)
        if self.kind is NetworkKind.OPAQUE:
            return _Card.OpaqueNetworkBackingInfo(opaqueNetworkId=self.id, opaqueNetworkType=self.opaque_type)
        return _Card.NetworkBackingInfo(deviceName=self.stored_name, network=self.managed)


def offered_by(session: Session, host: Any) -> list[Network]:
    """Return every network of a host to which a card can be connected."""
    networks = read(session, host, "network")["network"] or ()
    groups = [network for network in networks if isinstance(network, vim.dvs.DistributedVirtualPortgroup)]
    opaque = [network for network in networks if isinstance(network, vim.OpaqueNetwork)]
    standard = [network for network in networks if network not in groups and network not in opaque]
    return [
        *(
            Network(
                kind=NetworkKind.STANDARD,
                name=decode_name(values["name"]),
                managed=managed,
                stored_name=values["name"],
            )
            for managed, values in read_each(session, standard, "name")
            if values["name"]
        ),
        *port_groups(session, groups),
        *opaque_networks(session, opaque),
    ]


def port_groups(session: Session, groups: Iterable[Any]) -> list[Network]:
    """Return port groups of distributed switches, without those that only hold uplinks."""
    found = read_each(session, groups, "name", "key", "config.distributedVirtualSwitch", "config.uplink", page=WHOLE)
    usable = [(group, values) for group, values in found if values["name"] and not values["config.uplink"]]
    switches = {
        moref_of(switch): switch
        for _, values in usable
        if (switch := values["config.distributedVirtualSwitch"]) is not None
    }
    known = {moref_of(switch): values for switch, values in read_each(session, switches.values(), "name", "uuid")}
    return [
        Network(
            kind=NetworkKind.PORT_GROUP,
            name=decode_name(values["name"]),
            managed=group,
            id=values["key"],
            switch_uuid=known[moref_of(switch)]["uuid"],
            switch_name=decode_name(known[moref_of(switch)]["name"]),
        )
        for group, values in usable
        if (switch := values["config.distributedVirtualSwitch"]) is not None
        and moref_of(switch) in known
        and known[moref_of(switch)]["uuid"]
    ]


def opaque_networks(session: Session, networks: Iterable[Any]) -> list[Network]:
    """Return networks that vSphere does not manage, such as NSX's."""
    return [
        Network(
            kind=NetworkKind.OPAQUE,
            name=decode_name(values["name"]),
            managed=network,
            id=values["summary"].opaqueNetworkId,
            opaque_type=values["summary"].opaqueNetworkType,
        )
        for network, values in read_each(session, networks, "name", "summary", page=WHOLE)
        if values["name"] and values["summary"] is not None
    ]
