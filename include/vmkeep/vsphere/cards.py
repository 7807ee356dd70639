"""Finds the network for each network card of a new VM, from the cards of the saved VM and a person's choices.

A standard network is recognised by its name. A port group of a distributed switch is recognised by its key and the
switch's UUID within one vCenter; in another vCenter by the names that were saved with the VM. If several networks have
one name, none is chosen silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from vmkeep.errors import AmbiguousError, NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.model.fieldwords import named
from vmkeep.model.references import References
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.candidates import Named, instead
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.networks import Network, NetworkKind, offered_by
from vmkeep.vsphere.session import Session

NONE = "none"
"""Stands in place of a network's name: the card is made, and starts disconnected."""
HOW = f"with {named('networks', 'OLD=NEW')}"

_Card = vim.vm.device.VirtualEthernetCard


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The origin of a saved configuration, which gives its ids their meaning."""

    vcenter: str | None = None
    """UUID of the server that gave out the ids."""
    references: References = field(default_factory=References)


UNKNOWN = Origin()


@dataclass(frozen=True, slots=True, kw_only=True)
class CardNetwork:
    """The network of one card of a new VM."""

    label: str
    """Label of the card in the saved VM."""
    network: Network
    connected: bool = True
    """``False``: the card starts disconnected, and stays so until somebody connects it."""
    held_back: bool = False
    """The card would be connected, if this VM's cards did not all have to start disconnected."""
    note: str = ""
    """Reason for this network, if a person has to know it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCard:
    """A network card of a saved VM, with the names by which a person can name it."""

    key: int
    label: str
    network: str
    """Name of the card's network, or its id if the name was not saved."""
    names: tuple[str, ...]
    """Words that name the network: its name and its id."""
    unnamed: bool
    """Only the id of the network was saved."""


def saved_cards(devices: Iterable[Any], origin: Origin) -> tuple[SavedCard, ...]:
    """Return the network cards among saved devices, in order of device key."""
    cards = sorted((device for device in devices if isinstance(device, _Card)), key=lambda card: card.key)
    return tuple(_saved_card(card, origin) for card in cards)


def _saved_card(card: Any, origin: Origin) -> SavedCard:
    network_id, switch = _saved_id(card.backing)
    known = origin.references.network(network_id, switch) if network_id else None
    names = tuple(name for name in (known.name if known else None, _device_name(card.backing), network_id) if name)
    return SavedCard(
        key=card.key,
        label=_label(card),
        network=next(iter(names), "no network"),
        names=names,
        unnamed=bool(network_id) and known is None,
    )


def card_networks(
    session: Session,
    host: Any,
    devices: Iterable[Any],
    wanted: Mapping[str, str],
    *,
    origin: Origin,
    same_vcenter: bool,
    connected: bool = True,
) -> dict[int, CardNetwork]:
    """Return the network that each saved card gets on a host, by the card's saved device key.

    :param wanted: label of a card, or name or id of its network → name or id of the new network, or :data:`NONE`.
    :param same_vcenter: this is the vCenter that gave out the ids in the saved configuration.
    :param connected: the cards are connected as saved; else all start disconnected.
    :raises NotFoundError: the host has no such network. The message lists those that it has.
    :raises AmbiguousError: several networks of the host fit.
    """
    by_key = {device.key: device for device in devices if isinstance(device, _Card)}
    if not by_key:
        return {}
    chooser = _Chooser(offered_by(session, host), origin, same_vcenter=same_vcenter)
    chosen = {}
    for card in saved_cards(by_key.values(), origin):
        new = _wanted(card, wanted)
        found = chooser.saved(card, by_key[card.key].backing) if new is None else chooser.mapped(card, new)
        chosen[card.key] = found if connected else replace(found, connected=False, held_back=found.connected)
    return chosen


def _wanted(card: SavedCard, wanted: Mapping[str, str]) -> str | None:
    """Return the network that a person chose for a card. A choice by label goes before one by network."""
    return next((wanted[name] for name in (card.label, *card.names) if name in wanted), None)


class _Chooser:
    """Chooses among the networks that one host offers."""

    def __init__(self, offered: Sequence[Network], origin: Origin, *, same_vcenter: bool) -> None:
        self._offered = offered
        self._origin = origin
        self._same_vcenter = same_vcenter

    def mapped(self, card: SavedCard, name: str) -> CardNetwork:
        """Return the network that a person chose for a card."""
        if name == NONE:
            return self._unconnected(card)
        found = [each for each in self._offered if each.name == name] or [
            each for each in self._offered if each.moref == name
        ]
        return CardNetwork(label=card.label, network=self._only(card, name, found))

    def saved(self, card: SavedCard, backing: Any) -> CardNetwork:
        """Return the network that a card was on, or else the host's one network of that name."""
        exact = [each for each in self._offered if self._is_exact(each, backing)]
        namesakes = [each for each in self._offered if each.name == card.network and each not in exact]
        if len(exact) == 1:
            others = ", ".join(each.candidate for each in namesakes)
            note = f"{card.label}: goes onto {exact[0].candidate}, not onto {others}" if others else ""
            return CardNetwork(label=card.label, network=exact[0], note=note)
        found = self._by_kind(backing, exact or namesakes)
        network = self._only(card, card.network, found)
        note = f"{card.label}: by its name, network {card.network} is taken to be {network.candidate}"
        return CardNetwork(label=card.label, network=network, note=note)

    def _is_exact(self, offered: Network, backing: Any) -> bool:
        network_id, switch = _saved_id(backing)
        kind = _kind_of(backing)
        if kind is not offered.kind:
            return False
        if kind is NetworkKind.STANDARD:
            return offered.name == _device_name(backing)
        if kind is NetworkKind.PORT_GROUP:
            return self._same_vcenter and bool(switch) and (offered.id, offered.switch_uuid) == (network_id, switch)
        return offered.id == network_id

    def _by_kind(self, backing: Any, namesakes: list[Network]) -> list[Network]:
        """Keep the networks that have the saved kind and the saved switch. If none has, keep all of them."""
        same = [each for each in namesakes if each.kind is _kind_of(backing)] or namesakes
        network_id, switch_uuid = _saved_id(backing)
        known = self._origin.references.network(network_id, switch_uuid) if network_id else None
        return [each for each in same if known and each.switch_name == known.switch_name] or same

    def _unconnected(self, card: SavedCard) -> CardNetwork:
        """Return a network for a card that starts disconnected: its own, or else any, because vSphere asks for one."""
        own = [each for each in self._offered if each.name in card.names]
        usable = sorted(own or self._offered, key=lambda each: (each.kind is not NetworkKind.STANDARD, each.shown))
        if not usable:
            raise NotFoundError(f"{card.label}: the host has no network at all, and a card cannot be made without one")
        return CardNetwork(label=card.label, network=usable[0], connected=False)

    def _only(self, card: SavedCard, name: str, found: Sequence[Network]) -> Network:
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(each.candidate for each in found)
            raise AmbiguousError(
                f"{card.label}: the host has {len(found)} networks named '{name}': {listed}: map the card to one of "
                f"these by its id {HOW}"
            )
        has = instead(Named.NETWORK, name, (each.name for each in self._offered), there_are="it has")
        raise NotFoundError(
            f"{card.label}: the host has no network '{name}'; {has}: map the network to one of the host's, or to "
            f"{NONE} {HOW}"
        )


def _label(card: Any) -> str:
    return str(card.deviceInfo.label) if card.deviceInfo is not None else f"network card {card.key}"


def _kind_of(backing: Any) -> NetworkKind:
    if getattr(backing, "port", None) is not None:
        return NetworkKind.PORT_GROUP
    return NetworkKind.OPAQUE if getattr(backing, "opaqueNetworkId", None) else NetworkKind.STANDARD


def _saved_id(backing: Any) -> tuple[str, str | None]:
    """Return the id by which a backing names its network, and its switch's UUID. A standard network has no id."""
    port = getattr(backing, "port", None)
    if port is not None:
        return port.portgroupKey or "", port.switchUuid
    return getattr(backing, "opaqueNetworkId", None) or "", None


def _device_name(backing: Any) -> str:
    return decode_name(getattr(backing, "deviceName", None) or "")
