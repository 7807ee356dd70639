"""Turns the saved devices of a VM into the device changes of a ConfigSpec. Pure.

Devices that every VM has by itself are left out. Every other device gets a negative temporary key. A ``controllerKey``
points at such a key, or at the real key of a default controller. Nothing refers to files of the old VM.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import field
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk
from vmkeep.vsphere.advancedsettings import Renumbered
from vmkeep.vsphere.api import type_name, vim
from vmkeep.vsphere.cards import CardNetwork
from vmkeep.vsphere.disks import controller_kind, disks_of
from vmkeep.vsphere.specdisks import DiskRules, encryption_of, new_disk, profiles_of

_KINDS = vim.vm.device
DEFAULT = (
    _KINDS.VirtualIDEController,
    _KINDS.VirtualPS2Controller,
    _KINDS.VirtualPCIController,
    _KINDS.VirtualSIOController,
    _KINDS.VirtualKeyboard,
    _KINDS.VirtualVMCIDevice,
    _KINDS.VirtualPointingDevice,
)
"""Devices that every VM has by itself, so that they are left out without a note."""
KEPT = (
    _KINDS.VirtualVideoCard,
    _KINDS.VirtualUSBController,
    _KINDS.VirtualUSBXHCIController,
    _KINDS.VirtualWDT,
    _KINDS.VirtualPrecisionClock,
)
"""Devices that are taken over as they are, as controllers of disks are too."""
_OF_THE_HOST = "it is a device of the old VM's host"
LEFT_OUT: tuple[tuple[Any, str], ...] = (
    (_KINDS.VirtualSriovEthernetCard, "it is a part of a network card of the old VM's host"),
    (_KINDS.VirtualPCIPassthrough, _OF_THE_HOST),
    (_KINDS.VirtualSCSIPassthrough, _OF_THE_HOST),
    (_KINDS.VirtualUSB, "it is a device of the old VM's host, or of somebody's desk"),
    (_KINDS.VirtualParallelPort, "it leads to a device or a file of the old VM's host"),
    (_KINDS.VirtualNVDIMM, "no backup holds persistent memory"),
    (_KINDS.VirtualNVDIMMController, "no backup holds persistent memory"),
    (_KINDS.VirtualVMIROM, "no ESXi knows it any more"),
)
"""Devices that no new VM gets, each with the reason for its note."""

NUMBERED = (
    (_KINDS.VirtualEthernetCard, "ethernet", 4000),
    (_KINDS.VirtualFloppy, "floppy", 8000),
    (_KINDS.VirtualSerialPort, "serial", 9000),
)
"""Devices that advanced settings name by a number: the kind, its name there, and the device key of number 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRules:
    """Facts about the new VM's place that its devices depend on."""

    keep_addresses: bool = False
    """The cards keep their MAC addresses."""
    taken_addresses: Mapping[int, str] = field(default_factory=dict)
    """The VM that has a card's address already, by the card's device key in the saved configuration."""
    disks: DiskRules = field(default_factory=DiskRules)
    networks: Mapping[int, CardNetwork] = field(default_factory=dict)
    """Network of a card, by its device key in the saved configuration. Other cards keep their network's name."""
    isos: frozenset[str] = frozenset()
    """ISO files that exist, as datastore paths. A CD drive whose file is gone becomes an empty one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChanges:
    """The device part of a ConfigSpec."""

    changes: tuple[Any, ...]
    notes: tuple[str, ...]
    renumbered: Renumbered
    made: Mapping[int, Any]
    """The new devices, by their device keys in the saved configuration."""


def device_changes(saved: Iterable[Any], rules: DeviceRules) -> DeviceChanges:
    """Return the device changes that create the saved devices again, controllers first.

    Disks and CD drives come in the order of their labels, because vSphere numbers the labels anew, and other devices in
    the order of their keys.
    """
    devices = sorted(saved, key=_turn)
    skips = {disk.key: None if disk.key in rules.disks.copied else disk.skip for disk in disks_of(devices)}
    real = {device.key: device for device in devices if isinstance(device, DEFAULT)}
    keys: dict[int, int] = {}
    changes: list[Any] = []
    new: dict[int, Any] = {}
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
        changes.append(_addition(made, device, rules))
        new[device.key] = made
    return DeviceChanges(changes=tuple(changes), notes=tuple(notes), renumbered=_renumbered(devices, new), made=new)


def _turn(device: Any) -> tuple[bool, int, int, int]:
    """Return the turn of a device: controllers, disks, CD drives, and then the others."""
    if controller_kind(device) is not None:
        return False, 0, 0, device.key
    kinds = (_KINDS.VirtualDisk, _KINDS.VirtualCdrom)
    kind = next((number for number, kind in enumerate(kinds) if isinstance(device, kind)), len(kinds))
    return True, kind, _label_number(device) if kind < len(kinds) else 0, device.key


def _label_number(device: Any) -> int:
    """Return the number at the end of a label, whose words are in the language of the server; 0: it has none."""
    found = re.search(r"[0-9]+$", device.deviceInfo.label or "") if device.deviceInfo is not None else None
    return int(found[0]) if found else 0


def _renumbered(saved: Iterable[Any], made: Collection[int]) -> Renumbered:
    """Return the numbers that devices of the new VM have, because vSphere counts them anew and leaves no gap.

    :param made: the saved keys of the devices that the new VM gets.
    """
    found: dict[str, dict[int, int | None]] = {name: {} for _, name, _ in NUMBERED}
    for kind, name, first in NUMBERED:
        count = itertools.count()
        for device in saved:
            if isinstance(device, kind):
                found[name][device.key - first] = next(count) if device.key in made else None
    return found


def new_disks(saved: Iterable[Any], changes: Iterable[Any]) -> tuple[Disk, ...]:
    """Return the disks that device changes create, each with its address and its format.

    :param saved: the saved devices. A new VM has the default ones of them by itself.
    """
    there = [device for device in saved if isinstance(device, DEFAULT)]
    return disks_of([*there, *(change.device for change in changes)])


def _addition(made: Any, saved: Any, rules: DeviceRules) -> Any:
    spec = vim.vm.device.VirtualDeviceSpec(operation="add", device=made)
    if isinstance(made, vim.vm.device.VirtualDisk):
        spec.fileOperation = "create"
        spec.backing = encryption_of(saved, rules.disks)
        spec.profile = profiles_of(saved, rules.disks)
    return spec


def _connect(device: Any, keys: Mapping[int, int], real: Mapping[int, Any], notes: list[str]) -> bool:
    """Point a device at its controller. Return whether the controller is there."""
    old = device.controllerKey
    if old is None or isinstance(real.get(old), _KINDS.VirtualPCIController):
        # vSphere chooses the slots on the PCI bus.
        device.controllerKey = device.unitNumber = None
    elif old in keys:
        device.controllerKey = keys[old]
    elif old not in real:
        notes.append(f"{type_name(device)} {device.key}: left out with its controller")
        return False
    return True


def _make(device: Any, rules: DeviceRules, notes: list[str]) -> Any | None:
    made = copy.deepcopy(device)
    made.deviceInfo = made.slotInfo = made.deviceGroupInfo = made.numaNode = None
    if isinstance(made, vim.vm.device.VirtualController):
        made.device = []
    if controller_kind(made) is not None:
        return _controller(made, rules, notes)
    if isinstance(made, KEPT):
        return made
    label = device.deviceInfo.label.strip() if device.deviceInfo is not None else type_name(device)
    left_out = next((why for kind, why in LEFT_OUT if isinstance(made, kind)), None)
    handler = next((handler for kind, handler in HANDLERS if isinstance(made, kind)), _unknown)
    result, note = (None, f"left out: {left_out}") if left_out is not None else handler(made, rules)
    if note:
        notes.append(f"{label}: {note}")
    return result


_Made = tuple[Any | None, str]
"""The new device, or ``None`` if it is left out; and a note for a person."""


def _unknown(device: Any, rules: DeviceRules) -> _Made:  # noqa: ARG001 - one of several handlers
    return None, f"left out: this program does not know devices of the kind {type_name(device)}"


def _controller(made: Any, rules: DeviceRules, notes: list[str]) -> Any:
    if isinstance(made, vim.vm.device.VirtualSCSIController):
        made.scsiCtlrUnitNumber = None
    if getattr(made, "sharedBus", None) not in (None, "noSharing") and not rules.disks.luns:
        # Its disks become ordinary ones, and vSphere starts no VM with ordinary disks on a shared bus.
        notes.append(f"{type_name(made)} {made.busNumber}: its bus is not shared any more")
        made.sharedBus = "noSharing"
    return made


def _network_card(made: Any, rules: DeviceRules) -> _Made:
    network = rules.networks.get(made.key)
    if network is not None:
        made.backing = network.network.backing()
    elif isinstance(made.backing, vim.vm.device.VirtualEthernetCard.NetworkBackingInfo):
        made.backing.network = None
    made.subnetId = None
    has_it, note = rules.taken_addresses.get(made.key), ""
    if rules.keep_addresses and has_it is not None:
        note = f"gets a new MAC address, because {has_it} has its address {made.macAddress}"
    if not rules.keep_addresses or has_it is not None:
        made.addressType, made.macAddress, made.externalId = "generated", None, None
    if made.connectable is not None:
        made.connectable.status = made.connectable.migrateConnect = None
        made.connectable.connected = made.connectable.startConnected
    if network is not None and not network.connected:
        made.connectable = _disconnected()
    return made, note


def _cdrom(made: Any, rules: DeviceRules) -> _Made:
    kinds = vim.vm.device.VirtualCdrom
    old, note = made.backing, ""
    if isinstance(old, kinds.IsoBackingInfo) and old.fileName in rules.isos:
        made.backing = kinds.IsoBackingInfo(fileName=old.fileName)
        starts = bool(made.connectable is not None and made.connectable.startConnected)
        made.connectable = _disconnected(starts=starts)
        return made, ""
    if isinstance(old, kinds.IsoBackingInfo):
        note = f"empty, because its image {old.fileName or '(without a name)'} is on no datastore of the new VM's host"
    elif isinstance(old, kinds.AtapiBackingInfo | kinds.PassthroughBackingInfo):
        note = "empty, because it was a drive of the old VM's host"
    made.backing = kinds.RemotePassthroughBackingInfo(deviceName="", exclusive=False)
    made.connectable = _disconnected()
    return made, note


def _floppy(made: Any, rules: DeviceRules) -> _Made:  # noqa: ARG001 - one of several handlers
    kinds, note = vim.vm.device.VirtualFloppy, ""
    if isinstance(made.backing, kinds.ImageBackingInfo):
        note = f"empty: its image {made.backing.fileName} is not looked for"
    elif isinstance(made.backing, kinds.DeviceBackingInfo):
        note = "empty, because it was a drive of the old VM's host"
    made.backing = kinds.RemoteDeviceBackingInfo(deviceName="")
    made.connectable = _disconnected()
    return made, note


def _sound_card(made: Any, rules: DeviceRules) -> _Made:  # noqa: ARG001 - one of several handlers
    made.backing = vim.vm.device.VirtualSoundCard.DeviceBackingInfo(deviceName="", useAutoDetect=True)
    return made, ""


def _serial_port(made: Any, rules: DeviceRules) -> _Made:  # noqa: ARG001 - one of several handlers
    """Keep ports to a network or a pipe, which can be made anywhere. Leave out a port to a host's device or a file."""
    kinds = vim.vm.device.VirtualSerialPort
    if isinstance(made.backing, kinds.URIBackingInfo | kinds.PipeBackingInfo):
        return made, ""
    return None, "left out: it leads to a device or a file of the old VM's host"


def _tpm(made: Any, rules: DeviceRules) -> _Made:
    """Keep the TPM only with the old key, because its secrets are in the NVRAM, which only that key opens."""
    made.endorsementKeyCertificateSigningRequest = []
    if rules.disks.key is not None:
        return made, ""
    return None, (
        "left out: its secrets cannot be opened without the old VM's key. BitLocker, and all that keeps a key in it, "
        "will ask for the recovery key"
    )


HANDLERS: tuple[tuple[Any, Callable[[Any, DeviceRules], _Made]], ...] = (
    (_KINDS.VirtualEthernetCard, _network_card),
    (_KINDS.VirtualCdrom, _cdrom),
    (_KINDS.VirtualFloppy, _floppy),
    (_KINDS.VirtualSoundCard, _sound_card),
    (_KINDS.VirtualSerialPort, _serial_port),
    (_KINDS.VirtualTPM, _tpm),
)
"""Kinds of device with their own rule for making them anew."""


def _disconnected(*, starts: bool = False) -> Any:
    return vim.vm.device.VirtualDevice.ConnectInfo(startConnected=starts, allowGuestControl=True, connected=False)
