"""The check of LVM tells disks that do not belong together from healthy ones that look alike."""

import struct
from dataclasses import replace

import pytest

from tests.guest_disks import LVM, MANIFEST, MemoryDisk, in_guest
from tests.unit.guest.lvmdisks import (
    AREA_AT,
    MIB,
    SECTOR,
    Area,
    Group,
    Label,
    Pv,
    crc,
    crc_by_nibbles,
    disk_of,
    uuid_of,
    write,
)
from vmkeep.errors import CorruptError
from vmkeep.guest.lvm import DiskNotInBackup, FindingCode, Severity, check, read_lvm, record_groups
from vmkeep.guest.lvm.labels import checksum

FAILURES = {"SEQNO": "seqno-differs", "MISSING-PV": "missing-pv", "DUPLICATE-PV": "duplicate-pv"}
NOTES = {"NOT-INITIALISED": "not-initialised", "ORPHAN-PV": "orphan-pv"}

A, B, C = (Pv(name=f"pv{at}", uuid=uuid_of(at), device=f"/dev/sd{'abc'[at]}") for at in range(3))
BOTH = Group(pvs=(A, B))


def label(pv, group=None, **changes):
    areas = (Area(text=group.text()),) if group else (Area(),)
    return Label(**{"pv": pv, "areas": areas, **changes})


def found(*disks, **more):
    return check(read_lvm(in_guest(*disks)), **more)


def codes(*disks, **more):
    return [str(finding.code) for finding in found(*disks, **more)]


@pytest.mark.parametrize("name", MANIFEST["scenarios"])
def test_a_scenario_of_real_lvm_gives_what_is_expected_and_nothing_else(name, guest_disks):
    scenario = MANIFEST["scenarios"][name]
    state = read_lvm(guest_disks.scenario(name))
    findings = check(state)
    told = {Severity.FAILURE: FAILURES, Severity.NOTE: NOTES}
    groups = [note for note in scenario["notes"] if note.startswith("VG ")]
    expected = scenario["expected_issues"] + [note for note in scenario["notes"] if note not in groups]

    assert sorted(finding.code for finding in findings) == sorted(
        (FAILURES | NOTES)[line.split()[0]] for line in expected
    )
    assert all(finding.code in told[finding.severity].values() for finding in findings)
    assert groups == [
        f"VG {group.name} {group.uuid} seqno={group.seqno} pvs={len(group.physical_volumes)}" for group in state.groups
    ]


@pytest.mark.parametrize("name", LVM["scenarios"])
def test_a_state_that_commands_of_lvm_made_is_told_from_the_others(name, guest_disks):
    scenario = LVM["scenarios"][name]
    state = read_lvm(guest_disks.disks(*scenario["disks"]))

    assert sorted(finding.code for finding in check(state)) == sorted(scenario["expected"])
    assert [
        [group.name, group.seqno, len(group.physical_volumes), len(group.logical_volumes)] for group in state.groups
    ] == scenario["groups"]


def test_a_removal_of_what_was_missing_is_seen_by_comparison_only(guest_disks):
    """``vgreduce --removemissing`` made it: the disk that is left is consistent in itself."""
    before, after = (
        read_lvm(guest_disks.disks(*LVM["scenarios"][name]["disks"]))
        for name in ("before the removal", "what is left after the removal")
    )
    findings = check(after, previous=record_groups(before))

    assert [(finding.code, finding.severity) for finding in findings] == [
        ("vg-lost-pv", "failure"),
        ("vg-lost-lv", "failure"),
    ]


@pytest.mark.parametrize("name", MANIFEST["scenarios"])
def test_a_check_reads_kilobytes_of_each_disk(name, guest_disks):
    disks = guest_disks.scenario(name)
    assert read_lvm(disks).bytes_read <= len(disks) * 40_000


def test_of_duplicates_the_one_written_last_is_the_place_of_a_volume(guest_disks):
    state = read_lvm(guest_disks.scenario("iv-duplicates"))
    assert [state.places[volume.uuid].name for volume in state.groups[0].physical_volumes] == ["disk2p1", "disk3"]


def test_the_place_of_a_missing_volume_is_told_as_the_guest_knew_it(guest_disks):
    (finding,) = check(read_lvm(guest_disks.scenario("iii-missing-pv1")))

    assert (finding.vg, finding.pv) == ("vgdata", "a6KZ53-Lxnp-iI7A-XlPo-f1Xx-L1tY-5wVgMZ")
    assert "pv1" in finding.text
    assert "/dev/vdb" in finding.text
    assert "67108864 bytes" in finding.text


def test_a_group_that_is_whole_gives_no_finding():
    assert codes(disk_of(label(A, BOTH)), disk_of(label(B, BOTH))) == []


def test_volumes_without_metadata_are_healthy_when_another_lists_them():
    assert codes(disk_of(label(A, BOTH)), disk_of(Label(pv=B))) == []
    assert codes(disk_of(label(A, BOTH)), disk_of(Label(pv=B, is_used=None))) == []


def test_both_areas_of_one_volume_are_compared():
    stale = replace(BOTH, seqno=4)
    second = Area(text=stale.text(), at=8 * MIB, size=MIB)
    one = disk_of(label(A, areas=(Area(text=BOTH.text()), second)))

    (finding,) = found(one, disk_of(label(B, BOTH)))

    assert finding.code == FindingCode.SEQNO_DIFFERS
    assert "area 2 of disk0 has 4" in finding.text


def test_an_ignored_area_is_only_noted_whatever_it_holds():
    stale = Area(text=replace(BOTH, seqno=2).text(), is_ignored=True)
    findings = found(disk_of(label(A, BOTH)), disk_of(label(B, areas=(stale,))))

    assert [(finding.code, finding.severity) for finding in findings] == [("ignored-area", "note")]
    assert codes(disk_of(label(A, BOTH)), disk_of(label(B, areas=(Area(is_ignored=True),)))) == ["ignored-area"]


@pytest.mark.parametrize("before_the_end", [1, 7, 100, 512, 1000])
def test_a_text_that_wraps_in_its_ring_is_read(before_the_end):
    size = MIB - AREA_AT
    wrapped = Area(text=BOTH.text(), size=size, text_at=size - before_the_end)
    state = read_lvm(in_guest(disk_of(label(A, areas=(wrapped,))), disk_of(label(B, BOTH))))

    assert [group.seqno for group in state.groups] == [5]
    assert check(state) == ()


def test_a_text_that_is_not_committed_is_not_read():
    area = Area(text=BOTH.text(), precommitted=replace(BOTH, seqno=6).text())
    assert codes(disk_of(label(A, areas=(area,))), disk_of(label(B, BOTH))) == []


def test_a_change_that_was_just_being_committed_is_no_failure():
    after = replace(BOTH, seqno=6)
    before = Area(text=BOTH.text(), precommitted=after.text())
    disks = disk_of(label(A, after)), disk_of(label(B, areas=(before,)))

    assert [(finding.code, finding.severity) for finding in found(*disks)] == [("commit-under-way", "note")]
    assert codes(disk_of(label(A, replace(after, seqno=7))), disks[1]) == ["seqno-differs"]


def test_a_change_that_was_just_being_committed_excuses_no_other_stale_disk():
    of_three = Group(pvs=(A, B, C), seqno=6)
    committing = Area(text=replace(of_three, seqno=5).text(), precommitted=of_three.text())
    disks = disk_of(label(A, of_three)), disk_of(label(B, areas=(committing,)))

    assert codes(*disks, disk_of(label(C, of_three))) == ["commit-under-way"]
    assert codes(*disks, disk_of(label(C, replace(of_three, seqno=4)))) == ["seqno-differs"]


def test_a_volume_with_two_areas_that_its_group_does_not_list_is_named_once():
    second = Area(text=BOTH.text(), at=8 * MIB, size=MIB)
    alone = Group(pvs=(A,), seqno=7)
    disks = disk_of(label(A, alone)), disk_of(label(B, areas=(Area(text=BOTH.text()), second)))

    assert sorted(codes(*disks)) == ["pv-not-in-vg", "seqno-differs"]


def test_equal_numbers_with_different_texts_are_a_conflict():
    other = replace(BOTH, description="Write from lvextend.")
    assert codes(disk_of(label(A, BOTH)), disk_of(label(B, other))) == ["checksum-differs"]


def test_a_volume_in_two_groups_is_found():
    """It comes from a stale disk, after the group was split."""
    split = Group(pvs=(B,), name="vg1", uuid=uuid_of(901), seqno=1)
    findings = found(disk_of(label(A, BOTH)), disk_of(label(B, split)))

    assert [(finding.code, finding.pv) for finding in findings] == [("pv-in-two-vgs", B.uuid)]


def test_a_volume_that_its_own_group_does_not_list_is_found():
    alone = Group(pvs=(A,), seqno=7)
    assert sorted(codes(disk_of(label(A, alone)), disk_of(label(B, BOTH)))) == ["pv-not-in-vg", "seqno-differs"]


def test_two_groups_of_one_name_are_told_apart():
    other = Group(pvs=(B,), uuid=uuid_of(902), seqno=9)
    state = read_lvm(in_guest(disk_of(label(A, Group(pvs=(A,)))), disk_of(label(B, other))))

    assert sorted((group.name, group.seqno) for group in state.groups) == [("vg0", 5), ("vg0", 9)]
    assert check(state) == ()


def test_an_empty_area_of_a_volume_in_a_group_is_found():
    assert codes(disk_of(label(A, BOTH)), disk_of(label(B))) == ["metadata-missing"]


def test_a_used_label_that_nothing_lists_lost_its_metadata():
    (finding,) = found(disk_of(Label(pv=A)))
    assert (finding.code, finding.severity, finding.disk) == ("metadata-missing", "failure", "disk0")


def test_an_unused_label_that_nothing_lists_is_an_orphan():
    assert codes(disk_of(Label(pv=A, is_used=False))) == ["orphan-pv"]
    assert codes(disk_of(Label(pv=A, is_used=None, areas=(Area(),)))) == ["orphan-pv"]


def flip(disk, at):
    disk.content[at] ^= 0xFF


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (SECTOR + 66, ["metadata-torn", "missing-pv"]),  # the size in the label
        (AREA_AT + 300, ["metadata-torn"]),  # the header
        (AREA_AT + SECTOR + 200, ["metadata-torn"]),  # the text
    ],
)
def test_a_structure_with_a_wrong_byte_is_torn(at, expected):
    one, other = disk_of(label(A, BOTH)), disk_of(label(B, BOTH))
    flip(other, at)
    findings = found(one, other)

    assert [str(finding.code) for finding in findings] == expected
    assert findings[0].disk == "disk1"


def test_a_header_that_belongs_to_another_place_is_torn():
    """E.g. an area that was copied, or a disk whose blocks were mixed up."""
    disk = disk_of(label(A, areas=(Area(text=BOTH.text(), at=8 * MIB, size=MIB),)))
    disk.content[8 * MIB : 9 * MIB] = disk_of(label(A, BOTH)).content[AREA_AT : AREA_AT + MIB]
    (finding,) = found(disk)

    assert finding.code == FindingCode.METADATA_TORN
    assert "says that it lies at byte 4096" in finding.text


@pytest.mark.parametrize(
    "text",
    [b"vg0 {\nid = ", BOTH.text().replace(b"seqno = 5", b'seqno = "5"'), b"\0", BOTH.text().replace(b"}\n#", b"#")],
)
def test_a_text_with_a_right_checksum_that_makes_no_sense_is_torn_and_its_line_told(text):
    (finding,) = found(disk_of(label(A, Group(pvs=(A,)))), disk_of(label(C, areas=(Area(text=text),))))

    assert finding.code == FindingCode.METADATA_TORN
    assert "disk1: the metadata text at byte 4608: " in finding.text
    assert "line" in finding.text or text == b"\0"


def test_a_volume_on_a_disk_that_is_not_in_the_backup_is_no_failure():
    skipped = [DiskNotInBackup(label="Hard disk 2", capacity=A.size), DiskNotInBackup(label="RDM", capacity=MIB)]
    (finding,) = found(disk_of(label(A, BOTH)), missing_disks=skipped)

    assert (finding.code, finding.severity) == ("pv-on-disk-not-in-backup", "note")
    assert finding.disk == "Hard disk 2"
    assert codes(disk_of(label(A, BOTH)), missing_disks=skipped[1:]) == ["missing-pv"]


def test_a_disk_that_is_not_in_the_backup_explains_no_more_volumes_than_fit_on_it():
    three = Group(pvs=(A, B, C))
    one = [DiskNotInBackup(label="Hard disk 2", capacity=B.size)]
    larger = [DiskNotInBackup(label="Hard disk 2", capacity=B.size + C.size)]

    assert codes(disk_of(label(A, three)), missing_disks=one) == ["missing-pv", "pv-on-disk-not-in-backup"]
    assert codes(disk_of(label(A, three)), missing_disks=larger) == ["pv-on-disk-not-in-backup"] * 2


def test_a_lost_metadata_disk_that_was_left_out_is_no_failure():
    (finding,) = found(disk_of(Label(pv=A)), missing_disks=[DiskNotInBackup(label="Hard disk 2", capacity=MIB)])
    assert (finding.code, finding.severity) == ("pv-on-disk-not-in-backup", "note")
    assert "Hard disk 2" in finding.text


def test_a_volume_that_the_guest_itself_missed_is_no_failure():
    group = Group(pvs=(A, replace(B, flags=("MISSING",))))

    assert codes(disk_of(label(A, group))) == ["missing-in-guest"]
    assert codes(disk_of(label(A, group)), disk_of(label(B, BOTH))) == ["missing-in-guest"]


class Unreadable(MemoryDisk):
    """A disk with one damaged block of 64 KiB."""

    damaged = 0

    def read_into(self, start, buffer):
        if start < self.damaged + 65536 and start + len(buffer) > self.damaged:
            raise CorruptError("restore point, Hard disk 2: pack 7: frame at byte 9 does not match its digest")
        super().read_into(start, buffer)


def test_a_block_that_cannot_be_read_is_said_as_such_and_blames_no_volume():
    other = Unreadable(disk_of(label(B, BOTH)).content)
    findings = found(disk_of(label(A, BOTH)), other)

    assert {(finding.code, finding.severity) for finding in findings} == {("unreadable", "warning")}
    assert any("pack 7" in finding.text and finding.disk == "disk1" for finding in findings)
    assert any(finding.pv == B.uuid for finding in findings)


def test_a_volume_whose_metadata_may_lie_where_nothing_can_be_read_is_no_failure():
    findings = found(disk_of(Label(pv=A)), Unreadable(disk_of(label(B, BOTH)).content))
    assert [(finding.code, finding.severity, finding.disk) for finding in findings] == [
        ("unreadable", "warning", "disk1"),
        ("unreadable", "warning", "disk0"),
    ]


def test_a_damaged_block_elsewhere_hides_nothing():
    area = Area(text=BOTH.text(), at=8 * MIB, size=MIB)
    other = Unreadable(disk_of(label(B, areas=(Area(text=BOTH.text()), area))).content)
    other.damaged = 8 * MIB
    three = Group(pvs=(A, B, C))

    assert codes(disk_of(label(A, BOTH)), other) == ["unreadable"]
    other = Unreadable(disk_of(label(B, areas=(Area(text=three.text()), area))).content)
    other.damaged = 8 * MIB
    assert codes(disk_of(label(A, three)), other) == ["missing-pv", "unreadable"]


def partitioned(kind, *, start=MIB, size=14 * MIB, content=None):
    disk = MemoryDisk(content or bytearray(16 * MIB))
    disk.content[446:462] = struct.pack("<B3sB3sII", 0, b"", kind, b"", start // SECTOR, size // SECTOR)
    disk.content[510:512] = b"\x55\xaa"
    return disk


@pytest.mark.parametrize("kind", [0x8E, 0x83, 0x07])
def test_a_volume_in_a_partition_of_any_type_is_found(kind):
    disk = partitioned(kind)
    small = replace(A, size=14 * MIB, device="/dev/sda1")
    write(disk, label(small, Group(pvs=(small,))), start=MIB, size=14 * MIB)
    state = read_lvm(in_guest(disk))

    assert check(state) == ()
    assert state.places[A.uuid].name == "disk0p1"


def test_a_label_in_each_of_the_first_four_sectors_is_found():
    for sector in range(4):
        assert codes(disk_of(label(A, Group(pvs=(A,)), sector=sector))) == []


def test_a_damaged_label_in_front_of_a_sound_one_is_passed_over():
    disk = disk_of(label(A, Group(pvs=(A,)), sector=2))
    disk.content[SECTOR : SECTOR + 8] = b"LABELONE"
    assert codes(disk) == []


def test_a_label_that_belongs_into_another_sector_is_damaged():
    disk = disk_of(label(A, Group(pvs=(A,)), sector=2))
    disk.content[SECTOR : 2 * SECTOR] = disk.content[2 * SECTOR : 3 * SECTOR]
    disk.content[2 * SECTOR : 3 * SECTOR] = bytes(SECTOR)
    (finding,) = found(disk)
    assert finding.code == FindingCode.METADATA_TORN
    assert "says that it lies in sector 2" in finding.text


def test_a_label_under_a_partition_table_is_passed_over_as_lvm_does():
    group = Group(pvs=(A,))
    disk = partitioned(0x83, content=disk_of(label(A, group)).content)

    assert codes(disk) == ["label-passed-over"]
    (missing, _) = found(disk, disk_of(label(B, BOTH)))
    assert (missing.code, "its label is on disk0" in missing.text) == ("missing-pv", True)


def test_a_boot_loader_in_front_of_a_label_is_no_partition_table():
    disk = disk_of(label(A, Group(pvs=(A,))))
    disk.content[510:512] = b"\x55\xaa"
    assert codes(disk) == []
    disk.content[0:510] = bytes(range(1, 256)) * 2
    assert codes(disk) == []


def test_a_damaged_partition_table_is_told_and_its_backup_used(guest_disks):
    content = bytearray(guest_disks.path("vgpt").read_bytes())
    content[SECTOR + 20] ^= 1
    findings = found(MemoryDisk(content))

    assert sorted(finding.code for finding in findings) == ["not-initialised", "orphan-pv", "table-damaged"]
    assert findings[0].severity == Severity.WARNING
    assert "its backup at the end of the disk was used" in findings[0].text


def test_a_disk_that_was_cut_is_told():
    content = disk_of(label(A, Group(pvs=(A,)))).content
    assert [(each.code, each.severity) for each in found(MemoryDisk(content[:-SECTOR]))] == [
        ("pv-beyond-disk", "warning")
    ]


ARRAY = b"0123456789abcdef"


def superblock(level, data_at, data_size, at):
    """Return a superblock of a software RAID, version 1; places are in bytes."""
    head = struct.pack("<IIII16s32sQiIQ", 0xA92B4EFC, 1, 0, 0, ARRAY, b"guest:0", 0, level, 0, data_size // SECTOR)
    return head.ljust(128, b"\0") + struct.pack("<QQQ", data_at // SECTOR, data_size // SECTOR, at // SECTOR)


def test_a_volume_on_a_mirror_is_read_once_below_it():
    """Version 1.2 puts its superblock at 4096, and the data behind."""
    small = replace(A, size=12 * MIB)
    member = disk_of(label(small, Group(pvs=(small,))), start=2 * MIB)
    member.content[4096 : 4096 + 152] = superblock(1, 2 * MIB, 12 * MIB, 4096)
    state = read_lvm(in_guest(member, MemoryDisk(bytes(member.content))))

    assert check(state) == ()
    assert [(each.place.name, each.place.start, each.place.size) for each in state.labels] == [
        ("disk0", 2 * MIB, 12 * MIB)
    ]


@pytest.mark.parametrize("version", ["1.0", "0.90"])
def test_mirrors_that_look_like_copies_are_no_duplicates(version):
    """These versions put their superblock at the end, so that the data begins at 0."""
    member = disk_of(label(A, Group(pvs=(A,))))
    if version == "1.0":
        at = 16 * MIB - 8192
        member.content[at : at + 152] = superblock(1, 0, 15 * MIB, at)
    else:
        words = [0xA92B4EFC, 0, 90, 0, 0, 7, 0, 1, 0, 2, 2, 0, 0, 8, 9, 10]
        struct.pack_into("<16I", member.content, 16 * MIB - 65536, *words)

    assert codes(member, MemoryDisk(bytes(member.content))) == ["label-passed-over"]


def test_a_volume_on_a_raid_that_is_not_read_is_no_failure():
    member = disk_of()
    member.content[4096 : 4096 + 152] = superblock(5, 2 * MIB, 12 * MIB, 4096)
    group = Group(pvs=(A, replace(B, device="/dev/md127")))

    assert codes(disk_of(label(A, group)), member) == ["pv-on-raid"]
    assert codes(disk_of(label(A, BOTH)), member) == ["missing-pv"]


@pytest.mark.parametrize(
    ("device", "code"),
    [("/dev/mapper/luks-1", "pv-encrypted"), ("/dev/dm-3", "pv-encrypted"), ("/dev/sdb1", "missing-pv")],
)
def test_a_volume_below_encryption_is_no_failure_if_the_guest_saw_it_on_its_mapper(device, code):
    sealed = disk_of()
    sealed.content[:8] = b"LUKS\xba\xbe\0\2"
    group = Group(pvs=(A, replace(B, device=device)))

    assert codes(disk_of(label(A, group)), sealed) == [code]
    assert codes(disk_of(label(A, group)), disk_of()) == ["missing-pv"]


def test_history_shows_what_a_group_lost():
    keep, gone = (uuid_of(71), "root"), (uuid_of(72), "data")
    before = record_groups(read_lvm(in_guest(disk_of(label(A, replace(BOTH, lvs=(keep, gone)))))))
    after = Group(pvs=(A,), lvs=(keep,), seqno=7, host="proxy", description="Write from vgreduce --removemissing vg0.")

    findings = found(disk_of(label(A, after)), previous=before)

    assert [(finding.code, finding.severity, finding.pv) for finding in findings] == [
        ("vg-lost-pv", "failure", B.uuid),
        ("vg-lost-lv", "failure", ""),
    ]
    assert "data" in findings[1].text
    assert "proxy" in findings[0].text
    assert "--removemissing" in findings[0].text


def test_a_logical_volume_that_its_owner_removed_is_a_note():
    before = record_groups(read_lvm(in_guest(disk_of(label(A, Group(pvs=(A,), lvs=((uuid_of(72), "data"),)))))))
    after = Group(pvs=(A,), seqno=7, description="Write from lvremove vg0/data.")

    assert [(each.code, each.severity) for each in found(disk_of(label(A, after)), previous=before)] == [
        ("vg-lost-lv", "note")
    ]
    assert codes(disk_of(label(A, Group(pvs=(A,), lvs=((uuid_of(72), "renamed"),)))), previous=before) == []


def test_a_group_that_is_gone_is_told_unless_its_disk_could_not_be_read():
    before = record_groups(read_lvm(in_guest(disk_of(label(A, Group(pvs=(A,)))))))

    assert codes(disk_of(), previous=before) == ["vg-lost-pv"]
    assert codes(disk_of(Label(pv=A, is_used=False)), previous=before) == ["orphan-pv", "vg-lost-pv"]
    assert codes(Unreadable(bytes(MIB)), previous=before) == ["unreadable"]


def test_the_checksum_is_that_of_lvm():
    data = BOTH.text()
    assert checksum(data) == crc(data) == crc_by_nibbles(data)
    assert checksum(data[9:], checksum(data[:9])) == checksum(data)
