"""Finds free units on the disk controllers of a VM, and adds a controller where all are full. Pure: devices in.

A running VM takes new disks on SCSI controllers only. No disk goes to an IDE controller, because a disk made for SCSI
names another adapter in its descriptor, nor to a controller whose bus other VMs share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from vmkeep.errors import ConflictError, UnsupportedError, UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.vsphere.api import type_name, vim
from vmkeep.vsphere.disks import controller_kind, is_shared_bus
from vmkeep.vsphere.vmsettings import values_by_key

CONTROLLERS = 4
"""Number of controllers of each kind that a VM can have."""
_ADDRESS = re.compile(r"(scsi|sata|nvme|ide)([0-9]{1,2}):([0-9]{1,2})")
_UNITS = {ControllerKind.SCSI: 16, ControllerKind.SATA: 30, ControllerKind.NVME: 15}
_MANY_UNITS = 64
"""Number of units of a paravirtual SCSI controller."""
_MANY_SINCE = 14
"""Virtual hardware version from which a paravirtual SCSI controller has that many."""
_NO = ("false", "no", "off", "0")
_ITSELF = "the controller itself"
_OWN_UNIT = 7
"""Unit of a SCSI controller itself."""
_MADE = {ControllerKind.SATA: "VirtualAHCIController", ControllerKind.NVME: "VirtualNVMEController"}
_USUAL_SCSI = "VirtualLsiLogicSASController"
"""A type that Windows and Linux have a driver for, for a VM without any SCSI controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A free unit on a controller of a VM."""

    kind: ControllerKind
    bus: int
    unit: int
    controller_key: int | None = None
    """Device key of the controller; ``None``: it is to be added."""
    new_controller: str = ""
    """vSphere's type of the controller to add; empty: the VM has the controller."""

    @property
    def address(self) -> str:
        """The address at which the guest will see the disk."""
        return f"{self.kind}{self.bus}:{self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRequest:
    """A saved disk that needs a slot, with the address that a person wants for it."""

    disk: Disk
    address: str | None = None
    """``None``: any fitting one."""


def choose_slots(
    devices: Iterable[Any], requests: Sequence[SlotRequest], *, running: bool, hardware: str
) -> tuple[Slot, ...]:
    """Return a slot for each disk, in the order of the requests. Addresses that a person named are served first.

    :param hardware: virtual hardware version of the VM, e.g. ``vmx-19``.
    :raises UsageError: an address is none, or two disks want the same one.
    :raises ConflictError: an address is taken, or no controller has room and no more can be added.
    :raises UnsupportedError: the controller at an address takes no such disk, or not while the VM runs.
    """
    board = _Board(list(devices), running=running, hardware=hardware)
    found: dict[int, Slot] = {}
    for index, request in enumerate(requests):
        if request.address is not None:
            found[index] = board.take(request.address, request.disk)
    for index, request in enumerate(requests):
        if request.address is None:
            found[index] = board.take_any(request.disk)
    return tuple(found[index] for index in range(len(requests)))


@dataclass(slots=True, kw_only=True)
class _Controller:
    kind: ControllerKind
    bus: int
    type: str
    taken: dict[int, str]
    """Taken units, each with the name of the device there."""
    units: int
    key: int | None = None
    shared: bool = False
    cold: bool = False
    """The controller takes no device while the VM runs."""

    @property
    def disks(self) -> Iterator[int]:
        """The units that a device has, but for the controller itself."""
        return (unit for unit, what in self.taken.items() if what != _ITSELF)

    def slot(self, unit: int, what: str) -> Slot:
        self.taken[unit] = what
        new = self.type if self.key is None else ""
        return Slot(kind=self.kind, bus=self.bus, unit=unit, controller_key=self.key, new_controller=new)


class _Board:
    """The controllers of a VM, with the slots that were given out."""

    def __init__(self, devices: Sequence[Any], *, running: bool, hardware: str) -> None:
        self._running = running
        self._many = int(hardware.rpartition("-")[2] or 0) >= _MANY_SINCE if hardware.startswith("vmx-") else False
        self._controllers = sorted(self._read(devices), key=lambda each: (each.kind, each.bus))

    def take(self, address: str, disk: Disk) -> Slot:
        """Give out the slot at an address."""
        kind, bus, unit = _parsed(address)
        self._require_kind(kind, address)
        controller = next((one for one in self._controllers if (one.kind, one.bus) == (kind, bus)), None)
        if controller is None:
            if bus >= CONTROLLERS:
                raise UsageError(
                    f"{address}: a VM has at most {CONTROLLERS} {kind} controllers, 0 to {CONTROLLERS - 1}"
                )
            controller = self._add(kind, bus, disk)
        if controller.shared:
            raise UnsupportedError(f"{address}: other VMs may share the bus of that controller: choose another one")
        if self._running and controller.cold:
            raise UnsupportedError(f"{address}: that controller takes no disk while the VM runs: shut it down first")
        if unit >= controller.units:
            raise UsageError(f"{address}: the units of that controller end at {controller.units - 1}")
        if unit in controller.taken:
            raise ConflictError(
                f"{address} is taken by {controller.taken[unit]}; free there: {_free_units(controller) or 'none'}"
            )
        return controller.slot(unit, disk.label)

    def take_any(self, disk: Disk) -> Slot:
        """Give out a free slot: of the disk's own kind, else of SCSI, else of another kind that fits.

        One behind the VM's own disks comes before a gap, because a VM may boot from the disk that comes first.
        """
        kinds = dict.fromkeys((disk.controller, ControllerKind.SCSI, ControllerKind.SATA, ControllerKind.NVME))
        fitting = [kind for kind in kinds if self._takes(kind)]
        for kind in fitting:
            if (found := self._behind(kind) or self._in_a_gap(kind)) is not None:
                controller, unit = found
                return controller.slot(unit, disk.label)
        for kind in fitting:
            used = {one.bus for one in self._controllers if one.kind is kind}
            bus = next((number for number in range(CONTROLLERS) if number not in used), None)
            if bus is not None:
                return self._add(kind, bus, disk).slot(0, disk.label)
        how = " that a running VM takes disks on; shut it down to use others" if self._running else ""
        raise ConflictError(
            f"no unit is free for {disk.label}: all {CONTROLLERS} controllers of each kind are full{how}; "
            "detach a disk first, or choose another VM"
        )

    def _behind(self, kind: ControllerKind) -> tuple[_Controller, int] | None:
        """Return the first unit behind all devices of a controller that has one."""
        for controller in self._open(kind):
            first = max(controller.disks, default=-1) + 1
            if free := [unit for unit in range(first, controller.units) if unit not in controller.taken]:
                return controller, free[0]
        return None

    def _in_a_gap(self, kind: ControllerKind) -> tuple[_Controller, int] | None:
        """Return the first free unit of all controllers of a kind."""
        for controller in self._open(kind):
            if free := [unit for unit in range(controller.units) if unit not in controller.taken]:
                return controller, free[0]
        return None

    def _open(self, kind: ControllerKind) -> Iterator[_Controller]:
        """Yield the controllers of a kind that take a disk now, in the order of their buses."""
        for controller in self._controllers:
            if controller.kind is kind and not controller.shared and not (self._running and controller.cold):
                yield controller

    def _takes(self, kind: ControllerKind) -> bool:
        return kind is ControllerKind.SCSI or (kind in _UNITS and not self._running)

    def _require_kind(self, kind: ControllerKind, address: str) -> None:
        if kind is ControllerKind.IDE:
            raise UnsupportedError(f"{address}: no restored disk goes to an IDE controller: choose scsi, sata or nvme")
        if not self._takes(kind):
            raise UnsupportedError(
                f"{address}: a running VM takes new disks on SCSI controllers only: choose one, or shut the VM down"
            )

    def _add(self, kind: ControllerKind, bus: int, disk: Disk) -> _Controller:
        types = [one.type for one in self._controllers if one.kind is ControllerKind.SCSI]
        saved = disk.controller_type if disk.controller is ControllerKind.SCSI else _USUAL_SCSI
        made = _MADE.get(kind) or (types[0] if types else saved)
        controller = _Controller(kind=kind, bus=bus, type=made, taken=_reserved(kind), units=self._units(kind, made))
        self._controllers.append(controller)
        return controller

    def _read(self, devices: Sequence[Any]) -> Iterator[_Controller]:
        for device in devices:
            kind = controller_kind(device)
            if kind is None or kind is ControllerKind.IDE:
                continue
            there = {
                other.unitNumber or 0: other.deviceInfo.label if other.deviceInfo is not None else f"device {other.key}"
                for other in devices
                if other.controllerKey == device.key
            }
            yield _Controller(
                kind=kind,
                bus=device.busNumber,
                type=type_name(device),
                taken=_reserved(kind, getattr(device, "scsiCtlrUnitNumber", None)) | there,
                units=self._units(kind, type_name(device)),
                key=device.key,
                shared=is_shared_bus(device),
                cold=getattr(device, "hotAddRemove", None) is False,
            )

    def _units(self, kind: ControllerKind, made: str) -> int:
        return _MANY_UNITS if self._many and made == "ParaVirtualSCSIController" else _UNITS[kind]


def takes_devices_hot(settings: Any) -> bool:
    """Return whether a VM with these advanced settings takes devices while it runs."""
    return values_by_key(settings).get("devices.hotplug", "").lower() not in _NO


def new_controllers(slots: Iterable[Slot]) -> dict[tuple[ControllerKind, int], Any]:
    """Return the controllers to add for some slots, with temporary keys, by kind and bus number."""
    made: dict[tuple[ControllerKind, int], Any] = {}
    for slot in slots:
        if slot.new_controller and (slot.kind, slot.bus) not in made:
            device = getattr(vim.vm.device, slot.new_controller)(key=-100 - len(made), busNumber=slot.bus)
            if slot.kind is ControllerKind.SCSI:
                device.sharedBus = "noSharing"
            made[slot.kind, slot.bus] = device
    return made


def _parsed(address: str) -> tuple[ControllerKind, int, int]:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UsageError(f"'{address}' is no address of a disk: say kind, bus and unit, e.g. scsi0:3")
    return ControllerKind(found[1]), int(found[2]), int(found[3])


def _reserved(kind: ControllerKind, own: int | None = None) -> dict[int, str]:
    return {_OWN_UNIT if own is None else own: _ITSELF} if kind is ControllerKind.SCSI else {}


def _free_units(controller: _Controller) -> str:
    """List the free units of a controller, which may be 63, by ranges."""
    free = [unit for unit in range(controller.units) if unit not in controller.taken]
    # A unit less its place in the list is the same for all units of one range.
    ranges = [[unit for _, unit in units] for _, units in groupby(enumerate(free), lambda each: each[1] - each[0])]
    return ", ".join(f"{units[0]} to {units[-1]}" if len(units) > 2 else ", ".join(map(str, units)) for units in ranges)
