"""Makes the saved configuration of a machine that was imported, so that a new VM can be made from it. Pure.

The result has the form of a configuration that a backup saved, and goes through the same steps of a restore. It names
no file, no network id and no identity, because the machine has none of them in vSphere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.portable import Firmware, PortableCard, PortableMachine
from vmkeep.vsphere.api import serialize, vim

_API = "vim.version.v8_0_3_0"
_DEVICES = vim.vm.device
_FIRST_KEYS = {
    ControllerKind.IDE: 200,
    ControllerKind.SCSI: 1000,
    ControllerKind.SATA: 15000,
    ControllerKind.NVME: 31000,
}
_PCI = 100
_FIRST_CARD = 4000
_USUAL_VERSION = 13
"""Virtual hardware of a machine that tells none: hosts from ESXi 6.5 on know it."""
_NEEDED = {ControllerKind.SATA: 10, ControllerKind.NVME: 13}
_LEAST = 7
_CARDS = {
    "vmxnet3": _DEVICES.VirtualVmxnet3,
    "vmxnet2": _DEVICES.VirtualVmxnet2,
    "e1000": _DEVICES.VirtualE1000,
    "e1000e": _DEVICES.VirtualE1000e,
    "vmxnet": _DEVICES.VirtualPCNet32,
    "flexible": _DEVICES.VirtualPCNet32,
    "pcnet32": _DEVICES.VirtualPCNet32,
    "vlance": _DEVICES.VirtualPCNet32,
}
_USUAL_CARD = "e1000"
_UNKNOWN_NETWORK = "VM Network"
UNKNOWN_GUEST = "otherGuest64"
"""vSphere's id for a guest system that it does not know."""


def imported_config(machine: PortableMachine, disks: Sequence[Disk]) -> bytes:
    """Return the text of ``config.xml`` for a machine.

    :param disks: its disks, as the restore point has them.
    """
    version = f"vmx-{_version(machine, disks):02}"
    config = vim.vm.ConfigInfo(
        changeVersion="",
        modified=datetime.fromtimestamp(0, UTC),
        name=machine.name,
        guestFullName=machine.guest_name,
        version=version,
        uuid=machine.bios_uuid or "",
        template=False,
        guestId=known_guest(machine.guest_id),
        alternateGuestName=machine.guest_name,
        annotation=machine.annotation,
        files=vim.vm.FileInfo(vmPathName=""),
        flags=vim.vm.FlagInfo(),
        defaultPowerOps=vim.vm.DefaultPowerOpInfo(),
        firmware=machine.firmware.value,
        bootOptions=vim.vm.BootOptions(efiSecureBootEnabled=machine.firmware is Firmware.EFI and machine.secure_boot),
        hardware=vim.vm.VirtualHardware(
            numCPU=machine.cpus,
            numCoresPerSocket=1 if machine.cpus % machine.cores_per_socket else machine.cores_per_socket,
            memoryMB=-(-machine.memory_mib // 4) * 4,  # vSphere takes multiples of 4 MB only
            virtualICH7MPresent=False,
            virtualSMCPresent=False,
            device=[*_controllers(disks), *map(_disk, disks), *_cards(machine.cards)],
        ),
    )
    return serialize(config, _API)


def known_guest(name: str) -> str:
    """Return vSphere's id of a guest system, also for the name that a ``.vmx`` file has for it.

    A ``.vmx`` file says ``debian12-64`` for ``debian12_64Guest``. An unknown name becomes ``otherGuest64``.
    """
    asked = _letters(name).removesuffix("guest")
    by_letters = {
        _letters(guest).removesuffix("guest"): guest for guest in vim.vm.GuestOsDescriptor.GuestOsIdentifier.values
    }
    by_letters |= {_letters(guest): guest for guest in vim.vm.GuestOsDescriptor.GuestOsIdentifier.values}
    return str(by_letters.get(asked) or by_letters.get(asked.replace("srv", "server")) or UNKNOWN_GUEST)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _version(machine: PortableMachine, disks: Sequence[Disk]) -> int:
    needed = [_NEEDED.get(disk.controller, _LEAST) for disk in disks]
    if machine.firmware is Firmware.EFI:
        needed.append(_USUAL_VERSION if machine.secure_boot else 8)
    return max(machine.hardware_version or _USUAL_VERSION, _LEAST, *needed)


def _controllers(disks: Sequence[Disk]) -> Iterator[Any]:
    """Yield the controllers that every VM has by itself, and those of the disks."""
    buses = {(disk.controller, disk.bus): disk.controller_type for disk in disks}
    yield _DEVICES.VirtualPCIController(key=_PCI, busNumber=0)
    for bus in range(2):
        buses.pop((ControllerKind.IDE, bus), None)
        yield _DEVICES.VirtualIDEController(key=_FIRST_KEYS[ControllerKind.IDE] + bus, busNumber=bus)
    for (kind, bus), type_ in sorted(buses.items()):
        made = getattr(_DEVICES, type_)(key=_FIRST_KEYS[kind] + bus, busNumber=bus, controllerKey=_PCI)
        if kind is ControllerKind.SCSI:
            made.sharedBus = "noSharing"
        yield made


def whole_kib(capacity: int) -> int:
    """Return the bytes of a disk that vSphere surely makes, because its API counts a disk in KiB, too.

    With a number of bytes between two, one server could take the bytes and another the KiB, which would be too small.
    """
    return -(-capacity >> 10 << 10)


def _disk(disk: Disk) -> Any:
    return _DEVICES.VirtualDisk(
        key=disk.key,
        deviceInfo=vim.Description(label=disk.label, summary=""),
        backing=_DEVICES.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True),
        controllerKey=_FIRST_KEYS[disk.controller] + disk.bus,
        unitNumber=disk.unit,
        capacityInKB=whole_kib(disk.capacity) >> 10,
        capacityInBytes=whole_kib(disk.capacity),
    )


def _cards(cards: Sequence[PortableCard]) -> Iterator[Any]:
    for number, card in enumerate(cards):
        yield _CARDS.get(card.model, _CARDS[_USUAL_CARD])(
            key=_FIRST_CARD + number,
            deviceInfo=vim.Description(label=card.label, summary=card.network),
            backing=_DEVICES.VirtualEthernetCard.NetworkBackingInfo(deviceName=card.network or _UNKNOWN_NETWORK),
            connectable=_DEVICES.VirtualDevice.ConnectInfo(
                startConnected=card.connected, allowGuestControl=True, connected=False
            ),
            controllerKey=_PCI,
            addressType="generated",
            macAddress=card.mac,
            wakeOnLanEnabled=True,
        )
