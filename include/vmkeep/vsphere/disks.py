"""Describes a VM's virtual disks as model values, with reasons to skip some. Pure: vim devices in, ``Disk`` out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vmkeep.errors import UnsupportedError
from vmkeep.model.disk import ControllerKind, Disk, SkipReason
from vmkeep.vsphere.api import type_name, vim

KeyName = tuple[str, str]
"""The ids of a key provider and of one of its keys."""
_READABLE = {"FlatVer2", "SparseVer2", "SeSparse", "RawDiskMappingVer1"}
"""Kinds of backing that VDDK can read: through a snapshot, or while the VM is powered off."""


def disks_of(devices: Iterable[Any]) -> tuple[Disk, ...]:
    """Return every virtual disk among a VM's devices, in order of device key, with the reason to skip it, if any.

    :raises UnsupportedError: a disk is attached to a controller of an unknown kind.
    """
    by_key = {device.key: device for device in devices}
    disks = (device for device in by_key.values() if isinstance(device, vim.vm.device.VirtualDisk))
    return tuple(sorted((_disk(disk, by_key.get(disk.controllerKey)) for disk in disks), key=lambda disk: disk.key))


def controller_kind(controller: Any) -> ControllerKind | None:
    """Return the kind of a disk controller; ``None``: it controls no disks."""
    kinds = vim.vm.device
    for kind, bus in (
        (kinds.VirtualSCSIController, ControllerKind.SCSI),
        (kinds.VirtualSATAController, ControllerKind.SATA),
        (kinds.VirtualNVMEController, ControllerKind.NVME),
        (kinds.VirtualIDEController, ControllerKind.IDE),
    ):
        if isinstance(controller, kind):
            return bus
    return None


def _disk(device: Any, controller: Any) -> Disk:
    label = device.deviceInfo.label if device.deviceInfo is not None else f"disk {device.key}"
    bus = controller_kind(controller)
    if bus is None:
        raise UnsupportedError(f"{label}: its controller (key {device.controllerKey}) is of no kind that is known here")
    backing, key = device.backing, key_of(device.backing)
    return Disk(
        key=device.key,
        label=label,
        controller=bus,
        controller_type=type_name(controller),
        bus=controller.busNumber,
        unit=device.unitNumber or 0,
        capacity=int(device.capacityInBytes or device.capacityInKB * 1024),  # pyVmomi has its own type for a long
        backing=backing_name(backing),
        compatibility_mode=getattr(backing, "compatibilityMode", None),
        disk_mode=getattr(backing, "diskMode", None) or "persistent",
        uuid=getattr(backing, "uuid", None),
        file_name=getattr(backing, "fileName", None) or "",
        chain=_chain(backing),
        thin=getattr(backing, "thinProvisioned", None),
        lun_uuid=getattr(backing, "lunUuid", None),
        device_name=getattr(backing, "deviceName", None),
        skip=_skip(backing, controller),
        key_id=key.keyId if key is not None else None,
        key_provider=key.providerId.id if key is not None and key.providerId is not None else None,
    )


def key_of(backing: Any) -> Any | None:
    """Return the key of an encrypted disk: that of the newest file which names one."""
    while backing is not None and getattr(backing, "keyId", None) is None:
        backing = getattr(backing, "parent", None)
    return backing.keyId if backing is not None else None


def name_of_key(key: Any) -> KeyName | None:
    """Return the name of a key; ``None``: there is no key, or no provider has it."""
    return (key.providerId.id, key.keyId) if key is not None and key.providerId is not None else None


def files_of_backing(backing: Any) -> Iterator[str]:
    """Yield the names of a disk's files, the newest first; an empty one for a file without a name."""
    while backing is not None:
        yield str(getattr(backing, "fileName", None) or "")
        backing = getattr(backing, "parent", None)


def _chain(backing: Any) -> tuple[str, ...]:
    """Return the names of a disk's files, from the base on; none if one of them has no name."""
    files = list(files_of_backing(backing))
    return tuple(reversed(files)) if all(files) else ()


def backing_name(backing: Any) -> str:
    """Return the core of a backing's type name: ``FlatVer2`` for ``VirtualDiskFlatVer2BackingInfo``."""
    if backing is None:
        return "none"
    return type_name(backing).removeprefix("VirtualDisk").removesuffix("BackingInfo")


def _skip(backing: Any, controller: Any) -> SkipReason | None:
    if getattr(backing, "compatibilityMode", None) == "physicalMode":
        return SkipReason.PHYSICAL_RDM
    if backing_name(backing) not in _READABLE:
        return SkipReason.UNSUPPORTED_BACKING
    if (getattr(backing, "diskMode", None) or "").startswith("independent"):
        return SkipReason.INDEPENDENT
    if getattr(backing, "sharing", None) == "sharingMultiWriter":
        return SkipReason.SHARED
    return SkipReason.SHARED if is_shared_bus(controller) else None


def is_shared_bus(device: Any) -> bool:
    """Return whether a device is a controller whose bus may be shared with other VMs."""
    return getattr(device, "sharedBus", None) not in (None, "noSharing")
