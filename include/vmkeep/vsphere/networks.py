"""Networks that a host offers, and the backing a saved network card gets on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vmkeep.errors import NotFoundError
from vmkeep.vsphere.api import moref, vim
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_each
from vmkeep.vsphere.session import Session


def network_backings(session: Session, host: Any, devices: Iterable[Any], wanted: Mapping[str, str]) -> dict[int, Any]:
    """Return the new backing of each network card, by its saved device key.

    :param wanted: name (or port group id) of the saved network → name of the new one; others stay where they were.
    :raises NotFoundError: the host has no such network; those that it has are named.
    """
    cards = [device for device in devices if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    if not cards:
        return {}
    offered = _offered(session, host)
    return {card.key: _backing(session, card, offered, wanted) for card in cards}


def _offered(session: Session, host: Any) -> dict[str, Any]:
    networks = read(session, host, "network")["network"] or ()
    return {decode_name(values["name"]): network for network, values in read_each(session, networks, "name")}


def _backing(session: Session, card: Any, offered: Mapping[str, Any], wanted: Mapping[str, str]) -> Any:
    old = _saved_network(card.backing)
    name = next((wanted[key] for key in old if key in wanted), None)
    if name is not None:
        network = offered.get(name)
    else:
        network = next((found for known, found in offered.items() if known in old or moref(found) in old), None)
    if network is None:
        label = card.deviceInfo.label if card.deviceInfo is not None else f"network card {card.key}"
        raise NotFoundError(
            f"{label}: the host has no network '{name or next(iter(old), '?')}'; it has "
            f"{', '.join(sorted(offered)) or 'none'}: map the network to one of these"
        )
    return _on(session, network)


def _saved_network(backing: Any) -> list[str]:
    """By what a saved backing names its network: a port group's id, an opaque network's id, or a name."""
    port = getattr(backing, "port", None)
    names = [
        getattr(port, "portgroupKey", None),
        getattr(backing, "opaqueNetworkId", None),
        decode_name(getattr(backing, "deviceName", None) or ""),
    ]
    return [name for name in names if name]


def _on(session: Session, network: Any) -> Any:
    kinds = vim.vm.device.VirtualEthernetCard
    if isinstance(network, vim.dvs.DistributedVirtualPortgroup):
        values = read(session, network, "key", "config.distributedVirtualSwitch")
        switch = values["config.distributedVirtualSwitch"]
        uuid = read(session, switch, "uuid")["uuid"]
        port = vim.dvs.PortConnection(portgroupKey=values["key"], switchUuid=uuid)
        return kinds.DistributedVirtualPortBackingInfo(port=port)
    if isinstance(network, vim.OpaqueNetwork):
        summary = read(session, network, "summary")["summary"]
        return kinds.OpaqueNetworkBackingInfo(
            opaqueNetworkId=summary.opaqueNetworkId, opaqueNetworkType=summary.opaqueNetworkType
        )
    return kinds.NetworkBackingInfo(deviceName=read(session, network, "name")["name"], network=network)
