"""Devices of a VM that is to be created again: from those saved to the changes of a ConfigSpec. Pure.

The rules: what every VM has by itself is left out; every other device gets a negative temporary key; a
``controllerKey`` points at such a key, or at the real key of a default controller; nothing refers to old files.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vmkeep.vsphere.api import type_name, vim
from vmkeep.vsphere.disks import controller_kind, disks_of
from vmkeep.vsphere.networks import CardNetwork
from vmkeep.vsphere.specdisks import DiskRules, new_disk

_DEFAULT = (
    "VirtualIDEController",
    "VirtualPS2Controller",
    "VirtualPCIController",
    "VirtualSIOController",
    "VirtualKeyboard",
    "VirtualVMCIDevice",
    "VirtualPointingDevice",
)
_KEPT = (
    "VirtualMachineVideoCard",
    "VirtualUSBController",
    "VirtualUSBXHCIController",
    "VirtualWDT",
    "VirtualPrecisionClock",
)
"""Devices taken over as they are; controllers of disks are, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRules:
    """What the surroundings of the new VM offer its devices."""

    new_identity: bool
    disks: DiskRules = field(default_factory=DiskRules)
    networks: Mapping[int, CardNetwork] = field(default_factory=dict)
    """By the device key of a network card in the saved configuration; others keep the name of their network."""
    isos: frozenset[str] = frozenset()
    """ISO files, as datastore paths, that exist; a CD drive whose file is gone becomes a remote one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChanges:
    """The device part of a ConfigSpec."""

    changes: tuple[Any, ...]
    keys: Mapping[int, int]
    """Saved device key → temporary key."""
    notes: tuple[str, ...]


def device_changes(saved: Iterable[Any], rules: DeviceRules) -> DeviceChanges:
    """Return the device changes that create the saved devices again, controllers first, in order of their keys."""
    devices = sorted(saved, key=lambda device: (controller_kind(device) is None, device.key))
    skips = {disk.key: disk.skip for disk in disks_of(devices)}
    real = {device.key: type_name(device) for device in devices if type_name(device) in _DEFAULT}
    keys: dict[int, int] = {}
    changes: list[Any] = []
    notes: list[str] = []
    for device in devices:
        if device.key in real:
            continue
        if isinstance(device, vim.vm.device.VirtualDisk):
            made = new_disk(device, skips[device.key], rules.disks, notes)
        else:
            made = _make(device, rules, notes)
        if made is None or not _connect(made, keys, real, notes):
            continue
        keys[device.key] = made.key = -(len(keys) + 1)
        changes.append(_addition(made))
    return DeviceChanges(changes=tuple(changes), keys=keys, notes=tuple(notes))


def _addition(device: Any) -> Any:
    spec = vim.vm.device.VirtualDeviceSpec(operation="add", device=device)
    if isinstance(device, vim.vm.device.VirtualDisk):
        spec.fileOperation = "create"
    return spec


def _connect(device: Any, keys: Mapping[int, int], real: Mapping[int, str], notes: list[str]) -> bool:
    """Point a device at its controller; false if that is not there."""
    old = device.controllerKey
    if old is None or real.get(old) == "VirtualPCIController":
        # Slots on the PCI bus are given out by vSphere.
        device.controllerKey = device.unitNumber = None
    elif old in keys:
        device.controllerKey = keys[old]
    elif old not in real:
        notes.append(f"{type_name(device)} {device.key}: left out with its controller")
        return False
    return True


def _make(device: Any, rules: DeviceRules, notes: list[str]) -> Any | None:
    made = copy.deepcopy(device)
    made.deviceInfo = made.slotInfo = made.deviceGroupInfo = None
    if isinstance(made, vim.vm.device.VirtualController):
        made.device = []
    if controller_kind(made) is not None:
        return _controller(made, rules, notes)
    if type_name(made) in _KEPT:
        return made
    kinds = vim.vm.device
    handlers: tuple[tuple[Any, Callable[[Any, DeviceRules], Any | None]], ...] = (
        (kinds.VirtualSriovEthernetCard, _left_out),
        (kinds.VirtualEthernetCard, _network_card),
        (kinds.VirtualCdrom, _cdrom),
        (kinds.VirtualFloppy, _floppy),
        (kinds.VirtualSoundCard, _sound_card),
        (kinds.VirtualSerialPort, _serial_port),
    )
    handler = next((handler for kind, handler in handlers if isinstance(made, kind)), _left_out)
    result = handler(made, rules)
    if result is None:
        notes.append(
            f"{device.deviceInfo.label if device.deviceInfo else type_name(device)}: left out, it depends on its host"
        )
    return result


def _left_out(device: Any, rules: DeviceRules) -> None:  # noqa: ARG001 - one of several handlers
    return None


def _controller(made: Any, rules: DeviceRules, notes: list[str]) -> Any:
    if isinstance(made, vim.vm.device.VirtualSCSIController):
        made.scsiCtlrUnitNumber = None
    if getattr(made, "sharedBus", None) not in (None, "noSharing") and not rules.disks.luns:
        # Its disks become ordinary ones, and vSphere starts no VM with those on a shared bus.
        notes.append(f"{type_name(made)} {made.busNumber}: its bus is not shared any more")
        made.sharedBus = "noSharing"
    return made


def _network_card(made: Any, rules: DeviceRules) -> Any:
    network = rules.networks.get(made.key)
    if network is not None:
        made.backing = network.network.backing()
    elif isinstance(made.backing, vim.vm.device.VirtualEthernetCard.NetworkBackingInfo):
        made.backing.network = None
    if rules.new_identity:
        made.addressType, made.macAddress, made.externalId = "generated", None, None
    if made.connectable is not None:
        made.connectable.status = made.connectable.migrateConnect = None
        made.connectable.connected = made.connectable.startConnected
    if network is not None and not network.connected:
        made.connectable = _disconnected()
    return made


def _cdrom(made: Any, rules: DeviceRules) -> Any:
    kinds = vim.vm.device.VirtualCdrom
    if isinstance(made.backing, kinds.IsoBackingInfo) and made.backing.fileName in rules.isos:
        made.backing = kinds.IsoBackingInfo(fileName=made.backing.fileName)
    else:
        made.backing = kinds.RemotePassthroughBackingInfo(deviceName="", exclusive=False)
    made.connectable = _disconnected()
    return made


def _floppy(made: Any, rules: DeviceRules) -> Any:  # noqa: ARG001 - one of several handlers
    made.backing = vim.vm.device.VirtualFloppy.RemoteDeviceBackingInfo(deviceName="")
    made.connectable = _disconnected()
    return made


def _sound_card(made: Any, rules: DeviceRules) -> Any:  # noqa: ARG001 - one of several handlers
    made.backing = vim.vm.device.VirtualSoundCard.DeviceBackingInfo(deviceName="", useAutoDetect=True)
    return made


def _serial_port(made: Any, rules: DeviceRules) -> Any | None:  # noqa: ARG001 - one of several handlers
    """Network and pipe ports can be made anywhere; a port onto a host's device or a file cannot."""
    kinds = vim.vm.device.VirtualSerialPort
    return made if isinstance(made.backing, kinds.URIBackingInfo | kinds.PipeBackingInfo) else None


def _disconnected() -> Any:
    return vim.vm.device.VirtualDevice.ConnectInfo(startConnected=False, allowGuestControl=True, connected=False)
