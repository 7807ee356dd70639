"""Networks that a host offers, and the backing a saved network card gets on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vmkeep.errors import AmbiguousError, NotFoundError
from vmkeep.vsphere.api import moref, vim
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_each
from vmkeep.vsphere.session import Session


def network_backings(session: Session, host: Any, devices: Iterable[Any], wanted: Mapping[str, str]) -> dict[int, Any]:
    """Return the new backing of each network card, by its saved device key.

    An id of a port group means nothing in another vCenter, where it may be another port group's: it counts only on the
    same switch.

    :param wanted: name (or port group id) of the saved network → name of the new one; others stay where they were.
    :raises NotFoundError: the host has no such network; those that it has are named.
    :raises AmbiguousError: it has several of that name.
    """
    cards = [device for device in devices if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    if not cards:
        return {}
    offered = _offered(session, host)
    return {card.key: _backing(session, card, offered, wanted) for card in cards}


def network_name(backing: Any) -> str:
    """Return by what a backing names its network: a name, or the id of a port group or an opaque network."""
    port = getattr(backing, "port", None)
    named = getattr(port, "portgroupKey", None) or getattr(backing, "opaqueNetworkId", None)
    return str(named or decode_name(getattr(backing, "deviceName", None) or ""))


def _offered(session: Session, host: Any) -> list[tuple[str, Any]]:
    networks = read(session, host, "network")["network"] or ()
    return [(decode_name(values["name"]), network) for network, values in read_each(session, networks, "name")]


def _backing(session: Session, card: Any, offered: Sequence[tuple[str, Any]], wanted: Mapping[str, str]) -> Any:
    old = _saved_network(card.backing)
    name = next((wanted[key] for key in old if key in wanted), None)
    if name is not None:
        found = [network for known, network in offered if known == name]
    else:
        name = _saved_name(card.backing)
        found = [network for known, network in offered if _is_saved(session, card.backing, known, network)]
    if len(found) == 1:
        return _on(session, found[0])
    label = card.deviceInfo.label if card.deviceInfo is not None else f"network card {card.key}"
    shown = name or next(iter(old), "?")
    if found:
        raise AmbiguousError(
            f"{label}: the host has {len(found)} networks named '{shown}' ({', '.join(map(moref, found))}): rename "
            "one, or map the network to one whose name is its own"
        )
    has = ", ".join(sorted(known for known, _ in offered)) or "none"
    raise NotFoundError(f"{label}: the host has no network '{shown}'; it has {has}: map the network to one of these")


def _is_saved(session: Session, saved: Any, name: str, network: Any) -> bool:
    """Whether an offered network is the one that a card was saved on."""
    port = getattr(saved, "port", None)
    if port is not None:
        if not isinstance(network, vim.dvs.DistributedVirtualPortgroup) or moref(network) != port.portgroupKey:
            return False
        return bool(port.switchUuid) and _switch_uuid(session, network) == port.switchUuid
    if getattr(saved, "opaqueNetworkId", None):
        if not isinstance(network, vim.OpaqueNetwork):
            return False
        return bool(read(session, network, "summary")["summary"].opaqueNetworkId == saved.opaqueNetworkId)
    return name == _saved_name(saved)


def _switch_uuid(session: Session, group: Any) -> Any:
    switch = read(session, group, "config.distributedVirtualSwitch")["config.distributedVirtualSwitch"]
    return read(session, switch, "uuid")["uuid"]


def _saved_name(backing: Any) -> str | None:
    return decode_name(getattr(backing, "deviceName", None) or "") or None


def _saved_network(backing: Any) -> list[str]:
    """By what a saved backing names its network: a port group's id, an opaque network's id, or a name."""
    port = getattr(backing, "port", None)
    names = [
        getattr(port, "portgroupKey", None),
        getattr(backing, "opaqueNetworkId", None),
        _saved_name(backing),
    ]
    return [name for name in names if name]


def _on(session: Session, network: Any) -> Any:
    kinds = vim.vm.device.VirtualEthernetCard
    if isinstance(network, vim.dvs.DistributedVirtualPortgroup):
        key = read(session, network, "key")["key"]
        port = vim.dvs.PortConnection(portgroupKey=key, switchUuid=_switch_uuid(session, network))
        return kinds.DistributedVirtualPortBackingInfo(port=port)
    if isinstance(network, vim.OpaqueNetwork):
        summary = read(session, network, "summary")["summary"]
        return kinds.OpaqueNetworkBackingInfo(
            opaqueNetworkId=summary.opaqueNetworkId, opaqueNetworkType=summary.opaqueNetworkType
        )
    return kinds.NetworkBackingInfo(deviceName=read(session, network, "name")["name"], network=network)
