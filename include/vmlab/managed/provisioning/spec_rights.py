"""The privileges that a ConfigSpec needs: field by field, device by device, on VM, datastore and network.

Follows the lists of `ReconfigVM_Task` and `CreateVM_Task` in VMware's documentation, and "Reconfigure privilege" of
each field. If the list for creating does not name a field, the one for reconfiguring counts.
"""

from collections.abc import Iterator
from typing import Any

from vmlab.api import dump, vim
from vmlab.managed import ds_paths
from vmlab.managed.machine import Device, Disk, is_rdm
from vmlab.managed.site import Call

_OF_FIELDS = {
    "AdvancedConfig": ("extraConfig",),
    "Annotation": ("annotation",),
    "ChangeTracking": ("changeTrackingEnabled",),
    "CPUCount": ("numCPUs", "numCoresPerSocket"),
    "EditDevice": ("deviceSwap",),
    "ManagedBy": ("managedBy",),
    "Memory": ("memoryMB",),
    "MksControl": ("maxMksConnections", "guestAutoLockEnabled"),
    "Resource": (
        "cpuAllocation", "memoryAllocation", "cpuAffinity", "memoryAffinity", "networkShaper", "vcpuConfig",
        "latencySensitivity", "memoryReservationLockedToMax",
    ),
    "SwapPlacement": ("swapPlacement",),
}  # fmt: skip
_ELSEWHERE = {
    "repConfig": "VirtualMachine.Hbr.ConfigureReplication",
    "tagSpecs": "InventoryService.Tagging.AttachTag",
    "vAppConfig": "VApp.ApplicationConfig",
    "vAppConfigRemoved": "VApp.ApplicationConfig",
    "vmProfile": "StorageProfile.View",
}
_OF_CHANGES = {
    "crypto": "Cryptographer.Encrypt",
    "files": "VirtualMachine.Config.Settings",
    "name": "VirtualMachine.Config.Rename",
    "version": "VirtualMachine.Config.UpgradeVirtualHardware",
}
"""Fields that need a privilege of their own when a VM is changed. A new VM must have them, so making it needs none."""
_OF_NONE = {"changeVersion", "deviceChange", "dynamicType", "dynamicProperty"}
"""Fields that set nothing themselves. Devices are checked one by one."""

_SPECIAL = {
    **{name: f"VirtualMachine.Config.{verb}" for verb, names in _OF_FIELDS.items() for name in names},
    **_ELSEWHERE,
}
CREATE_FIELDS: dict[str, str] = {
    info.name: _SPECIAL.get(info.name, "VirtualMachine.Config.Settings")
    for info in vim.vm.ConfigSpec._GetPropertyList()
    if info.name not in _OF_NONE and info.name not in _OF_CHANGES
}
"""Every field that a new VM's spec may set, with its privilege. A field that no list names is a basic setting."""
CHANGE_FIELDS: dict[str, str] = {**CREATE_FIELDS, **_OF_CHANGES}


def check_create(call: Call, config: Any, pool: Any, host: Any) -> None:
    """Raise NoPermission for the first privilege that the caller lacks for a new VM, apart from those of the tables."""
    for privilege in _of_fields(config, CREATE_FIELDS):
        _require(call, call.this, privilege)
    if config.crypto is not None:
        _require(call, call.this, "Cryptographer.EncryptNew")
    for change in config.deviceChange:
        _require(call, call.this, f"VirtualMachine.Config.{_verb(change)}")
    home = config.files.vmPathName if config.files is not None else None
    _check_places(call, config, home)


def check_reconfigure(call: Call, spec: Any) -> None:
    """Raise NoPermission for the first privilege that the caller lacks for changing a VM."""
    for privilege in _of_fields(spec, CHANGE_FIELDS):
        _require(call, call.this, privilege)
    config = call.world.get(call.this, "config")
    current = {device.key: device for device in config.hardware.device} if config is not None else {}
    for change in spec.deviceChange:
        for privilege in _of_device(change, current.get(change.device.key)):
            _require(call, call.this, privilege)
    _check_places(call, spec, config.files.vmPathName if config is not None else None)


def _of_fields(spec: Any, fields: dict[str, str]) -> Iterator[str]:
    """Yield the privileges of the fields that are set, each once."""
    yield from dict.fromkeys(
        privilege for name, privilege in fields.items() if getattr(spec, name, None) not in (None, [])
    )


def _of_device(change: Any, old: Any) -> Iterator[str]:
    """Yield the privileges for one device change of an existing VM."""
    if change.operation != "edit":
        yield f"VirtualMachine.Config.{_verb(change)}"
        return
    device = change.device
    yield f"VirtualMachine.Config.{'RawDevice' if is_rdm(device.backing) else 'EditDevice'}"
    if old is None:
        return
    if isinstance(device, Disk) and _bytes(device) > _bytes(old):
        yield "VirtualMachine.Config.DiskExtend"
    if _differs(device.connectable, old.connectable):
        yield "VirtualMachine.Interact.DeviceConnection"
    if _differs(device.backing, old.backing):
        for kind, verb in ((Device.VirtualCdrom, "SetCDMedia"), (Device.VirtualFloppy, "SetFloppyMedia")):
            if isinstance(device, kind):
                yield f"VirtualMachine.Interact.{verb}"


def _verb(change: Any) -> str:
    """Return the privilege for adding or removing a device."""
    backing = change.device.backing
    if is_rdm(backing):
        return "RawDevice"
    if isinstance(change.device, Disk):
        if change.operation == "remove":
            return "RemoveDisk"
        return "AddNewDisk" if change.fileOperation else "AddExistingDisk"
    usb = Device.VirtualUSB
    if isinstance(change.device, usb) and isinstance(backing, usb.USBBackingInfo):
        return "HostUSBDevice"
    return "AddRemoveDevice"


def _check_places(call: Call, spec: Any, home: str | None) -> None:
    """Check the datastores that files are made on, and the networks that cards are put on."""
    creating = isinstance(call.this, vim.Folder)
    paths: list[str | None] = [home] if creating else []
    for change in spec.deviceChange:
        backing = change.device.backing
        if isinstance(change.device, Disk) and change.operation == "add" and change.fileOperation:
            paths.append(getattr(backing, "fileName", None) or home)
        if isinstance(change.device, Device.VirtualEthernetCard) and change.operation != "remove":
            for network in _networks(call, backing):
                _require(call, network, "Network.Assign")
    for name in dict.fromkeys(ds_paths.parse(path)[0] for path in paths if path):
        _require(call, ds_paths.datastore_named(call.site, name), "Datastore.AllocateSpace")


def _networks(call: Call, backing: Any) -> Iterator[Any]:
    """Yield the networks that a card's backing names, by id or by name."""
    port = getattr(backing, "port", None)
    wanted = getattr(getattr(backing, "network", None), "_moId", None) or getattr(port, "portgroupKey", None)
    name = getattr(backing, "deviceName", None)
    for network in call.world.all(vim.Network):
        if network._moId == wanted or (wanted is None and name is not None and call.world.get(network, "name") == name):
            yield network


def _bytes(disk: Any) -> int:
    return int(disk.capacityInBytes or (disk.capacityInKB or 0) * 1024)


def _differs(new: Any, old: Any) -> bool:
    """Return whether an edit changes a value. A value that it leaves out stays as it is."""
    return new is not None and (old is None or dump(new) != dump(old))


def _require(call: Call, target: Any, privilege: str) -> None:
    assert call.session is not None
    call.site.access.require(call.session.user, target, privilege)
