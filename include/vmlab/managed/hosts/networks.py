"""Networks of hosts: standard ones, port groups of distributed switches, and opaque ones of NSX.

A card names a standard network by its name, a port group by its key and the switch's uuid, an opaque one by its id.
A card is refused if it names no network that its host has.
"""

import copy
import uuid
from typing import Any

from vmlab.api import fill, vim
from vmlab.managed.site import Site, computed
from vmlab.managed.world import hosts_of

Card = vim.vm.device.VirtualEthernetCard
Switch = vim.dvs.VmwareDistributedVirtualSwitch
Group = vim.dvs.DistributedVirtualPortgroup


def add_switch(site: Site, folder: Any, name: str, *, switch_uuid: str | None = None, moref: str | None = None) -> Any:
    """Enter a distributed switch. Its uuid is spelt as vSphere spells it."""
    ref = Switch(moref) if moref else site.world.new_ref(Switch, "dvs")
    made = switch_uuid or _spelled(uuid.uuid4())
    return site.world.add(ref, name=name, parent=folder, uuid=made)


def add_group(
    site: Site, folder: Any, name: str, switch: Any, *, moref: str | None = None, uplink: bool = False
) -> Any:
    """Enter a port group; its key is its id, as in a real vCenter."""
    ref = Group(moref) if moref else site.world.new_ref(Group, "dvportgroup")
    config = fill(
        Group.ConfigInfo(
            key=ref._moId, name=name, distributedVirtualSwitch=switch, numPorts=8, type="earlyBinding", uplink=uplink
        )
    )
    return site.world.add(ref, name=name, parent=folder, key=ref._moId, config=config)


def add_opaque(site: Site, folder: Any, name: str, network_id: str) -> Any:
    """Enter a network that NSX manages, not vSphere."""
    ref = site.world.new_ref(vim.OpaqueNetwork, "network-o")
    summary = fill(
        vim.OpaqueNetwork.Summary(
            network=ref,
            name=name,
            accessible=True,
            opaqueNetworkId=network_id,
            opaqueNetworkType="nsx.LogicalSwitch",
        )
    )
    return site.world.add(ref, name=name, parent=folder, summary=summary)


def network_of(site: Site, backing: Any) -> Any | None:
    """Return the network that a card's backing names, or None if there is none."""
    for ref in site.world.all(vim.Network):
        if names_network(site, backing, ref):
            return ref
    return None


def names_network(site: Site, backing: Any, ref: Any) -> bool:
    """Return whether a card's backing names a network."""
    if isinstance(backing, Card.DistributedVirtualPortBackingInfo):
        if not isinstance(ref, Group) or backing.port is None or backing.port.portgroupKey != ref._moId:
            return False
        return bool(
            site.world.get(site.world.get(ref, "config").distributedVirtualSwitch, "uuid") == backing.port.switchUuid
        )
    if isinstance(backing, Card.OpaqueNetworkBackingInfo):
        return (
            isinstance(ref, vim.OpaqueNetwork)
            and site.world.get(ref, "summary").opaqueNetworkId == backing.opaqueNetworkId
        )
    if isinstance(backing, Card.NetworkBackingInfo):
        return type(ref) is vim.Network and bool(site.world.get(ref, "name") == backing.deviceName)
    return False


def check_card(site: Site, host: Any, card: Any, index: int) -> None:
    """Raise the InvalidDeviceBacking fault if a card is on no network of a host."""
    fits = [ref for ref in site.world.all(vim.Network) if names_network(site, card.backing, ref)]
    if not any(host in hosts_of(site.world, ref) for ref in fits) or any(_uplink(site, ref) for ref in fits):
        message = f"Invalid configuration for device '{index}': its network is not on {site.world.get(host, 'name')}."
        raise vim.fault.InvalidDeviceBacking(
            deviceIndex=index, property="virtualDeviceSpec.device.backing", msg=message
        )


def _uplink(site: Site, ref: Any) -> bool:
    return bool(isinstance(ref, Group) and site.world.get(ref, "config").uplink)


@computed(Switch, "portgroup")
def groups(site: Site, ref: Any) -> list[Any]:
    """The switch's port groups."""
    return [group for group in site.world.all(Group) if site.world.get(group, "config").distributedVirtualSwitch == ref]


@computed(Switch, "summary")
def switch_summary(site: Site, ref: Any) -> Any:
    """The summary of a switch: name, uuid, number of ports."""
    world = site.world
    return fill(
        vim.DistributedVirtualSwitch.Summary(name=world.get(ref, "name"), uuid=world.get(ref, "uuid"), numPorts=8)
    )


@computed(Group, "config")
def group_config(site: Site, ref: Any) -> Any:
    """The configuration of a port group, with its present name."""
    config = copy.deepcopy(site.world.get(ref, "config"))
    config.name = site.world.get(ref, "name")
    return config


@computed(vim.OpaqueNetwork, "summary")
def opaque_summary(site: Site, ref: Any) -> Any:
    """The summary of an opaque network, with its present name."""
    found = copy.deepcopy(site.world.get(ref, "summary"))
    found.name = site.world.get(ref, "name")
    return found


def _spelled(value: uuid.UUID) -> str:
    """A switch's uuid: bytes in hexadecimal with blanks, one dash in the middle."""
    parts = [f"{byte:02x}" for byte in value.bytes]
    return f"{' '.join(parts[:8])}-{' '.join(parts[8:])}"
