"""The values of LVM: volume groups as their metadata describes them, what lies on disks, and findings about both.

Sizes and places are in bytes, except those that are said to be in extents, which all have the size of their group.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TypedDict

from vmkeep.guest.partitions import PartitionPlace, PartitionTable
from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalVolume:
    """A physical volume as the metadata of its volume group describes it, whether its disk is there or not."""

    uuid: str
    name: str
    """Its name within the metadata, e.g. ``pv0``; segments name it by that."""
    device: str
    """Where the guest saw it last, e.g. ``/dev/sdb1``: a hint only."""
    dev_size: int
    """Size of its disk or partition; 0: the metadata does not tell."""
    pe_start: int
    """Where its first extent begins, from the beginning of its disk or partition."""
    pe_count: int
    """Number of its extents."""
    status: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    """``MISSING``: LVM in the guest did not see it either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Where a part of a segment lies: from an extent on, in a physical volume or in another logical volume."""

    pv: str = ""
    """Name of the physical volume; empty: the area lies in a logical volume."""
    lv: str = ""
    """Name of the logical volume; empty: the area lies in a physical volume."""
    start: int = 0
    """Its first extent there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a logical volume that is mapped in one way."""

    start_extent: int
    """Its first extent in the logical volume."""
    extent_count: int
    kind: str
    """As in the metadata, without flags: ``striped`` (one area: linear), ``mirror``, ``raid1``, ``raid5_ls``, ``thin``,
    ``thin-pool``, ``snapshot``, ``cache``, ``writecache``, ``vdo``, ``error``, ``zero`` …"""
    kind_flags: tuple[str, ...] = ()
    """The words after the kind and a plus sign; whoever does not know a flag must not use the segment."""
    areas: tuple[Area, ...] = ()
    """Stripes, images of a mirror, or data of a RAID; the order is that of the metadata."""
    metadata_areas: tuple[Area, ...] = ()
    """The metadata volume of each data area of a RAID; else empty."""
    stripe_size: int = 0
    """Bytes of each stripe before the next area has its turn; 0: there is one area only."""
    region_size: int = 0
    pool: str = ""
    """The pool of a ``thin``; the logical volume with the data of a ``thin-pool`` or a pool of a cache."""
    metadata: str = ""
    """The logical volume with the metadata of a pool."""
    device_id: int | None = None
    """The number of a ``thin`` in its pool."""
    transaction_id: int | None = None
    chunk_size: int = 0
    origin: str = ""
    """The logical volume below a ``snapshot``, ``cache`` or ``writecache``; for a ``thin`` the one that it was a
    snapshot of."""
    external_origin: str = ""
    """The logical volume outside the pool that has the blocks of a ``thin`` which were never written."""
    cow_store: str = ""
    """The logical volume with the blocks that a ``snapshot`` has copied."""
    merging_store: str = ""
    """The same, while the origin is being taken back to the ``snapshot``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalVolume:
    """A logical volume."""

    uuid: str
    name: str
    is_visible: bool
    """False: a part of another one, which no user of the guest sees. A snapshot is visible as its ``cow_store``."""
    status: tuple[str, ...]
    segments: tuple[Segment, ...]
    """In the order of their extents."""
    flags: tuple[str, ...] = ()

    @property
    def extent_count(self) -> int:
        """Its size in extents."""
        return sum(segment.extent_count for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeGroup:
    """A volume group as one text of its metadata describes it."""

    uuid: str
    name: str
    seqno: int
    """Rises with each change."""
    extent_size: int
    """Bytes of an extent."""
    physical_volumes: tuple[PhysicalVolume, ...]
    logical_volumes: tuple[LogicalVolume, ...]
    status: tuple[str, ...] = ()
    written_by: str = ""
    """Name of the machine that wrote the text."""
    description: str = ""
    """The command that wrote it, in LVM's words, e.g. ``Write from vgreduce --removemissing vg0.``"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LvmLabel:
    """A label of LVM on a disk or a partition: a physical volume that is really there."""

    uuid: str
    place: PartitionPlace
    device_size: int
    is_used: bool
    """The label says that the physical volume belongs to a volume group. Old labels do not say it."""
    areas: int
    """Number of its metadata areas, 0 to 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataCopy:
    """One metadata area, and what it holds."""

    label: LvmLabel
    area: int
    """Which area of its physical volume, from 1."""
    start: int
    """Where the area begins on its disk."""
    is_ignored: bool = False
    """LVM does not keep it up to date, on request; what it holds says nothing."""
    checksum: int | None = None
    """The checksum of the text; ``None``: the area holds no text that can be read."""
    precommitted: int | None = None
    """The checksum of a text that LVM was about to commit; ``None``: there is none."""
    group: VolumeGroup | None = None
    """The text's content; ``None``: it holds none, or a damaged one."""
    problem: str = ""
    """Why header or text cannot be used; empty: nothing is wrong, and without a group the area is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A disk or a partition that could not be looked at, because a block of the restore point cannot be read."""

    place: PartitionPlace
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LvmState:
    """All that LVM has on the disks of one guest."""

    tables: tuple[PartitionTable, ...]
    """The partition table of each disk that could be read."""
    labels: tuple[LvmLabel, ...]
    copies: tuple[MetadataCopy, ...]
    groups: tuple[VolumeGroup, ...]
    """Each volume group, as the text with the highest sequence number describes it. Names may occur twice."""
    unread: tuple[Unread, ...] = ()
    problems: tuple[Finding, ...] = ()
    """The faults of labels; :func:`vmkeep.guest.lvm.check` passes them on."""
    raids: tuple[PartitionPlace, ...] = ()
    """Members of software RAIDs that are no mirrors, below which nothing is looked for."""
    encrypted: tuple[PartitionPlace, ...] = ()
    """Places that LUKS encrypts, below which nobody but the guest can look."""
    bytes_read: int = 0

    @property
    def places(self) -> dict[str, PartitionPlace]:
        """The places of the physical volumes that are there, by UUID. Of duplicates, the one that was written last.

        It is made anew by each call, from all labels and copies.
        """
        written: dict[PartitionPlace, int] = {}
        for copy in self.copies:
            if copy.group is not None:
                place = copy.label.place
                written[place] = max(copy.group.seqno, written.get(place, -1))
        newest: dict[str, PartitionPlace] = {}
        for label in self.labels:
            other = newest.get(label.uuid)
            if other is None or written.get(label.place, -1) > written.get(other, -1):
                newest[label.uuid] = label.place
        return newest


class Severity(StrEnum):
    """How much a finding weighs."""

    FAILURE = "failure"
    """The disks do not agree, or a part of a volume group is not there."""

    WARNING = "warning"
    """A person should look: the check cannot tell whether something is wrong."""

    NOTE = "note"
    """Worth knowing; nothing is wrong."""


class FindingCode(StrEnum):
    """The codes of findings. Scripts may rely on them."""

    MISSING_PV = "missing-pv"
    """A volume group lists a physical volume that is on none of the disks."""
    PV_IN_TWO_VGS = "pv-in-two-vgs"
    """Two volume groups list the same physical volume."""
    PV_NOT_IN_VG = "pv-not-in-vg"
    """A physical volume holds the metadata of a volume group that does not list it."""
    SEQNO_DIFFERS = "seqno-differs"
    """Metadata areas of one volume group have different sequence numbers."""
    CHECKSUM_DIFFERS = "checksum-differs"
    """Metadata areas of one volume group have the same sequence number and different texts."""
    METADATA_MISSING = "metadata-missing"
    """A metadata area is empty, or nothing lists a physical volume that says it belongs to a volume group."""
    METADATA_TORN = "metadata-torn"
    """A label, the header of a metadata area, or a text is damaged."""
    DUPLICATE_PV = "duplicate-pv"
    """Two disks or partitions have the same physical volume."""
    VG_LOST_PV = "vg-lost-pv"
    """An earlier restore point had a physical volume in the volume group that is not in it any more."""
    VG_LOST_LV = "vg-lost-lv"
    """An earlier restore point had a logical volume that is not there any more."""
    UNREADABLE = "unreadable"
    """A block of the restore point is damaged, so that LVM could not be looked at there."""
    TABLE_DAMAGED = "table-damaged"
    """A partition table is damaged or contradicts its disk; the check went on with what it holds."""
    PV_BEYOND_DISK = "pv-beyond-disk"
    """A disk or partition is smaller than the physical volume on it."""
    PV_ON_DISK_NOT_IN_BACKUP = "pv-on-disk-not-in-backup"
    """A physical volume fits a disk that is not part of the backup."""
    PV_ON_RAID = "pv-on-raid"
    """A physical volume lay on a Linux software RAID whose level is not read here."""
    PV_ENCRYPTED = "pv-encrypted"
    """A physical volume lay on a device that the guest's own mapper made, and a place of the guest is encrypted."""
    NOT_INITIALISED = "not-initialised"
    """A partition has the type of LVM and no label."""
    ORPHAN_PV = "orphan-pv"
    """A label belongs to no volume group."""
    COMMIT_UNDER_WAY = "commit-under-way"
    """LVM was just committing a change, so that some areas have the new number and others are about to."""
    IGNORED_AREA = "ignored-area"
    """A metadata area that LVM does not keep up to date, on request."""
    MISSING_IN_GUEST = "missing-in-guest"
    """A physical volume was missing in the guest already, by its own metadata."""
    LABEL_PASSED_OVER = "label-passed-over"
    """A label that LVM passes over: the disk has partitions, or mirrors another one by software RAID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that the check of LVM found."""

    code: FindingCode
    severity: Severity
    vg: str = ""
    """Name of the volume group; empty: the finding is about none."""
    vg_uuid: str = ""
    """UUID of the volume group, because two groups may have one name."""
    pv: str = ""
    """UUID of the physical volume; empty: the finding is about none."""
    disk: str = ""
    """Name of the place, e.g. ``disk0p1``, or the label of a disk that is not in the backup."""
    text: str = field(compare=False)
    """One sentence for a person."""


class Named(TypedDict):
    """The fields of a finding that name its volume group."""

    vg: str
    vg_uuid: str


def named(group: VolumeGroup | GroupRecord | None) -> Named:
    """Return the fields of a finding that name a volume group; ``None``: the finding is about none."""
    return Named(vg=group.name, vg_uuid=group.uuid) if group is not None else Named(vg="", vg_uuid="")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskNotInBackup:
    """A disk of the VM that the restore point does not hold: excluded, independent, or an RDM."""

    label: str
    capacity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord:
    """The facts that are kept of a volume group, so that a later restore point can be compared with it."""

    uuid: str
    name: str
    seqno: int
    pvs: tuple[str, ...]
    """UUIDs of its physical volumes."""
    lvs: tuple[tuple[str, str], ...]
    """UUID and name of each visible logical volume."""
    written_by: str = ""
    """Name of the machine that wrote the metadata."""
