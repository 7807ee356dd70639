"""Restore points: a VM as it was at one instant, with the identity of the VM and the images of its disks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime, tzinfo
from enum import StrEnum

from vmkeep.errors import NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.model.audit import Audit
from vmkeep.model.changedown import ChangeDown
from vmkeep.model.disk import ChangeId, Disk
from vmkeep.model.fullreason import FullReason
from vmkeep.model.guest import CommandsRun
from vmkeep.model.hostconfig import HostRelease
from vmkeep.model.imagekeys import is_image_key
from vmkeep.model.lun import LunRead
from vmkeep.model.transport import AccessUsed

STAMP = "%Y%m%dT%H%M%SZ"
"""The form of a time in the name of a restore point, e.g. ``20260102T030405Z``. Names sort by time."""


def stamp_of(time: datetime) -> str:
    """Return an aware time in the form that names of restore points use, in UTC."""
    return time.astimezone(UTC).strftime(STAMP)


class BackupKind(StrEnum):
    """Says how much was read for one disk, or for all disks of a restore point."""

    FULL = "full"
    """All bytes were read."""
    INCREMENTAL = "incremental"
    """For a disk, only the changes since an earlier point were read; for a point, that is so of at least one disk."""


class BackupMode(StrEnum):
    """The treatment of the running VM during the backup. The names are those of IBM FlashCopy Manager."""

    SNAPSHOT_INCL_MEM = "SNAPSHOT_INCL_MEM"
    SNAPSHOT_EXCL_MEM = "SNAPSHOT_EXCL_MEM"
    SUSPEND = "SUSPEND"
    ASIS = "ASIS"


class Consistency(StrEnum):
    """The consistency that a backup reached, which may be less than was asked for."""

    APPLICATION = "application"
    FILE_SYSTEM = "file-system"
    MEMORY = "memory"
    SUSPENDED = "suspended"
    POWERED_OFF = "powered-off"
    CRASH = "crash"


class Power(StrEnum):
    """The power state of a VM at the time of its backup."""

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
    """The identity of a VM: every name and id by which it can be found again."""

    name: str
    key: str
    """The VM's name in the repository: its instance UUID, or ``image-<slug>`` for imported images, or ``host-<uuid>``
    for the configuration of an ESXi host."""
    moref: str | None = None
    instance_uuid: str | None = None
    bios_uuid: str | None = None
    vcenter: str | None = None
    """Instance UUID of the vCenter; or the hardware UUID of an ESXi host, if the backup went to the host itself."""
    inventory_path: str | None = None
    server: str | None = None
    """The server's address as the user gave it, because people recognise it more easily. It identifies nothing."""
    addresses: tuple[str, ...] = ()
    """Addresses that the guest had: a VM that is off is found by them. They identify nothing either."""
    dns_name: str | None = None
    """Name that the guest gave itself."""

    @property
    def is_imported(self) -> bool:
        """The points were made of images, and not by backups."""
        return is_image_key(self.key)

    @property
    def in_full(self) -> str:
        """The VM in words that distinguish it from another VM of the same name."""
        where = f"{self.inventory_path or 'path unknown'}, {self.moref or 'id unknown'}"
        at = f"{self.server} ({self.vcenter or 'UUID unknown'})" if self.server else self.vcenter or "unknown"
        return f"VM {self.name} ({where}, instance UUID {self.instance_uuid or 'unknown'}, vCenter {at})"


def settled_vcenters(told: Sequence[str | None]) -> list[str | None]:
    """Return the vCenter of each of one key's points, sorted by time, also if a point does not record it.

    Older programs did not record the id of an ESXi host. A point without an id gets that of the point before it.

    :param told: the vCenter that each point records.
    """
    at = next((vcenter for vcenter in told if vcenter), None)
    settled = []
    for vcenter in told:
        at = vcenter or at
        settled.append(at)
    return settled


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskImage:
    """The content of one disk in a restore point. It is complete, even if only changes were read for it."""

    disk: Disk
    root: str
    """Digest (hex) of the map's root page."""
    kind: BackupKind
    reason: str
    """The reason why the whole disk was read, or the point whose changes were read."""
    change_id: ChangeId | None = None
    """The change id from which the next incremental starts; ``None`` forces a full read."""
    bytes_read: int = 0
    bytes_stored: int = 0
    full_reason: FullReason | None = None
    """The reason for a full read, as data; ``None``: only changes were read, or an older program wrote the point."""
    transport: str | None = None
    """The transport mode that VDDK used; ``None``: none was used, or an older program wrote the point."""
    transports_asked: tuple[str, ...] = ()
    """The transport modes that the request allowed, the preferred one first; `access` tells which were possible."""
    audit: Audit | None = None
    """The outcome of the audit of change tracking; ``None``: nothing was audited, or an older program wrote it."""
    access: AccessUsed | None = None
    """The way by which the disk was read; ``None``: an older program wrote the point, or the disk came from a file."""
    lun: LunRead | None = None
    """The LUN from which the content of a physical RDM was read, with its consistency, which is not the point's;
    ``None``: the disk was read through vSphere."""
    seconds: float | None = None
    """Seconds of the copy; ``None``: it went on where another try had stopped, no copy was made, or an older program
    wrote the point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePoint:
    """A VM as it was at ``taken_at``, restorable by itself: the content of a manifest."""

    id: str
    vm: VmIdentity
    taken_at: datetime
    """The instant that the point shows. It is converted to UTC."""
    run: str
    kind: BackupKind = field(init=False, default=BackupKind.FULL)
    """Derived from the images: full if every disk was read in full."""
    mode_asked: BackupMode
    mode_used: BackupMode
    quiesce_asked: Quiesce
    consistency: Consistency
    images: tuple[DiskImage, ...]
    skipped: tuple[Disk, ...] = ()
    warnings: tuple[str, ...] = ()
    attachments: dict[str, str] = field(default_factory=dict)
    """Digest (hex) of the map root of each saved file, by the file's name: ``config.xml``, ``vm.vmx``, ``vm.nvram``,
    and ``extents/<device key>``, which lists the extents of that disk that were read for this point."""
    attachment_sizes: dict[str, int] = field(default_factory=dict)
    """Size of each saved file in bytes, by its name."""
    power: Power | None = None
    """The VM's power state; ``None``: an older program wrote the point and did not record it."""
    quiesce_required: bool = False
    """Without quiescing there would be no point."""
    quiesce_used: Quiesce | None = None
    """The quiescing that the snapshot was taken with; ``None``: an older program wrote the point and did not tell."""
    changes: tuple[ChangeDown, ...] = ()
    """The changes from the mode and the quiescing that were asked for to those that were used, with their reasons."""
    guest_commands: CommandsRun | None = None
    """The outcomes of the commands in the guest; ``None``: none were asked for, or an older program wrote the point."""
    policy: str | None = None
    """Name of the policy whose window asked for the backup; ``None``: a person did, or an older program wrote it."""
    host: HostRelease | None = None
    """The ESXi host whose configuration this point holds; ``None``: the point is one of a VM. ``vm`` names the host
    then, and ``attachments`` has its bundle."""

    def __post_init__(self) -> None:
        """Convert the time to UTC, derive the kind, and refuse a disk that appears twice."""
        if self.taken_at.tzinfo is None:
            raise ValueError("taken_at must carry a time zone")
        object.__setattr__(self, "taken_at", self.taken_at.astimezone(UTC))
        object.__setattr__(self, "kind", _kind_of(self.images))
        keys = [disk.key for disk in self.disks]
        if len(keys) != len(set(keys)):
            raise ValueError(f"{self.vm.name}: a disk appears twice in the restore point")

    @property
    def was_running(self) -> bool:
        """Whether the VM ran during the backup. For a point of an older program, this follows from its consistency."""
        if self.power is not None:
            return self.power is Power.ON
        return self.consistency not in (Consistency.POWERED_OFF, Consistency.SUSPENDED)

    @property
    def disks(self) -> tuple[Disk, ...]:
        """All disks of the VM, copied or skipped, in the order of their device keys."""
        return tuple(sorted((*(image.disk for image in self.images), *self.skipped), key=lambda disk: disk.key))

    @property
    def numbered(self) -> dict[int, DiskImage]:
        """The disks that the point holds, by the number by which people choose them: from 0, by device key."""
        return dict(enumerate(sorted(self.images, key=lambda image: image.disk.key)))

    def chosen(self, numbers: Collection[int]) -> dict[int, DiskImage]:
        """Return the images of the disks that a person chose, by number, in order.

        :param numbers: none: all disks.
        :raises NotFoundError: the point holds no disk of a number, or none at all.
        """
        if not self.images:
            raise NotFoundError(f"restore point {self.ref} holds no disk")
        for number in numbers:
            if number not in self.numbered:
                raise NotFoundError(self.lacks(number))
        return {number: image for number, image in self.numbered.items() if not numbers or number in numbers}

    def lacks(self, number: int) -> str:
        """Say that the point holds no disk of a number, and which disks it holds."""
        held = ", ".join(f"{number} {image.disk.label}" for number, image in self.numbered.items())
        return f"restore point {self.ref} holds no disk {number}: it holds {held or 'none'}"

    @property
    def stamp(self) -> str:
        """The time in the point's name, in UTC. Only :meth:`named_in` gives another zone."""
        return self.taken_at.strftime(STAMP)

    @property
    def ref(self) -> str:
        """The point's name in the repository, ``<vm key>/<time>-<id>``. Refs of one VM sort by time."""
        return f"{self.vm.key}/{self.stamp}-{self.id}"

    def image_of(self, disk: Disk) -> DiskImage | None:
        """Find a disk by its UUID, else by its address. The file name changes and is not used."""
        if disk.uuid:
            by_uuid = [image for image in self.images if image.disk.uuid == disk.uuid]
            if len(by_uuid) == 1:
                return by_uuid[0]
        return next((image for image in self.images if _same_place(image.disk, disk)), None)

    def named_in(self, zone: tzinfo | None) -> RestorePoint:
        """Return the point under the name of an older program, which wrote the stamp in the zone of the given time."""
        named = replace(self)
        object.__setattr__(named, "taken_at", self.taken_at.astimezone(zone))
        return named


def _same_place(old: Disk, new: Disk) -> bool:
    """Return whether two disks have one address and no UUID tells them apart."""
    return old.address == new.address and not (old.uuid and new.uuid and old.uuid != new.uuid)


def _kind_of(images: Sequence[DiskImage]) -> BackupKind:
    full = all(image.kind is BackupKind.FULL for image in images)
    return BackupKind.FULL if full else BackupKind.INCREMENTAL
