"""Disks are matched by place, UUID and capacity, and every misfit is told at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from vmkeep.errors import ConflictError, NotFoundError, UsageError
from vmkeep.flows.disk_targets import read_targets
from vmkeep.flows.matching import match_disks
from vmkeep.flows.restore_request import OverOptions
from vmkeep.model.disk import ControllerKind, Disk, SkipReason
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity


def disk(key=2000, unit=0, capacity=1 << 30, uuid="6000C29-a", **more):
    return Disk(
        key=key, label=more.pop("label", f"Hard disk {key - 1999}"), controller=ControllerKind.SCSI,
        controller_type="ParaVirtualSCSIController", bus=more.pop("bus", 0), unit=unit, capacity=capacity,
        backing="FlatVer2", uuid=uuid, file_name=more.pop("file_name", "[ds1] a/a.vmdk"), **more,
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


def asked(point, now, *, disks=(), disk_map=()):
    """The matches of a request that names disks."""
    return match_disks(point, now, read_targets(OverOptions(disks=disks, disk_map=disk_map), point, now))


@pytest.mark.parametrize("words", [("scsi0:1",), ("Hard disk 2",), ("2001",), ("scsi0:1, 2001",)])
def test_only_the_chosen_disks_are_written_and_the_others_are_said_to_stay(words):
    matches = asked(point(A, B), [A, B], disks=words)

    assert targets(matches) == {2001: 2001}
    assert [match.note for match in matches if match.disk == A] == ["not chosen by this restore, left as it is"]


def test_a_chosen_disk_is_restored_whatever_became_of_the_others():
    assert targets(asked(point(A, B), [replace(A, capacity=4 << 30), B], disks=("scsi0:1",))) == {2001: 2001}


@pytest.mark.parametrize("target", ["scsi1:0", "Hard disk 8", "2007"])
def test_a_mapped_disk_goes_onto_the_named_disk_of_the_vm(target):
    elsewhere = replace(B, key=2007, bus=1, unit=0, label="Hard disk 8", uuid="6000C29-z")

    matches = asked(point(A, B), [A, elsewhere], disk_map=(f"scsi0:1={target}",))

    assert targets(matches) == {2000: 2000, 2001: 2007}
    assert [match.note for match in matches if match.disk == B] == ["mapped as asked"]


def test_two_disks_of_one_size_may_change_their_places_by_the_map():
    twin = replace(A, key=2001, unit=1, uuid="6000C29-b", label="Hard disk 2")

    matches = asked(point(A, twin), [A, twin], disk_map=("scsi0:0=scsi0:1", "scsi0:1=scsi0:0"))

    assert targets(matches) == {2000: 2001, 2001: 2000}


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"disks": ("scsi0:9",)}, NotFoundError, r"no disk 'scsi0:9'; the restore point has scsi0:0 \(Hard disk 1, 1"),
        ({"disks": ("scsi0:0,",)}, NotFoundError, "no disk ''"),
        ({"disks": ("scsi0:2",)}, UsageError, r"Hard disk 3 \(scsi0:2\) is not in the backup: physical-mode RDM"),
        ({"disk_map": ("scsi0:2=scsi0:0",)}, UsageError, "not in the backup: physical-mode RDM"),
        ({"disk_map": ("scsi0:0=scsi3:3",)}, NotFoundError, "no disk 'scsi3:3'; the VM to write over has scsi0:0"),
        ({"disk_map": ("scsi3:3=scsi0:0",)}, NotFoundError, "has no disk 'scsi3:3'"),
        ({"disk_map": ("scsi0:0",)}, UsageError, "has no '=': say SAVED=TARGET"),
        ({"disk_map": ("scsi0:0=scsi0:0", "2000=scsi0:1")}, UsageError, "is mapped to scsi0:0 and to scsi0:1"),
        ({"disk_map": ("scsi0:0=scsi0:1", "scsi0:1=2001")}, UsageError, "are both mapped to Hard disk 2"),
        ({"disk_map": ("scsi0:0=scsi0:1",)}, ConflictError, r"mapped to Hard disk 2 .*: the disk there has 2.0 GiB"),
        ({"disk_map": ("scsi0:0=scsi0:2",)}, ConflictError, "the disk there cannot be written: physical-mode RDM"),
        ({"disk_map": ("scsi0:0=scsi0:5",)}, ConflictError, "the disk there cannot be written: shared"),
        ({"disk_map": ("scsi0:0=scsi0:4",), "disks": ("scsi0:1",)}, UsageError, "maps Hard disk 1, which --disks"),
        ({"disk_map": ("scsi0:0=scsi0:6",)}, ConflictError, "would go onto the same disk"),
    ],
)
def test_a_choice_that_cannot_be_carried_out_is_refused_with_what_there_is(options, error, told):
    physical = replace(RDM, capacity=A.capacity)
    same_size = disk(2004, 4, uuid=None)
    shared = disk(2005, 5, uuid=None, skip=SkipReason.SHARED)
    third = disk(2006, 6, uuid="6000C29-c")
    now = [A, B, physical, same_size, shared, third]

    with pytest.raises(error, match=told):
        asked(point(A, B, third, skipped=(RDM,)), now, **options)


@pytest.mark.parametrize(("saved", "now", "told"), [("k", None, True), ("k", "k2", False), (None, None, False)])
def test_an_encrypted_disk_that_is_written_over_a_plain_one_is_told(saved, now, told):
    (match,) = match_disks(point(replace(A, key_id=saved)), [replace(A, key_id=now)])

    assert match.written
    assert ("lies in clear" in match.note) == told


def rdms(number, **more):
    """Physical RDMs on a controller of their own and on the next ones, as a file server has them."""
    return tuple(
        disk(
            2100 + at, at % 15 + (at % 15 > 6), uuid=None, bus=1 + at // 15, compatibility_mode="physicalMode",
            skip=SkipReason.PHYSICAL_RDM, **more,
        )
        for at in range(number)
    )  # fmt: skip


def test_one_disk_beside_32_physical_rdms_is_restored_and_each_rdm_is_said_to_stay():
    matches = match_disks(point(A, skipped=rdms(32)), [A, *rdms(32)])

    assert targets(matches) == {2000: 2000}
    assert len([match for match in matches if "physical-mode RDM" in match.note]) == 32


def test_one_disk_beside_32_physical_rdms_goes_by_the_map_onto_another_vm():
    other = [*rdms(32), disk(2500, 3, uuid="6000C29-x", label="Hard disk 33")]

    assert targets(asked(point(A, skipped=rdms(32)), other, disk_map=("scsi0:0=Hard disk 33",))) == {2000: 2500}
