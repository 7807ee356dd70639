"""Makes the new disk for each saved disk of a VM that is created again. Pure: vim values in and out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vmkeep.errors import UsageError
from vmkeep.model.disk import SkipReason
from vmkeep.model.wording import size
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.disks import backing_name
from vmkeep.vsphere.luns import Lun

PLACEHOLDER_BYTES = 16 << 20
"""Size of the placeholder for a physical RDM: any guest accepts it, and nobody takes it for the LUN."""
_USUAL_FORMAT = "native_512"
PHYSICAL_RDM = ("placeholder", "lun", "disk", "omit")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRules:
    """The place of each disk, and the treatment of disks that were not backed up."""

    physical_rdm: str = "placeholder"
    rdms: Mapping[int, str] = field(default_factory=dict)
    """Device key in the saved configuration → the replacement of that physical RDM."""
    datastores: Mapping[int, str] = field(default_factory=dict)
    """Device key in the saved configuration → name of the datastore. Other disks go beside the VM's own files."""
    luns: Mapping[int, Lun] = field(default_factory=dict)
    """Device key in the saved configuration → the free LUN for this raw device mapping."""
    encrypted: bool = False
    """The new VM is encrypted with the saved VM's key."""
    copied: Collection[int] = ()
    """Device keys of disks that were backed up though no snapshot can hold them, because the VM was off."""

    def __post_init__(self) -> None:
        """Refuse a choice that does not exist."""
        for wanted in (self.physical_rdm, *self.rdms.values()):
            if wanted not in PHYSICAL_RDM:
                raise UsageError(f"a physical RDM cannot become '{wanted}'; choose from {', '.join(PHYSICAL_RDM)}")

    def replacement(self, key: int) -> str:
        """Return the replacement of the physical RDM with a device key."""
        return self.rdms.get(key, self.physical_rdm)


def new_disk(saved: Any, skip: SkipReason | None, rules: DiskRules, notes: list[str]) -> Any | None:
    """Return the virtual disk to create for a saved one, without key and controller; ``None``: the disk is left out.

    :param skip: the reason why the disk was not backed up; ``None``: it was.
    :param notes: receives a sentence for each difference from the saved disk.
    :raises UsageError: the disk is to be mapped to a LUN, but no LUN is named for it.
    """
    label = saved.deviceInfo.label if saved.deviceInfo is not None else f"disk {saved.key}"
    capacity = saved.capacityInBytes or saved.capacityInKB * 1024
    file_name = f"[{rules.datastores[saved.key]}]" if rules.datastores.get(saved.key) else ""
    if saved.key in rules.luns:
        lun = rules.luns[saved.key]
        notes.append(f"{label}: mapped to LUN {lun.device_name} ({size(lun.capacity)})")
        return _disk(saved, lun.capacity, _mapping(saved.backing, lun, file_name))
    physical = getattr(saved.backing, "compatibilityMode", None) == "physicalMode"
    wanted = rules.replacement(saved.key)
    if physical and wanted != "disk":
        if wanted == "omit":
            notes.append(f"{label}: a physical RDM, left out as asked")
            return None
        if wanted == "lun":
            raise UsageError(f"{label}: name the free LUN that this physical RDM is to be mapped to")
        capacity = min(capacity, PLACEHOLDER_BYTES)
        held = ", although the backup holds its content" if skip is None else ""
        notes.append(f"{label}: a physical RDM, an empty placeholder of {capacity >> 20} MiB takes its place{held}")
        return _disk(saved, capacity, _flat(file_name, thin=True))
    if skip is not None:
        notes.append(f"{label}: not in the backup ({skip.why}), created empty")
    elif backing_name(saved.backing).startswith("RawDiskMapping"):
        notes.append(f"{label}: a {'physical' if physical else 'virtual'}-mode RDM, becomes an ordinary disk")
    notes.extend(f"{label}: {what}" for what in _lost(saved))
    # A physical RDM counts as independent because no snapshot holds it; an ordinary disk shall be in snapshots.
    mode = "persistent" if physical else getattr(saved.backing, "diskMode", None) or "persistent"
    base = _base(saved.backing)
    thin = getattr(base, "thinProvisioned", None) if backing_name(base) == "FlatVer2" else True
    return _disk(saved, capacity, _flat(file_name, thin=thin, mode=mode, scrub=getattr(base, "eagerlyScrub", None)))


def encryption_of(saved: Any, rules: DiskRules) -> Any | None:
    """Return the part of a device change that encrypts a new disk as the saved disk was encrypted."""
    key = getattr(saved.backing, "keyId", None)
    if key is None or not rules.encrypted:
        return None
    spec = vim.vm.device.VirtualDeviceSpec.BackingSpec
    return spec(crypto=vim.encryption.CryptoSpecEncrypt(cryptoKeyId=key))


def _lost(saved: Any) -> Iterator[str]:
    """Yield a note for each property of a saved disk that the new disk does not have."""
    if saved.vDiskId is not None:
        yield "a first-class disk, becomes an ordinary one"
    if saved.iofilter or saved.independentFilters:
        named = ", ".join(saved.iofilter) or "without names"
        yield f"its I/O filters ({named}) are not applied"
    if saved.vFlashCacheConfigInfo is not None:
        yield "without its flash read cache"
    if getattr(saved.backing, "sharing", None) == "sharingMultiWriter":
        yield "several VMs could write to it, only the new one can"


def _disk(saved: Any, capacity: int, backing: Any) -> Any:
    return vim.vm.device.VirtualDisk(
        key=saved.key,
        controllerKey=saved.controllerKey,
        unitNumber=saved.unitNumber,
        capacityInKB=capacity // 1024,
        capacityInBytes=capacity,
        backing=backing,
        shares=saved.shares,
        storageIOAllocation=saved.storageIOAllocation,
        guestReadOnly=saved.guestReadOnly or None,
        virtualDiskFormat=saved.virtualDiskFormat if saved.virtualDiskFormat != _USUAL_FORMAT else None,
    )


def _flat(file_name: str, *, thin: bool | None, mode: str = "persistent", scrub: bool | None = None) -> Any:
    # uuid, changeId, contentId and parent stay unset, because they belong to the old file.
    return vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
        fileName=file_name, diskMode=mode, split=False, writeThrough=False, thinProvisioned=thin, eagerlyScrub=scrub
    )


def _mapping(saved: Any, lun: Lun, file_name: str) -> Any:
    physical = getattr(saved, "compatibilityMode", None) == "physicalMode"
    return vim.vm.device.VirtualDisk.RawDiskMappingVer1BackingInfo(
        fileName=file_name,
        deviceName=lun.device_name,
        lunUuid=lun.uuid,
        compatibilityMode="physicalMode" if physical else "virtualMode",
        diskMode=None if physical else (getattr(saved, "diskMode", None) or "persistent"),
    )


def _base(backing: Any) -> Any:
    """Return the base of a chain of files, because a snapshot's delta does not tell how the disk was provisioned."""
    while getattr(backing, "parent", None) is not None:
        backing = backing.parent
    return backing
