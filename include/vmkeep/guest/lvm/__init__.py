"""LVM inside a guest: its volume groups as the disks of a restore point hold them, and whether they agree.

:func:`read_lvm` looks for labels at the beginning of every disk and of every partition (``labels``). A label names the
metadata areas of its physical volume (``areas``). Each area has a header, and a ring with the text that describes the
whole volume group. ``text`` parses that text, ``metadata`` makes ``values`` of it, and ``reading`` puts all together.
All areas of a volume group should hold the same text. Groups are told apart by UUID, because clones have equal names.
The text with the highest sequence number is the truth about its group.

:func:`check` compares the labels and all texts with that truth, and answers with ``findings``. A failure means that the
disks do not belong together, or that one is not there. A note says something that looks alike but is healthy.
``absent`` finds physical volumes without a disk and labels without a group, and tells them from volumes on disks that
are not part of the backup. ``history`` compares with an earlier restore point.

All of this reads kilobytes of each disk. A disk of which a block cannot be read is reported by itself, because that is
damage to the restore point and says nothing about LVM.
"""

from vmkeep.guest.lvm.findings import check, record_groups
from vmkeep.guest.lvm.reading import read_lvm
from vmkeep.guest.lvm.values import (
    Area,
    DiskNotInBackup,
    Finding,
    FindingCode,
    GroupRecord,
    LogicalVolume,
    LvmLabel,
    LvmState,
    MetadataCopy,
    PhysicalVolume,
    Segment,
    Severity,
    Unread,
    VolumeGroup,
)

__all__ = [
    "Area",
    "DiskNotInBackup",
    "Finding",
    "FindingCode",
    "GroupRecord",
    "LogicalVolume",
    "LvmLabel",
    "LvmState",
    "MetadataCopy",
    "PhysicalVolume",
    "Segment",
    "Severity",
    "Unread",
    "VolumeGroup",
    "check",
    "read_lvm",
    "record_groups",
]
