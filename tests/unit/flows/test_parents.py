"""Which disk an increment continues; when in doubt, a full."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from vmkeep.flows.parents import choose_parent
from vmkeep.model.disk import ChangeId, ControllerKind, Disk
from vmkeep.model.fullreason import FullRead, FullReason
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity

DISK = Disk(
    key=2000, label="Hard disk 1", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController", bus=0,
    unit=0, capacity=1 << 30, backing="FlatVer2", uuid="6000-a", file_name="[ds1] a/a.vmdk",
)  # fmt: skip


def last_point(*disks: Disk, change_id: str | None = "u/1") -> RestorePoint:
    images = tuple(
        DiskImage(
            disk=disk, root="00", kind=BackupKind.FULL, reason="", change_id=ChangeId(change_id) if change_id else None
        )
        for disk in disks
    )
    return RestorePoint(
        id="1", vm=VmIdentity(name="a", key="a"), taken_at=datetime.now(UTC), run="r",
        mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE,
        consistency=Consistency.CRASH, images=images,
    )  # fmt: skip


def test_a_disk_is_known_again_by_its_uuid_wherever_it_sits_now():
    moved = replace(DISK, bus=1, unit=3, key=2019, file_name="[other] b/b-000004.vmdk")

    assert choose_parent(moved, last_point(DISK), full=False).disk == DISK


def test_another_disk_at_the_same_place_is_read_in_full():
    other = replace(DISK, uuid="6000-b")

    assert choose_parent(other, last_point(DISK), full=False).reason is FullReason.NEW_DISK


def test_a_disk_without_a_uuid_is_known_again_by_its_place():
    nameless = replace(DISK, uuid=None)

    assert choose_parent(nameless, last_point(nameless), full=False).disk == nameless
    moved = choose_parent(replace(nameless, unit=1), last_point(nameless), full=False)
    assert moved.reason is FullReason.NEW_DISK


def test_a_disk_whose_capacity_changed_is_read_in_full():
    parent = choose_parent(replace(DISK, capacity=2 << 30), last_point(DISK), full=False)

    assert parent.reason is FullReason.RESIZED
    assert "capacity changed" in parent.text


def test_an_increment_never_continues_a_damaged_point():
    damaged = FullRead(reason=FullReason.POINT_DAMAGED, text="it is marked damaged")

    assert choose_parent(DISK, last_point(DISK), full=False, unfit=damaged) is damaged


def test_every_full_says_why():
    for point, full, reason in (
        (None, False, FullReason.NO_POINT),
        (last_point(DISK), True, FullReason.ASKED),
        (last_point(), False, FullReason.NEW_DISK),
        (last_point(DISK, change_id=None), False, FullReason.NO_CHANGE_ID),
    ):
        parent = choose_parent(DISK, point, full=full)
        assert parent.reason is reason
        assert parent.text
