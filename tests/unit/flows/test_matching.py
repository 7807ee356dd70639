"""Disks are matched by place, UUID and capacity, and every misfit is told at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from vmkeep.errors import ConflictError
from vmkeep.flows.matching import match_disks
from vmkeep.model.disk import ControllerKind, Disk, SkipReason
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity


def disk(key=2000, unit=0, capacity=1 << 30, uuid="6000C29-a", **more):
    return Disk(
        key=key, label=f"Hard disk {key - 1999}", controller=ControllerKind.SCSI,
        controller_type="ParaVirtualSCSIController", bus=0, unit=unit, capacity=capacity, backing="FlatVer2", uuid=uuid,
        file_name=more.pop("file_name", "[ds1] a/a.vmdk"), **more,
    )  # fmt: skip


A = disk()
B = disk(2001, 1, 2 << 30, "6000C29-b")
RDM = disk(2002, 2, 9 << 30, None, compatibility_mode="physicalMode", skip=SkipReason.PHYSICAL_RDM)


def point(*copied, skipped=()):
    images = tuple(DiskImage(disk=disk, root="00", kind=BackupKind.FULL, reason="") for disk in copied)
    return RestorePoint(
        id="1", vm=VmIdentity(name="a", key="a"), taken_at=datetime.now(UTC), run="r",
        mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE,
        consistency=Consistency.CRASH, images=images, skipped=skipped,
    )  # fmt: skip


def targets(matches):
    return {match.disk.key: match.target_key for match in matches if match.written}


def test_disks_are_found_whatever_their_files_are_called_now():
    now = [replace(B, file_name="[other] a/a.vmdk"), replace(A, file_name="[ds1] a/a_1-000007.vmdk")]

    assert targets(match_disks(point(A, B), now)) == {2000: 2000, 2001: 2001}


def test_a_disk_that_was_skipped_is_left_as_it_is_and_said():
    matches = match_disks(point(A, skipped=(RDM,)), [A, RDM])

    (left,) = (match for match in matches if not match.written)
    assert (left.disk, left.target_key) == (RDM, None)
    assert "physical-mode RDM" in left.note


def test_disks_of_another_vm_are_matched_by_place_and_capacity_and_said():
    (match,) = match_disks(point(A), [replace(A, key=2016, uuid="6000C29-z")])

    assert match.target_key == 2016
    assert "not the same disk" in match.note


def test_every_problem_is_told_before_anything_is_written():
    now = [replace(A, capacity=4 << 30), replace(RDM, unit=5)]

    with pytest.raises(ConflictError) as caught:
        match_disks(point(A, B), now)

    text = str(caught.value)
    assert "Hard disk 1 (scsi0:0, 1.0 GiB): the disk there has 4.0 GiB (4,294,967,296 bytes), not 1.0 GiB" in text
    assert "Hard disk 2 (scsi0:1, 2.0 GiB): the VM has no disk at scsi0:1" in text
    assert "nothing was written" in text


def test_disks_that_swapped_places_are_refused():
    now = [replace(A, unit=1), replace(B, unit=0)]

    with pytest.raises(ConflictError, match=r"is now at scsi0:1.*is now at scsi0:0"):
        match_disks(point(A, B), now)


def test_two_disks_with_one_uuid_are_refused():
    with pytest.raises(ConflictError, match="2 disks of the VM have its UUID"):
        match_disks(point(A), [A, replace(A, key=2001, unit=1)])


def test_an_rdm_at_the_place_of_a_disk_is_not_written():
    with pytest.raises(ConflictError, match="cannot be written: physical-mode RDM"):
        match_disks(point(A), [replace(RDM, unit=0, capacity=A.capacity)])


def test_a_disk_that_became_independent_can_still_be_written():
    now = replace(A, disk_mode="independent_persistent", skip=SkipReason.INDEPENDENT)

    assert targets(match_disks(point(A), [now])) == {2000: 2000}
