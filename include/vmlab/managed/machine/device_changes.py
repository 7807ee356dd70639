"""Plans the device changes of a ConfigSpec: the devices that the VM will have, and the actions on files.

Follows vSphere's rules: it replaces temporary keys, finds controllers and assigns units. An impossible change is
refused with the fault that a vCenter raises, before any file is touched. `disk_files` carries the plan out.
"""

import copy
import secrets
from dataclasses import dataclass, field
from typing import Any

from vmlab.api import vim
from vmlab.managed.machine.devices import (
    DEFAULT_TYPES,
    Device,
    Disk,
    adapter_of,
    describe,
    family_of,
    in_snapshots,
    is_disk_controller,
    is_rdm,
    key_for,
    link_children,
    rules_of,
)

Spec = Device.VirtualDeviceSpec


@dataclass(slots=True, kw_only=True)
class DiskAction:
    """One action on files. `disk` is the device as it will be; the action may fill in its backing."""

    verb: str
    """create, rdm, attach, replace, extend, destroy."""
    disk: Any
    index: int
    adapter: str = "lsilogic"
    old: Any = None


@dataclass(slots=True, kw_only=True)
class DevicePlan:
    """The devices after the change, and the file actions on the way."""

    devices: list[Any]
    actions: list[DiskAction] = field(default_factory=list)
    keys: dict[int, int] = field(default_factory=dict)


def plan_changes(current: list[Any], changes: list[Any], *, has_snapshots: bool) -> DevicePlan:
    """Apply device specs to a copy of the devices. Raises the faults vSphere raises; changes nothing."""
    plan = DevicePlan(devices=[copy.deepcopy(device) for device in current])
    controllers_first = sorted(enumerate(changes), key=lambda item: not _is_controller(item[1]))
    for index, change in reversed(controllers_first):
        if change.operation == "remove":
            _remove(plan, change, index, has_snapshots=has_snapshots)
    for index, change in controllers_first:
        if change.operation == "add":
            _add(plan, change, index)
        elif change.operation == "edit":
            _edit(plan, change, index, has_snapshots=has_snapshots)
        elif change.operation != "remove":
            raise invalid_device(index, "operation", "a device change needs an operation: add, edit or remove")
    link_children(plan.devices)
    return plan


def invalid_device(index: int, name: str, why: str) -> Any:
    """The InvalidDeviceSpec fault for one property of one device change."""
    message = f"Invalid configuration for device '{index}': {why}."
    return vim.fault.InvalidDeviceSpec(deviceIndex=index, property=f"virtualDeviceSpec.device.{name}", msg=message)


def _is_controller(change: Any) -> bool:
    return isinstance(change.device, Device.VirtualController)


def _find(plan: DevicePlan, key: int, index: int) -> Any:
    found = next((device for device in plan.devices if device.key == key), None)
    if found is None:
        message = f"The device '{index}' (key {key}) does not exist on the virtual machine."
        raise vim.fault.DeviceNotFound(deviceIndex=index, property="virtualDeviceSpec.device.key", msg=message)
    return found


def _remove(plan: DevicePlan, change: Any, index: int, *, has_snapshots: bool) -> None:
    device = _find(plan, change.device.key, index)
    if isinstance(device, DEFAULT_TYPES):
        raise invalid_device(index, "key", "a default device cannot be removed")
    if any(other.controllerKey == device.key for other in plan.devices):
        raise invalid_device(index, "key", "the controller still has devices")
    plan.devices.remove(device)
    if isinstance(device, Disk) and change.fileOperation == "destroy":
        if has_snapshots and in_snapshots(device):
            message = f"Invalid operation for device '{index}': the disk's files belong to a snapshot."
            raise vim.fault.InvalidDeviceOperation(deviceIndex=index, badOp="remove", badFileOp="destroy", msg=message)
        plan.actions.append(DiskAction(verb="destroy", disk=device, index=index))


def _add(plan: DevicePlan, change: Any, index: int) -> None:
    device = copy.deepcopy(change.device)
    if isinstance(device, DEFAULT_TYPES):
        raise invalid_device(index, "key", f"{type(device).__name__.rpartition('.')[2]} is a default device")
    if isinstance(device, Device.VirtualController) and device.device:
        raise invalid_device(index, "device", "the list of devices on a controller is vSphere's to fill")
    if isinstance(device, Device.VirtualVideoCard):  # every VM has one, so adding one replaces it
        plan.devices = [other for other in plan.devices if not isinstance(other, Device.VirtualVideoCard)]
        device.unitNumber = 0
    controller = _controller_for(plan, device, index)
    taken = {other.key for other in plan.devices}
    if is_disk_controller(device):
        _place_controller(plan, device, index)
    elif controller is not None and is_disk_controller(controller):
        _place_on(plan, device, controller, index)
    given = device.key
    device.controllerKey = controller.key if controller is not None else None
    device.key = key_for(device, controller, taken)
    if isinstance(device, Device.VirtualSCSIController):
        device.sharedBus = device.sharedBus or "noSharing"
        device.hotAddRemove, device.scsiCtlrUnitNumber = True, 7
    if isinstance(device, Device.VirtualEthernetCard):
        _complete_nic(plan, device)
    if isinstance(device, Disk):
        plan.actions.append(_disk_action(device, change, controller, index))
    if given is not None and given not in plan.keys:
        plan.keys[given] = device.key
    describe(device, plan.devices)
    plan.devices.append(device)


def _controller_for(plan: DevicePlan, device: Any, index: int) -> Any:
    """Return the controller that a new device asks for: one of this spec, by its temporary key, or one of the VM."""
    if is_disk_controller(device) or (isinstance(device, Device.VirtualController) and device.controllerKey is None):
        return next(other for other in plan.devices if isinstance(other, Device.VirtualPCIController))
    wanted = device.controllerKey
    if wanted is None:
        if isinstance(device, (Disk, Device.VirtualCdrom)):
            raise _no_controller(index, 0)
        return next((other for other in plan.devices if isinstance(other, Device.VirtualPCIController)), None)
    key = plan.keys.get(wanted, wanted)
    found = next((other for other in plan.devices if other.key == key), None)
    if not isinstance(found, Device.VirtualController):
        raise _no_controller(index, wanted)
    if isinstance(device, Disk) and not is_disk_controller(found):
        raise _no_controller(index, wanted)
    return found


def _no_controller(index: int, key: int) -> Any:
    message = f"Invalid controller (key {key}) for device '{index}'."
    path = "virtualDeviceSpec.device.controllerKey"
    return vim.fault.InvalidController(deviceIndex=index, controllerKey=key, property=path, msg=message)


def _place_controller(plan: DevicePlan, device: Any, index: int) -> None:
    family, numbers = family_of(device), rules_of(device)
    assert numbers is not None
    used = {other.busNumber for other in plan.devices if isinstance(other, family)}
    bus = device.busNumber
    if len(used) >= numbers[1]:
        raise vim.fault.TooManyDevices(
            deviceIndex=index, property="virtualDeviceSpec.device", msg="too many controllers of this kind"
        )
    if bus in used or (bus is not None and not 0 <= bus < numbers[1]):
        raise invalid_device(index, "busNumber", f"bus {bus} is not free")
    device.busNumber = next(n for n in range(numbers[1]) if n not in used) if bus is None else bus


def _place_on(plan: DevicePlan, device: Any, controller: Any, index: int) -> None:
    numbers = rules_of(controller)
    assert numbers is not None
    used = {other.unitNumber for other in plan.devices if other.controllerKey == controller.key} | {numbers[5]}
    unit = device.unitNumber
    if unit is None or unit < 0:
        unit = next((n for n in range(numbers[4]) if n not in used), None)
    if unit is None or unit in used or unit >= numbers[4]:
        raise invalid_device(
            index, "unitNumber", f"unit {device.unitNumber} on controller {controller.key} is not free"
        )
    device.unitNumber = unit


def _disk_action(disk: Any, change: Any, controller: Any, index: int) -> DiskAction:
    backing = disk.backing
    if backing is None:
        raise invalid_device(index, "backing", "a disk needs a backing")
    if getattr(backing, "parent", None) is not None:
        path = "virtualDeviceSpec.device.backing.parent"
        message = f"Incompatible device backing specified for device '{index}': parent must not be set."
        raise vim.fault.InvalidDeviceBacking(deviceIndex=index, property=path, msg=message)
    if is_rdm(backing):
        verb = "rdm" if change.fileOperation else "attach"
    elif isinstance(backing, (Disk.FlatVer2BackingInfo, Disk.SeSparseBackingInfo, Disk.SparseVer2BackingInfo)):
        verb = {"create": "create", "replace": "replace", None: "attach"}.get(change.fileOperation, "")
    else:
        verb = ""
    if not verb:
        raise invalid_device(index, "backing", "this kind of backing or file operation cannot be added")
    if verb in ("create", "replace") and capacity_of(disk) <= 0:
        raise invalid_device(index, "capacityInKB", "a new disk needs a capacity")
    usual = "independent_persistent" if is_rdm(backing, "physicalMode") else "persistent"
    disk.backing.diskMode = disk.backing.diskMode or usual
    if hasattr(backing, "keyId"):
        backing.keyId = getattr(getattr(change.backing, "crypto", None), "cryptoKeyId", None)
    return DiskAction(verb=verb, disk=disk, index=index, adapter=adapter_of(controller))


def capacity_of(disk: Any) -> int:
    """A disk's capacity in bytes; `capacityInBytes` wins over the older field."""
    return int(disk.capacityInBytes or (disk.capacityInKB or 0) * 1024)


def _edit(plan: DevicePlan, change: Any, index: int, *, has_snapshots: bool) -> None:
    old = _find(plan, change.device.key, index)
    if type(old) is not type(change.device):
        raise invalid_device(index, "key", "an edit cannot change the kind of a device")
    merged = _merged(old, change.device)
    merged.key, merged.controllerKey = old.key, plan.keys.get(merged.controllerKey, merged.controllerKey)
    if isinstance(old, Disk):
        _edit_disk(plan, old, merged, change, index, has_snapshots=has_snapshots)
    plan.devices[plan.devices.index(old)] = merged


def _edit_disk(plan: DevicePlan, old: Any, new: Any, change: Any, index: int, *, has_snapshots: bool) -> None:
    frozen = has_snapshots and in_snapshots(old)
    asked = int(change.device.capacityInBytes or 0)
    by_kb = int(change.device.capacityInKB or 0) * 1024
    size = next((value for value in (asked, by_kb) if value and value != capacity_of(old)), capacity_of(old))
    if size < capacity_of(old):
        raise invalid_device(index, "capacityInKB", "a disk cannot shrink")
    new_file = getattr(change.device.backing, "fileName", None)
    moved = bool(new_file) and new_file != old.backing.fileName
    if frozen and (size > capacity_of(old) or moved or new.backing.diskMode != old.backing.diskMode):
        message = f"Invalid operation for device '{index}': the virtual machine has snapshots."
        raise vim.fault.InvalidDeviceOperation(deviceIndex=index, badOp="edit", msg=message)
    if moved:
        plan.actions.append(DiskAction(verb="attach", disk=new, index=index, old=old))
    elif size > capacity_of(old):
        plan.actions.append(DiskAction(verb="extend", disk=new, index=index, old=old))
    new.capacityInBytes, new.capacityInKB = size, size // 1024


def _merged(old: Any, new: Any) -> Any:
    """Return the old device with every field that the new one sets."""
    merged = copy.deepcopy(old)
    for info in new._GetPropertyList():
        value = getattr(new, info.name)
        if value is None or (isinstance(value, list) and not value) or info.name == "deviceInfo":
            continue
        if info.name == "backing" and type(value) is type(old.backing):
            value = _merged(old.backing, value)
        setattr(merged, info.name, copy.deepcopy(value))
    return merged


def _complete_nic(plan: DevicePlan, card: Any) -> None:
    used = {other.unitNumber for other in plan.devices if isinstance(other, Device.VirtualEthernetCard)}
    if card.unitNumber is None or card.unitNumber in used:
        # vSphere's PCI slots for NICs begin at 7.
        card.unitNumber = next(unit for unit in range(7, 100) if unit not in used)
    if not card.macAddress:
        tail = secrets.token_bytes(3)
        card.macAddress = f"00:50:56:{0x80 | tail[0] >> 2:02x}:{tail[1]:02x}:{tail[2]:02x}"
        card.addressType = "assigned"
    card.wakeOnLanEnabled = True if card.wakeOnLanEnabled is None else card.wakeOnLanEnabled
    if card.connectable is None:
        card.connectable = Device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=True)
