"""Gives the cards of a new VM MAC addresses that no other VM has, as a vCenter does for those that it hands out."""

import secrets
from typing import Any

from vmlab.api import vim
from vmlab.managed.machine import Device
from vmlab.managed.site import Site

MANUAL = "manual"


def give_free_addresses(site: Site, config: Any) -> None:
    """Replace an address that another VM has. One that a person chose stays, though two VMs have it then."""
    with site.world.lock:
        taken = {card.macAddress for vm in site.world.all(vim.VirtualMachine) for card in _cards(site, vm)}
    for card in config.hardware.device:
        if isinstance(card, Device.VirtualEthernetCard) and card.macAddress in taken and card.addressType != MANUAL:
            tail = secrets.token_bytes(3)
            card.macAddress = f"00:50:56:{0x80 | tail[0] >> 2:02x}:{tail[1]:02x}:{tail[2]:02x}"


def _cards(site: Site, vm: Any) -> list[Any]:
    config = site.world.get(vm, "config")
    return [device for device in config.hardware.device if isinstance(device, Device.VirtualEthernetCard)]
