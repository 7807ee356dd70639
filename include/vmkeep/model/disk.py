"""A VM's virtual disk as vSphere describes it, and the reasons to leave a disk out of a backup."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

from vmkeep.lateclass import dataclass

ChangeId = NewType("ChangeId", str)
"""vSphere's id of a disk's state at one snapshot. It can list the changes since then. ``"*"`` is never stored."""


class ControllerKind(StrEnum):
    """The kind of controller that a disk is attached to. With bus and unit number it is the disk's address."""

    SCSI = "scsi"
    SATA = "sata"
    NVME = "nvme"
    IDE = "ide"


class SkipReason(StrEnum):
    """The reason why a disk of the VM is not in the restore point."""

    PHYSICAL_RDM = "physical-rdm"
    INDEPENDENT = "independent"
    EXCLUDED = "excluded"
    SHARED = "shared"
    UNSUPPORTED_BACKING = "unsupported-backing"

    @property
    def why(self) -> str:
        """The reason in words."""
        return _WHY[self]

    @property
    def only_of_snapshots(self) -> bool:
        """Whether only the snapshot keeps the disk from being copied. Such a disk can be read while its VM is off."""
        return self in (SkipReason.INDEPENDENT, SkipReason.SHARED)


_WHY = {
    SkipReason.PHYSICAL_RDM: "physical-mode RDM: vSphere cannot snapshot it",
    SkipReason.INDEPENDENT: "independent disk: vSphere leaves it out of snapshots (mode ASIS copies it)",
    SkipReason.EXCLUDED: "excluded by the request",
    SkipReason.SHARED: "shared (multi-writer or shared bus): vSphere takes no snapshot of the VM (mode ASIS copies it)",
    SkipReason.UNSUPPORTED_BACKING: "its backing type cannot be read by VDDK",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A virtual disk of a VM, copied or not."""

    key: int
    """vSphere's device key, e.g. 2000. It identifies the disk within one VM only."""
    label: str
    controller: ControllerKind
    controller_type: str
    """vSphere's type of the controller, e.g. ``ParaVirtualSCSIController``."""
    bus: int
    unit: int
    capacity: int
    """Size in bytes, a multiple of 512."""
    backing: str
    """vSphere's type of the backing without its prefix, e.g. ``FlatVer2``, ``SeSparse`` or ``RawDiskMappingVer1``."""
    compatibility_mode: str | None = None
    """``physicalMode`` or ``virtualMode`` of an RDM."""
    disk_mode: str = "persistent"
    uuid: str | None = None
    file_name: str
    """``[datastore] folder/name.vmdk`` at the time of the backup. It changes with every snapshot, so disks are never
    matched by it."""
    chain: tuple[str, ...] = ()
    """The disk's files at that time, the base first and ``file_name`` last; empty: they are not known."""
    thin: bool | None = None
    lun_uuid: str | None = None
    device_name: str | None = None
    key_id: str | None = None
    """Id of the key with which vSphere encrypts the disk; ``None``: it does not."""
    key_provider: str | None = None
    """Id of the key provider that has that key."""
    skip: SkipReason | None = None
    left_out: str = ""
    """The rule of the request that leaves the disk out; empty: none does."""

    def __post_init__(self) -> None:
        """Require whole sectors, because every reader relies on them."""
        if self.capacity < 0 or self.capacity % 512:
            raise ValueError(f"{self.label}: capacity {self.capacity} is not a whole number of 512-byte sectors")

    @property
    def physical_rdm(self) -> bool:
        """Whether the disk is a physical-mode RDM, which no snapshot holds. Some backups read it from its LUN."""
        return self.compatibility_mode == "physicalMode"

    @property
    def why_skipped(self) -> str:
        """The reason in words why the disk is not copied; empty: it is copied."""
        if self.skip is None:
            return ""
        return f"{self.skip.why} ({self.left_out})" if self.left_out else self.skip.why

    @property
    def encryption(self) -> str:
        """The key with which vSphere encrypts the disk, in words; empty: it does not."""
        if self.key_id is None:
            return ""
        return f"key {self.key_id} of " + (f"key provider {self.key_provider}" if self.key_provider else "the host")

    @property
    def address(self) -> str:
        """The address at which the guest sees the disk, e.g. ``scsi0:1``."""
        return f"{self.controller}{self.bus}:{self.unit}"
