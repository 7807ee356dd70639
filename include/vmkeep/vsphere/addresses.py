"""Keeps the MAC addresses of a saved VM's network cards where they are free.

An address counts as taken if another VM has it on one of the networks that the new VM's cards go to. vSphere may also
give another address than it was asked for, so that the addresses are compared after the VM was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_each
from vmkeep.vsphere.session import Session

DEVICES = "config.hardware.device"
_Card = vim.vm.device.VirtualEthernetCard


def taken_addresses(
    session: Session, devices: Iterable[Any], networks: Iterable[Any], *, gone: str | None = None
) -> dict[int, str]:
    """Return the VM that has the address of a saved card, by the card's device key, for each address that is taken.

    :param devices: the saved devices.
    :param networks: the networks that the new cards go to.
    :param gone: managed object id of a VM that is removed before the new one is made.
    """
    saved = {address: card.key for card in cards_of(devices) if (address := _address(card))}
    taken: dict[int, str] = {}
    for vm, values in read_each(session, _vms_on(session, networks) if saved else (), "name", DEVICES):
        for card in cards_of(values[DEVICES] or ()) if moref_of(vm) != gone else ():
            if (key := saved.get(_address(card))) is not None:
                taken[key] = f"VM {decode_name(values['name'] or '')} ({moref_of(vm)})"
    return taken


def settled_addresses(devices: Iterable[Any], new: Mapping[int, Any]) -> tuple[tuple[str, str], ...]:
    """Return the label of each saved card, and the address that the new card is to have; empty: a new one.

    :param new: the new cards, by the saved device key.
    """
    return tuple(
        (label_of(card), (new[card.key].macAddress or "").lower()) for card in cards_of(devices) if card.key in new
    )


def other_addresses(session: Session, moref: str, settled: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a warning for each card of a new VM that has another address than it was to have."""
    wanted = list(settled)
    if not any(address for _, address in wanted):
        return
    with speaking(f"look at the MAC addresses of VM {moref}"):
        found = cards_of(read(session, session.vm(moref), DEVICES)[DEVICES] or ())
    for (label, address), card in zip(wanted, found, strict=False):
        if address and _address(card) != address:
            yield f"{label}: vSphere did not take its MAC address {address} and gave it {_address(card) or 'none'}"


def cards_of(devices: Iterable[Any]) -> list[Any]:
    """Return the network cards among some devices, in the order of their keys, in which vSphere counts them."""
    return sorted((device for device in devices if isinstance(device, _Card)), key=lambda card: card.key)


def label_of(card: Any) -> str:
    """Return the label of a card, or its key in words."""
    return str(card.deviceInfo.label) if card.deviceInfo is not None else f"network card {card.key}"


def _vms_on(session: Session, networks: Iterable[Any]) -> list[Any]:
    found = {
        moref_of(vm): vm for _, values in read_each(session, dict.fromkeys(networks), "vm") for vm in values["vm"] or ()
    }
    return list(found.values())


def _address(card: Any) -> str:
    return (card.macAddress or "").lower()
