"""Reads an OVF descriptor: the machine it describes, and the files of its disks. The standard is DMTF's DSP0243.

Versions 0.9, 1 and 2 differ in their name spaces, which are not looked at. Of several configurations the default one is
taken. A part that a :class:`PortableMachine` has no place for is named in ``left_out``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.hypervisors.described import (
    FIRST_KEY,
    LONGEST_TEXT,
    DescribedMachine,
    DiskFile,
    card_model,
    controller_type,
    number,
    require_sensible,
)
from vmkeep.hypervisors.ovf_rest import unread_parts
from vmkeep.hypervisors.strangexml import children, parse_strange_xml, text_of
from vmkeep.hypervisors.unread import UNKNOWN_CONTROLLER
from vmkeep.hypervisors.written import one_line
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import ControllerKind
from vmkeep.model.portable import Firmware, LeftOut, PortableCard, PortableDisk, PortableMachine

_CPU, _MEMORY, _IDE, _SCSI, _CARD, _DISK, _OTHER, _SATA = "3", "4", "5", "6", "10", "17", "20", "20"
_UNITS = {"byte": 1, "bytes": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20, "gigabytes": 1 << 30, "terabytes": 1 << 40,
          "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}  # fmt: skip
_VMX = re.compile(r"\bvmx-0*(\d{1,3})\b")


@dataclass(frozen=True, slots=True)
class _Item:
    """A device of the machine."""

    kind: str
    id: str
    name: str
    subtype: str
    parent: str
    place: str
    resource: str
    amount: str
    units: str
    network: str
    address: str
    cores: str
    connected: bool


@dataclass(frozen=True, slots=True)
class _Controller:
    kind: ControllerKind
    type: str
    bus: int


def read_ovf(name: str, text: bytes) -> DescribedMachine:
    """Parse an OVF descriptor.

    :param name: names it in errors.
    :raises UsageError: it is none, or its parts do not fit together.
    :raises UnsupportedError: it describes several machines, or none.
    """
    root = parse_strange_xml(name, text)
    if root.tag != "Envelope":
        raise UsageError(f"{name}: is no OVF: its first element is '{root.tag[:60]}', and not 'Envelope'")
    system = _system(name, root)
    hardware = next(children(system, "VirtualHardwareSection"), None)
    if hardware is None:
        raise UsageError(f"{name}: describes no hardware (VirtualHardwareSection)")
    elements = _items(root, hardware)
    items = [_item(element) for element in elements]
    disks, files, used = _disks(name, root, items)
    nvram = _nvram(root, hardware)
    operating = next(children(system, "OperatingSystemSection"), None)
    cpus, memory = _first(items, _CPU), _first(items, _MEMORY)
    config = {key: entry.get("value", "") for entry in children(hardware, "Config") if (key := entry.get("key"))}
    version = _VMX.search(text_of(hardware.find("System"), "VirtualSystemType"))
    machine = PortableMachine(
        name=(text_of(system, "Name") or system.get("id", ""))[:LONGEST_TEXT],
        cpus=number(f"{name}: the number of processors", cpus.amount if cpus else "", 1),
        cores_per_socket=max(1, number(f"{name}: CoresPerSocket", cpus.cores if cpus else "", 1)),
        memory_mib=_memory(name, memory),
        firmware=Firmware.EFI if config.get("firmware", "").lower() == "efi" else Firmware.BIOS,
        secure_boot=config.get("bootOptions.efiSecureBootEnabled", "").lower() == "true",
        guest_id=(operating.get("osType", "") if operating is not None else "") or "otherGuest64",
        guest_name=text_of(operating, "Description")[:LONGEST_TEXT],
        hardware_version=int(version[1]) if version else None,
        annotation=text_of(next(children(system, "AnnotationSection"), None), "Annotation")[:LONGEST_TEXT],
        disks=disks,
        cards=tuple(_card(number, item) for number, item in enumerate(_all(items, _CARD), 1)),
        left_out=(*_moved(items), *unread_parts(root, system, elements, {*used, nvram.get("id", "")})),
    )
    require_sensible(name, machine)
    named = tuple(file.get("href", "") for file in children(next(children(root, "References"), None), "File"))
    return DescribedMachine(machine=machine, files=files, nvram=nvram.get("href", ""), files_named=named)


def _system(name: str, root: Element) -> Element:
    systems = [root, *children(root, "VirtualSystemCollection")]
    found = [system for parent in systems for system in children(parent, "VirtualSystem", "Content")]
    if len(found) != 1 or any(True for parent in systems[1:] for _ in children(parent, "VirtualSystemCollection")):
        names = ", ".join(system.get("id", "?")[:60] for system in found[:10]) or "none"
        raise UnsupportedError(
            f"{name}: describes {len(found)} machines ({names}), and one can be imported at a time: export them one by "
            "one"
        )
    return found[0]


def _items(root: Element, hardware: Element) -> list[Element]:
    """Return the devices of the default configuration."""
    options = list(children(next(children(root, "DeploymentOptionSection"), None), "Configuration"))
    chosen = next((one for one in options if one.get("default") == "true"), options[0] if options else None)
    wanted = chosen.get("id") if chosen is not None else None
    return [
        item
        for item in children(hardware, "Item", "StorageItem", "EthernetPortItem")
        if (configurations := item.get("configuration")) is None or wanted in configurations.split()
    ]


def _item(item: Element) -> _Item:
    return _Item(
        kind=text_of(item, "ResourceType"),
        id=text_of(item, "InstanceID"),
        name=one_line(text_of(item, "ElementName")[:LONGEST_TEXT]),
        subtype=text_of(item, "ResourceSubType").lower(),
        parent=text_of(item, "Parent"),
        place=text_of(item, "AddressOnParent"),
        resource=text_of(item, "HostResource"),
        amount=text_of(item, "VirtualQuantity"),
        units=text_of(item, "AllocationUnits"),
        network=text_of(item, "Connection")[:LONGEST_TEXT],
        address=text_of(item, "Address"),
        cores=text_of(item, "CoresPerSocket"),
        connected=text_of(item, "AutomaticAllocation").lower() not in ("false", "0"),
    )


def _nvram(root: Element, hardware: Element) -> dict[str, str]:
    """Return id and name of the file that holds the firmware's own memory, as vSphere writes it; empty: none does."""
    told = (each.get("value", "") for each in children(hardware, "ExtraConfig") if each.get("key") == "nvram")
    wanted = next(told, "").rpartition("/")[2]
    files = children(next(children(root, "References"), None), "File")
    return dict(next((file.attrib for file in files if wanted and file.get("id") == wanted), {}))


def _disks(
    name: str, root: Element, items: Sequence[_Item]
) -> tuple[tuple[PortableDisk, ...], tuple[DiskFile, ...], set[str]]:
    """Return the disks, their files, and the ids of these files."""
    files = {file.get("id"): file for file in children(next(children(root, "References"), None), "File")}
    section = next(children(root, "DiskSection"), None)
    known = {disk.get("diskId"): disk for disk in children(section, "Disk")}
    controllers = _controllers(items)
    disks: list[PortableDisk] = []
    found: list[DiskFile] = []
    used: set[str] = set()
    taken: set[tuple[ControllerKind, int, int]] = set()
    for key, item in enumerate(_all(items, _DISK), FIRST_KEY):
        label = item.name or f"disk {key - FIRST_KEY + 1}"
        described = known.get(item.resource.rpartition("/")[2])
        if described is None:
            raise UsageError(f"{name}: {label[:60]} refers to '{item.resource[:60]}', which no DiskSection describes")
        file = files.get(described.get("fileRef"))
        if file is None:
            raise UnsupportedError(
                f"{name}: {label[:60]} is an empty disk without a file: add it to the machine afterwards"
            )
        _require_alone(name, label, described, file)
        used.add(file.get("id", ""))
        controller = controllers.get(item.parent) or _Controller(
            ControllerKind.SCSI, controller_type(ControllerKind.SCSI, ""), 0
        )
        unit = (
            number(f"{name}: AddressOnParent of {label[:60]}", item.place, -1)
            if item.place
            else _free(controller, taken)
        )
        taken.add((controller.kind, controller.bus, unit))
        capacity = number(f"{name}: the capacity of {label[:60]}", described.get("capacity", ""))
        capacity *= _unit(name, described.get("capacityAllocationUnits", "byte"))
        disks.append(
            PortableDisk(
                label=f"Hard disk {len(disks) + 1}", controller=controller.kind, controller_type=controller.type,
                bus=controller.bus, unit=unit, capacity=capacity, key=key,
            )
        )  # fmt: skip
        found.append(
            DiskFile(
                key=key, name=file.get("href", ""), format=described.get("format", ""), capacity=capacity,
                compressed=file.get("compression", "identity") not in ("", "identity"),
            )
        )  # fmt: skip
    if not disks:
        raise UnsupportedError(f"{name}: describes a machine without a disk")
    return tuple(disks), tuple(found), used


def _require_alone(name: str, label: str, described: Element, file: Element) -> None:
    if described.get("parentRef"):
        raise UnsupportedError(
            f"{name}: {label[:60]} is the difference to another disk: export the machine without snapshots"
        )
    if file.get("chunkSize"):
        raise UnsupportedError(f"{name}: the file of {label[:60]} is cut into chunks: export it in one piece")


def _controllers(items: Sequence[_Item]) -> dict[str, _Controller]:
    """Return the controllers by their id, each on the bus that its address names.

    A controller without an address, or with one that another controller has, gets the first free bus.
    """
    found: dict[str, _Controller] = {}
    kinds = [(item, kind) for item in items if (kind := _controller_kind(item)) is not None]
    told: dict[tuple[ControllerKind, int], _Item] = {}
    for item, kind in kinds:
        if re.fullmatch("[0-3]", item.address):
            told.setdefault((kind, int(item.address)), item)
    for item, kind in kinds:
        bus = next((bus for (its, bus), one in told.items() if its is kind and one is item), None)
        if bus is None:
            bus = next(bus for bus in range(len(kinds)) if (kind, bus) not in told)
            told[kind, bus] = item
        subtype = item.subtype.split()[0] if item.subtype else "lsilogic"
        found[item.id] = _Controller(kind, controller_type(kind, subtype), bus)
    return found


def _controller_kind(item: _Item) -> ControllerKind | None:
    if item.kind == _IDE:
        return ControllerKind.IDE
    if item.kind == _SCSI:
        return ControllerKind.SCSI
    if item.kind == _OTHER and "nvme" in item.subtype:
        return ControllerKind.NVME
    if item.kind == _OTHER and ("ahci" in item.subtype or "sata" in item.subtype):
        return ControllerKind.SATA
    return None


def _moved(items: Sequence[_Item]) -> list[LeftOut]:
    """Name the disks whose controller is none that is known."""
    controllers = _controllers(items)
    return [
        LeftOut(part=f"controller of {item.name or item.resource}"[:100], why=UNKNOWN_CONTROLLER)
        for item in _all(items, _DISK)
        if item.parent not in controllers
    ]


def _free(controller: _Controller, taken: set[tuple[ControllerKind, int, int]]) -> int:
    return next(
        unit
        for unit in range(len(taken) + 2)
        if (controller.kind, controller.bus, unit) not in taken
        and not (controller.kind is ControllerKind.SCSI and unit == 7)
    )


def _card(number_: int, item: _Item) -> PortableCard:
    mac = item.address.lower().replace("-", ":")
    return PortableCard(
        label=f"Network adapter {number_}",
        model=card_model((item.subtype.split() or ["e1000"])[0]),
        mac=mac if re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac) else None,
        network=item.network,
        connected=item.connected,
    )


def _memory(name: str, item: _Item | None) -> int:
    if item is None:
        return 1024
    amount = number(f"{name}: the memory", item.amount)
    return amount * _unit(name, item.units or "byte * 2^20") >> 20


def _unit(name: str, text: str) -> int:
    """Parse a unit of bytes, e.g. ``byte * 2^20`` or ``MegaBytes``."""
    plain = "".join(text.lower().split())
    if plain in _UNITS:
        return _UNITS[plain]
    power = re.fullmatch(r"bytes?\*(2|10)\^(\d{1,2})", plain)
    if power is None or int(power[2]) > 50:
        raise UsageError(f"{name}: '{text[:60]}' is no unit of bytes")
    return math.prod([int(power[1])] * int(power[2]))


def _all(items: Sequence[_Item], kind: str) -> list[_Item]:
    return [item for item in items if item.kind == kind]


def _first(items: Sequence[_Item], kind: str) -> _Item | None:
    return next(iter(_all(items, kind)), None)
