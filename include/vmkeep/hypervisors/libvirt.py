"""Writes a machine as a libvirt domain.

Source of the format: https://libvirt.org/formatdomain.html, and the schema that libvirt installs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from vmkeep.hypervisors.guests import Family, Guest, guest_of
from vmkeep.hypervisors.written import FileOfDisk, Wishes, WrittenDisk, in_boot_order, one_line
from vmkeep.hypervisors.xmltext import HEAD, Element, comment
from vmkeep.model.portable import Drivers, Firmware, PortableCard, PortableMachine

DEFAULT_NETWORK = "default"
DEFAULT_FOLDER = "/var/lib/libvirt/images"
IDE_DISKS = 4
"""Greatest number of disks on the two IDE channels."""
_PREFIXES = {"ide": "hd", "sata": "sd", "scsi": "sd", "virtio": "vd"}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MAC = re.compile(r"[0-9a-f][02468ace](?::[0-9a-f]{2}){5}", re.IGNORECASE)
_SAFE_CARDS = {"e1000": "e1000", "e1000e": "e1000e", "pcnet32": "pcnet"}
"""vSphere's cards that QEMU has, too: the guest has their driver already."""


def card_model(card: PortableCard, drivers: Drivers, guest: Guest) -> str:
    """Return QEMU's name of the card that stands for a card of vSphere."""
    if drivers is Drivers.VIRTIO:
        return "virtio"
    usual = "e1000" if guest.family is Family.OLD_WINDOWS else "e1000e"
    return _SAFE_CARDS.get(card.model, usual)


def disk_bus(number: int, drivers: Drivers, guest: Guest, firmware: Firmware) -> str:
    """Return the bus of a disk: ``scsi`` (virtio), ``sata``, or ``ide`` for systems that know nothing newer.

    :param number: the disk's place in the order of starting, from 0.
    """
    if drivers is Drivers.VIRTIO:
        return "scsi"
    old = guest.family is Family.OLD_WINDOWS and firmware is Firmware.BIOS
    return "ide" if old and number < IDE_DISKS else "sata"


def usable_mac(mac: str | None) -> str | None:
    """Return a network card's address if it is one of a single card; ``None``: the hypervisor gives one out."""
    return mac.lower() if mac is not None and _MAC.fullmatch(mac) else None


def usable_uuid(uuid: str | None) -> str | None:
    """Return a machine's UUID if it has the usual form."""
    return uuid.lower() if uuid is not None and _UUID.fullmatch(uuid) else None


def libvirt_xml(machine: PortableMachine, files: Sequence[WrittenDisk], wishes: Wishes) -> str:
    """Return the domain XML. ``virsh define`` takes it on a host where the disks' files are at the paths in it."""
    guest, drivers = guest_of(machine), wishes.drivers_of(machine)
    disks = in_boot_order(machine, files)
    content = (
        Element("name", content=domain_name(machine.name)),
        *_if("uuid", usable_uuid(machine.bios_uuid)),
        *_if("title", one_line(machine.name)),
        *_if("description", machine.annotation),
        Element("memory", {"unit": "MiB"}, str(machine.memory_mib)),
        Element("vcpu", {"placement": "static"}, str(machine.cpus)),
        _os(machine),
        _features(machine, guest),
        _cpu(machine),
        Element("clock", {"offset": "localtime" if guest.is_windows else "utc"}),
        Element("on_poweroff", content="destroy"),
        Element("on_reboot", content="restart"),
        Element("on_crash", content="destroy"),
        Element("devices", content=tuple(_devices(machine, disks, guest, drivers, wishes))),
    )
    head = comment(
        "Made by vmkeep from a restore point. Before 'virsh define': check the paths of the disks and the networks.\n"
        + "".join(f"Card {one_line(card.label)} was on network '{one_line(card.network)}'.\n" for card in machine.cards)
    )
    return HEAD + head + Element("domain", {"type": "kvm"}, content).render()


def domain_name(name: str) -> str:
    """Return a name that libvirt takes: one line, without a slash."""
    return one_line(name).replace("/", "_") or "vm"


def _if(tag: str, text: str | None) -> tuple[Element, ...]:
    return (Element(tag, content=text),) if text else ()


def _os(machine: PortableMachine) -> Element:
    kind = Element("type", {"arch": "x86_64", "machine": "q35" if machine.firmware is Firmware.EFI else "pc"}, "hvm")
    if machine.firmware is Firmware.BIOS:
        return Element("os", content=(kind,))
    features = [Element("feature", {"enabled": "yes" if machine.secure_boot else "no", "name": "enrolled-keys"})]
    if machine.secure_boot:
        features.append(Element("feature", {"enabled": "yes", "name": "secure-boot"}))
    loader = (Element("loader", {"secure": "yes"}),) if machine.secure_boot else ()
    return Element("os", {"firmware": "efi"}, (kind, Element("firmware", content=tuple(features)), *loader))


def _features(machine: PortableMachine, guest: Guest) -> Element:
    content = [Element("acpi"), Element("apic")]
    if guest.family is Family.WINDOWS:
        relaxed, vapic = Element("relaxed", {"state": "on"}), Element("vapic", {"state": "on"})
        spinlocks = Element("spinlocks", {"state": "on", "retries": 8191})
        content.append(Element("hyperv", content=(relaxed, vapic, spinlocks)))
    if machine.secure_boot:
        content.append(Element("smm", {"state": "on"}))
    return Element("features", content=tuple(content))


def _cpu(machine: PortableMachine) -> Element:
    cores = machine.cores_per_socket
    topology = Element("topology", {"sockets": machine.cpus // cores, "cores": cores, "threads": 1})
    return Element("cpu", {"mode": "host-model"}, (topology,))


def _devices(
    machine: PortableMachine, disks: Sequence[FileOfDisk], guest: Guest, drivers: Drivers, wishes: Wishes
) -> Iterator[Element]:
    folder = PurePosixPath(wishes.folder or DEFAULT_FOLDER)
    buses = [disk_bus(number, drivers, guest, machine.firmware) for number in range(len(disks))]
    if wishes.converted and drivers is Drivers.VIRTIO:  # virt-v2v calls the guest's disks vda and so on
        buses = ["virtio"] * len(disks)
    for number, (written, bus) in enumerate(zip(disks, buses, strict=True)):
        driver = {"name": "qemu", "type": written.file.format}
        yield Element("disk", {"type": "file", "device": "disk"}, (
            Element("driver", {**driver, "discard": "unmap"} if bus in ("scsi", "virtio") else driver),
            Element("source", {"file": folder / written.file.name}),
            Element("target", {"dev": _device(number, buses), "bus": bus}),
            Element("boot", {"order": number + 1}),
        ))  # fmt: skip
    if "scsi" in buses:
        yield Element("controller", {"type": "scsi", "index": 0, "model": "virtio-scsi"})
    for card in machine.cards:
        yield _card(card, guest, drivers, wishes)
    if guest.is_linux:
        yield Element("serial", {"type": "pty"})
        yield Element("console", {"type": "pty"})
    yield Element("channel", {"type": "unix"}, (
        Element("target", {"type": "virtio", "name": "org.qemu.guest_agent.0"}),
    ))  # fmt: skip
    yield Element("input", {"type": "tablet", "bus": "usb"})
    yield Element("graphics", {"type": "vnc", "port": -1, "autoport": "yes", "listen": "127.0.0.1"})
    yield Element("video", content=(Element("model", {"type": "vga"}),))


def _device(number: int, buses: Sequence[str]) -> str:
    """Return the name that a disk has among those with the same letters."""
    prefix = _PREFIXES[buses[number]]
    place = sum(_PREFIXES[bus] == prefix for bus in buses[:number])
    letters = ""
    while place >= 0:
        place, letter = divmod(place, 26)
        letters, place = chr(ord("a") + letter) + letters, place - 1
    return prefix + letters


def _card(card: PortableCard, guest: Guest, drivers: Drivers, wishes: Wishes) -> Element:
    network = wishes.networks.get(card.network, DEFAULT_NETWORK)
    bridge = network.removeprefix("bridge:")
    kind = "bridge" if bridge != network else "network"
    mac = usable_mac(card.mac)
    return Element("interface", {"type": kind}, (
        *((Element("mac", {"address": mac}),) if mac else ()),
        Element("source", {kind: bridge}),
        Element("model", {"type": card_model(card, drivers, guest)}),
        *(() if card.connected else (Element("link", {"state": "down"}),)),
    ))  # fmt: skip
