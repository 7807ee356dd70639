"""Makes the new disk for each saved disk of a VM that is created again. Pure: vim values in and out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field
from typing import Any

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import SkipReason
from vmkeep.model.rdm import RdmChoice, RdmReplacement, rdm_choice
from vmkeep.model.wording import size
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.disks import KeyName, backing_name, key_of, name_of_key
from vmkeep.vsphere.luns import Lun

PLACEHOLDER_BYTES = 16 << 20
"""Size of the placeholder for an RDM: any guest accepts it, and nobody takes it for the LUN."""
_USUAL_FORMAT = "native_512"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRules:
    """The place of each disk, and the treatment of disks that were not backed up."""

    physical_rdm: str = "placeholder"
    rdms: Mapping[int, str] = field(default_factory=dict)
    """Device key in the saved configuration → the replacement of that RDM, a word of :mod:`vmkeep.model.rdm`.

    Without one, a physical RDM becomes what is said of all of them, and a virtual one an ordinary disk.
    """
    datastores: Mapping[int, str] = field(default_factory=dict)
    """Device key in the saved configuration → name of the datastore. Other disks go beside the VM's own files."""
    luns: Mapping[int, Lun] = field(default_factory=dict)
    """Device key in the saved configuration → the free LUN for this raw device mapping."""
    policies: Mapping[int, str] = field(default_factory=dict)
    """Device key in the saved configuration → id of the storage policy for the new disk."""
    key: Any | None = None
    """The key with which the new VM is encrypted; ``None``: it is not, and none of its disks can be."""
    keys: Collection[KeyName] = ()
    """The keys of the saved disks that can be used."""
    copied: Collection[int] = ()
    """Device keys of disks that were backed up though no snapshot can hold them, because the VM was off."""

    def __post_init__(self) -> None:
        """Refuse a choice that does not exist."""
        for wanted in (self.physical_rdm, *self.rdms.values()):
            rdm_choice(wanted)

    def choice(self, key: int, *, physical: bool) -> RdmChoice:
        """Return the replacement of the RDM with a device key."""
        return rdm_choice(self.rdms.get(key, self.physical_rdm if physical else RdmReplacement.DISK))


def new_disk(saved: Any, skip: SkipReason | None, rules: DiskRules, notes: list[str]) -> Any | None:
    """Return the virtual disk to create for a saved one, without key and controller; ``None``: the disk is left out.

    :param skip: the reason why the disk was not backed up; ``None``: it was.
    :param notes: receives a sentence for each difference from the saved disk.
    :raises UsageError: the disk is to be mapped to a LUN, but no LUN is named for it.
    """
    label = saved.deviceInfo.label if saved.deviceInfo is not None else f"disk {saved.key}"
    capacity = saved.capacityInBytes or saved.capacityInKB * 1024
    file_name = f"[{rules.datastores[saved.key]}]" if rules.datastores.get(saved.key) else ""
    physical = getattr(saved.backing, "compatibilityMode", None) == "physicalMode"
    choice = rules.choice(saved.key, physical=physical)
    if saved.key in rules.luns:
        lun, becomes_physical = rules.luns[saved.key], choice.is_physical(saved=physical)
        mode = f" in {'physical' if becomes_physical else 'virtual'} mode" if becomes_physical != physical else ""
        notes.append(f"{label}: mapped to LUN {lun.device_name} ({size(lun.capacity)}){mode}")
        return _disk(saved, lun.capacity, _mapping(saved.backing, lun, file_name, physical=becomes_physical))
    is_rdm = backing_name(saved.backing).startswith("RawDiskMapping")
    if is_rdm and choice.replacement is not RdmReplacement.DISK:
        return _replacement(saved, label, choice.replacement, file_name, notes, copied=skip is None)
    if skip is not None:
        notes.append(f"{label}: not in the backup ({skip.why}), created empty")
    elif is_rdm:
        notes.append(f"{label}: a {'physical' if physical else 'virtual'}-mode RDM, becomes an ordinary disk")
    notes.extend(f"{label}: {what}" for what in (*_lost(saved), *_other_key(saved, rules)))
    # A physical RDM counts as independent because no snapshot holds it; an ordinary disk shall be in snapshots.
    mode = "persistent" if physical else getattr(saved.backing, "diskMode", None) or "persistent"
    if is_rdm:
        return _disk(
            saved,
            capacity,
            _flat(file_name, thin=choice.how in ("", "thin"), mode=mode, scrub=choice.how == "eager" or None),
        )
    base = _base(saved.backing)
    thin = getattr(base, "thinProvisioned", None) if backing_name(base) == "FlatVer2" else True
    return _disk(saved, capacity, _flat(file_name, thin=thin, mode=mode, scrub=getattr(base, "eagerlyScrub", None)))


def _replacement(
    saved: Any, label: str, replacement: RdmReplacement, file_name: str, notes: list[str], *, copied: bool
) -> Any | None:
    """Return the disk that takes the place of an RDM and gets no content; ``None``: the RDM is left out."""
    kind = "physical" if getattr(saved.backing, "compatibilityMode", None) == "physicalMode" else "virtual"
    if replacement is RdmReplacement.OMIT:
        notes.append(f"{label}: a {kind} RDM, left out as asked")
        return None
    if replacement is not RdmReplacement.PLACEHOLDER:
        raise UsageError(f"{label}: name the free LUN that this {kind} RDM is to be mapped to")
    capacity = min(saved.capacityInBytes or saved.capacityInKB * 1024, PLACEHOLDER_BYTES)
    held = ", although the backup holds its content" if copied else ""
    notes.append(f"{label}: a {kind} RDM, an empty placeholder of {capacity >> 20} MiB takes its place{held}")
    return _disk(saved, capacity, _flat(file_name, thin=True))


def encryption_of(saved: Any, rules: DiskRules) -> Any | None:
    """Return the part of a device change that encrypts a new disk, if the saved disk was encrypted.

    It gets the saved disk's key, or else the VM's if that one cannot be used.
    """
    key = key_of(saved.backing)
    if key is None or rules.key is None:
        return None
    usable = key if name_of_key(key) in rules.keys else rules.key
    spec = vim.vm.device.VirtualDeviceSpec.BackingSpec
    return spec(crypto=vim.encryption.CryptoSpecEncrypt(cryptoKeyId=usable))


def _other_key(saved: Any, rules: DiskRules) -> Iterator[str]:
    """Yield a note if a new disk is encrypted with another key. A VM that is not encrypted has a note of its own."""
    key = key_of(saved.backing)
    if key is not None and rules.key is not None and name_of_key(key) not in rules.keys:
        provider = key.providerId.id if key.providerId is not None else "unknown"
        yield (
            f"encrypted with the VM's key {rules.key.keyId}, because its own key {key.keyId} of key provider "
            f"{provider} cannot be used here"
        )


def profiles_of(saved: Any, rules: DiskRules) -> list[Any]:
    """Return the part of a device change that gives a new disk its storage policy."""
    policy = rules.policies.get(saved.key)
    return [vim.vm.DefinedProfileSpec(profileId=policy)] if policy is not None else []


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


def _mapping(saved: Any, lun: Lun, file_name: str, *, physical: bool) -> Any:
    was_physical = getattr(saved, "compatibilityMode", None) == "physicalMode"
    mode = None if was_physical else getattr(saved, "diskMode", None)
    return vim.vm.device.VirtualDisk.RawDiskMappingVer1BackingInfo(
        fileName=file_name,
        deviceName=lun.device_name,
        lunUuid=lun.uuid,
        compatibilityMode="physicalMode" if physical else "virtualMode",
        diskMode=None if physical else mode or "persistent",
    )


def _base(backing: Any) -> Any:
    """Return the base of a chain of files, because a snapshot's delta does not tell how the disk was provisioned."""
    while getattr(backing, "parent", None) is not None:
        backing = backing.parent
    return backing
