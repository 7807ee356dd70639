"""A VM that is being thought up: its ConfigSpec, its disks, and what is done with it before it is backed up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vmkeep.vsphere.api import vim
from vmkeep.vsphere.names import encode_name

DEVICE = vim.vm.device
SPEC = DEVICE.VirtualDeviceSpec
MIB = 1 << 20


@dataclass
class Disk:
    """A disk of a draft."""

    controller: int
    """Temporary key, or the key of a controller that every VM has."""
    unit: int
    thin: bool = True
    eager: bool = False
    mode: str = "persistent"
    sharing: str | None = None
    store: str = ""
    rdm: str = ""
    """Compatibility mode of a raw device mapping; empty: an ordinary disk."""


@dataclass
class Draft:
    """A VM, and the wishes for its backup and restore."""

    name: str
    spec: Any = field(default_factory=vim.vm.ConfigSpec)
    disks: list[Disk] = field(default_factory=list)
    controllers: list[int] = field(default_factory=list)
    """Keys of the controllers for disks."""
    devices: list[Any] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    removed_cards: list[int] = field(default_factory=list)
    """Device keys of cards that are taken out again, so that the others' keys have a gap."""
    boot_order: tuple[str, ...] = ()
    power: str = "off"
    template: bool = False
    encrypted: bool = False
    as_is: bool = False
    """No snapshot can be taken, so that the backup reads the VM that is off as it is."""
    snapshots: int = 0
    """Snapshots taken before the backup, with something written after each."""
    restore: dict[str, Any] = field(default_factory=dict)
    """Fields of the request."""
    _keys: int = 0

    def key(self) -> int:
        """Return a new temporary key."""
        self._keys -= 1
        return self._keys

    def add(self, device: Any) -> Any:
        """Add a device that is no disk."""
        if device.key in (None, 0):
            device.key = self.key()
        self.devices.append(device)
        return device

    def add_controller(self, kind: Any, bus: int = 0, **more: Any) -> int:
        """Add a controller for disks."""
        if issubclass(kind, DEVICE.VirtualSCSIController):
            more.setdefault("sharedBus", "noSharing")
        made = self.add(kind(busNumber=bus, **more))
        self.controllers.append(made.key)
        return int(made.key)

    def free_unit(self, controller: int) -> int:
        """Return a unit of a controller that no disk or drive of the draft has."""
        used = {disk.unit for disk in self.disks if disk.controller == controller}
        used |= {device.unitNumber for device in self.devices if device.controllerKey == controller}
        return next(unit for unit in range(64) if unit not in {*used, 7})

    def finished(self, luns: list[Any], crypto: Any) -> Any:
        """Return the ConfigSpec, with all devices.

        :param luns: free LUNs, each with its canonical name and uuid.
        :param crypto: the crypto spec of an encrypted VM.
        """
        spec = self.spec
        spec.name = encode_name(self.name)
        spec.files = spec.files or vim.vm.FileInfo(vmPathName="[datastore1]")
        spec.guestId = spec.guestId or "otherLinux64Guest"
        spec.numCPUs, spec.memoryMB = spec.numCPUs or 1, spec.memoryMB or 64
        spec.crypto = crypto if self.encrypted else None
        spec.extraConfig = [vim.option.OptionValue(key=key, value=value) for key, value in self.settings.items()]
        changes = [SPEC(operation="add", device=device) for device in self.devices]
        spec.deviceChange = [*changes, *(self._disk(disk, luns, spec.crypto) for disk in self.disks)]
        return spec

    def _disk(self, disk: Disk, luns: list[Any], crypto: Any) -> Any:
        backing_of = DEVICE.VirtualDisk
        where = f"[{disk.store}]" if disk.store else ""
        if disk.rdm:
            lun = luns.pop(0)
            mode = "independent_persistent" if disk.rdm == "physicalMode" else disk.mode
            backing = backing_of.RawDiskMappingVer1BackingInfo(
                fileName=where, deviceName=lun.device_name, lunUuid=lun.uuid, compatibilityMode=disk.rdm, diskMode=mode
            )
            size = lun.capacity
        else:
            backing = backing_of.FlatVer2BackingInfo(
                fileName=where, diskMode=disk.mode, thinProvisioned=disk.thin, eagerlyScrub=disk.eager or None,
                sharing=disk.sharing,
            )  # fmt: skip
            size = MIB
        made = DEVICE.VirtualDisk(
            key=self.key(), controllerKey=disk.controller, unitNumber=disk.unit, capacityInKB=size >> 10,
            capacityInBytes=size, backing=backing,
        )  # fmt: skip
        sealed = SPEC.BackingSpec(crypto=crypto) if crypto is not None and not disk.rdm else None
        return SPEC(operation="add", fileOperation="create", device=made, backing=sealed)
