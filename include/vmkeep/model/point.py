"""Restore points: a VM, restorable as of one instant, and the parts it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from enum import StrEnum

from vmkeep.model.disk import ChangeId, Disk

STAMP = "%Y%m%dT%H%M%SZ"
"""The form of a time in the name of a restore point, e.g. ``20260102T030405Z``: it sorts by time."""


def stamp_of(time: datetime) -> str:
    """Return an aware time, of any zone, as names of restore points hold it: in UTC."""
    return time.astimezone(UTC).strftime(STAMP)


class BackupKind(StrEnum):
    """The part that was read: of one disk, or of all disks of a restore point."""

    FULL = "full"
    """Everything."""
    INCREMENTAL = "incremental"
    """Of a disk, only the changes since an earlier point; of a restore point, only the changes of at least one disk."""


class BackupMode(StrEnum):
    """The treatment of the running VM; the names are those of FlashCopy Manager."""

    SNAPSHOT_INCL_MEM = "SNAPSHOT_INCL_MEM"
    SNAPSHOT_EXCL_MEM = "SNAPSHOT_EXCL_MEM"
    SUSPEND = "SUSPEND"
    ASIS = "ASIS"


class Consistency(StrEnum):
    """The consistency that was achieved, maybe less than asked for."""

    APPLICATION = "application"
    FILE_SYSTEM = "file-system"
    MEMORY = "memory"
    SUSPENDED = "suspended"
    POWERED_OFF = "powered-off"
    CRASH = "crash"


class Power(StrEnum):
    """The power state of a VM when it was backed up."""

    ON = "on"
    OFF = "off"
    SUSPENDED = "suspended"


class Quiesce(StrEnum):
    """The request to the guest before the snapshot."""

    APPLICATION = "application"
    FILE_SYSTEM = "file-system"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmIdentity:
    """The identity of a VM: every name by which it can be found again."""

    name: str
    key: str
    """Names the VM's folder in the repository: its instance UUID, or ``image-<slug>`` for imported images."""
    moref: str | None = None
    instance_uuid: str | None = None
    bios_uuid: str | None = None
    vcenter: str | None = None
    """Instance UUID of the vCenter; hardware UUID of an ESXi host that was spoken to without one."""
    inventory_path: str | None = None
    server: str | None = None
    """Address of that vCenter as it was given: for people, who know no UUID by heart. It identifies nothing."""

    @property
    def in_full(self) -> str:
        """The VM with everything that tells it from another one of its name."""
        where = f"{self.inventory_path or 'path unknown'}, {self.moref or 'id unknown'}"
        at = f"{self.server} ({self.vcenter or 'UUID unknown'})" if self.server else self.vcenter or "unknown"
        return f"VM {self.name} ({where}, instance UUID {self.instance_uuid or 'unknown'}, vCenter {at})"


def settled_vcenters(told: Sequence[str | None]) -> list[str | None]:
    """Return the vCenter of each point of one history, sorted by time, also of those that do not tell.

    Older programs told none of an ESXi host. Such a point belongs to the VM of the one before it.
    """
    at = next((vcenter for vcenter in told if vcenter), None)
    settled = []
    for vcenter in told:
        at = vcenter or at
        settled.append(at)
    return settled


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskImage:
    """The content of one disk in a restore point: always complete, however little was read for it."""

    disk: Disk
    root: str
    """Digest (hex) of the map's root page."""
    kind: BackupKind
    reason: str
    """Why it was a full read, or what the increment is relative to."""
    change_id: ChangeId | None = None
    """The change id from which the next incremental starts; ``None`` forces a full read."""
    bytes_read: int = 0
    bytes_stored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePoint:
    """A VM, restorable as it was at ``taken_at``: what a manifest says. Its seal is the commit of a backup."""

    id: str
    vm: VmIdentity
    taken_at: datetime
    """Kept in UTC, whatever zone it is given in."""
    run: str
    kind: BackupKind = field(init=False, default=BackupKind.FULL)
    """Follows from the images: full if every disk was read in full."""
    mode_asked: BackupMode
    mode_used: BackupMode
    quiesce_asked: Quiesce
    consistency: Consistency
    images: tuple[DiskImage, ...]
    skipped: tuple[Disk, ...] = ()
    warnings: tuple[str, ...] = ()
    attachments: dict[str, str] = field(default_factory=dict)
    """Name → digest (hex) of a map root whose bytes are the file: ``config.xml``, ``vm.vmx``, ``vm.nvram``, and
    ``extents/<device key>``: what was read of that disk for this point, as the repository encodes extents."""
    attachment_sizes: dict[str, int] = field(default_factory=dict)
    """Name → bytes."""
    power: Power | None = None
    """``None``: written by a program that did not tell."""

    def __post_init__(self) -> None:
        """Hold what every reader relies on: a time in UTC, a kind that fits the images, and no disk twice."""
        if self.taken_at.tzinfo is None:
            raise ValueError("taken_at must carry a time zone")
        object.__setattr__(self, "taken_at", self.taken_at.astimezone(UTC))
        object.__setattr__(self, "kind", _kind_of(self.images))
        keys = [disk.key for disk in self.disks]
        if len(keys) != len(set(keys)):
            raise ValueError(f"{self.vm.name}: a disk appears twice in the restore point")

    @property
    def was_running(self) -> bool:
        """Return whether the VM ran; where that was not written down, its consistency tells it."""
        if self.power is not None:
            return self.power is Power.ON
        return self.consistency not in (Consistency.POWERED_OFF, Consistency.SUSPENDED)

    @property
    def disks(self) -> tuple[Disk, ...]:
        """Every disk of the VM, copied or skipped, in order of device key."""
        return tuple(sorted((*(image.disk for image in self.images), *self.skipped), key=lambda disk: disk.key))

    @property
    def stamp(self) -> str:
        """The time in the point's name: UTC, but for :meth:`named_in`."""
        return self.taken_at.strftime(STAMP)

    @property
    def ref(self) -> str:
        """The point's name in the repository: ``<vm key>/<time>-<id>``; sorts by time."""
        return f"{self.vm.key}/{self.stamp}-{self.id}"

    def named_in(self, zone: tzinfo | None) -> RestorePoint:
        """Return the point under the name that an older program gave it, which wrote the stamp in another zone."""
        named = replace(self)
        object.__setattr__(named, "taken_at", self.taken_at.astimezone(zone))
        return named


def _kind_of(images: Sequence[DiskImage]) -> BackupKind:
    full = all(image.kind is BackupKind.FULL for image in images)
    return BackupKind.FULL if full else BackupKind.INCREMENTAL
