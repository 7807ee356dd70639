"""The list of the volumes of real guests, and the files in them by other programs' word."""

from __future__ import annotations

import pytest

from tests.guest_disks import ImageDisk, in_guest
from tests.nbd_parts import MemoryDisk
from tests.unit.guest.lvmdisks import Area, Group, Label, Pv, disk_of, uuid_of
from tests.unit.guest.volumes.disks import content_of
from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError
from vmkeep.guest.lvm import DiskNotInBackup
from vmkeep.guest.volumes import find_volumes
from vmkeep.model.extents import Extent


def _listed(volumes):
    return {volume.name: (volume.kind, volume.state) for volume in volumes}


def test_disks_partitions_and_logical_volumes_are_listed(guest_disks):
    in_lvm = "it is a part of LVM; files are in vgdata/lv_ext4, vgdata/lv_xfs, vgdata/lv_stripe, vgdata/lv_extra"
    assert _listed(find_volumes(guest_disks.scenario("i-consistent"))) == {
        "disk0": ("mbr", "not readable: it has a partition table; files are in disk0p1"),
        "disk0p1": ("lvm-pv", f"not readable: {in_lvm}"),
        "disk1": ("lvm-pv", f"not readable: {in_lvm}"),
        "vgdata/lv_ext4": ("ext4", "ready"),
        "vgdata/lv_xfs": ("xfs", "ready"),
        "vgdata/lv_stripe": ("ext4", "ready"),
        "vgdata/lv_extra": ("ext2", "ready"),
    }


def test_file_systems_of_all_kinds_are_listed_with_label_and_size(guest_disks):
    volumes = find_volumes(guest_disks.scenario("x-multifs"))

    assert [(volume.name, volume.kind, volume.has_files) for volume in volumes] == [
        ("disk0", "gpt", False),
        ("disk0p1", "vfat", True),
        ("disk0p2", "ntfs", True),
        ("disk0p3", "btrfs", True),
        ("disk0p4", "xfs", True),
    ]
    assert all(volume.uuid and volume.open().capacity == volume.size for volume in volumes if volume.has_files)


def test_a_whole_disk_may_hold_a_file_system(guest_disks):
    assert [(each.name, each.kind) for each in find_volumes(guest_disks.scenario("vi-plain")) if each.has_files] == [
        ("disk0", "ext4"),
        ("disk1p1", "ext3"),
    ]


def test_of_a_group_that_lacks_a_disk_only_whole_volumes_are_readable(guest_disks):
    volumes = find_volumes(guest_disks.scenario("iii-missing-pv1"))

    assert volumes.find("vgdata/lv_ext4").state == "ready"
    torn = volumes.find("vgdata/lv_stripe")
    assert "a6KZ53-Lxnp-iI7A-XlPo-f1Xx-L1tY-5wVgMZ" in torn.refusal
    assert "/dev/vdb" in torn.refusal
    with pytest.raises(UnsupportedError, match="vgdata/lv_stripe"):
        torn.open()


def test_a_volume_on_a_disk_that_is_not_in_the_backup_names_the_disk(guest_disks):
    skipped = DiskNotInBackup(label="Hard disk 2", capacity=64 << 20)
    torn = find_volumes(guest_disks.scenario("iii-missing-pv1"), [skipped]).find("vgdata/lv_stripe")

    assert torn.refusal.startswith("a disk is not in the backup: pv1 of the volume group vgdata (")
    assert "Hard disk 2, which is not in the backup, has exactly its size" in torn.refusal


@pytest.mark.parametrize("scenario", ["ii-stale", "iv-mixed", "iv-duplicates"])
def test_a_doubt_about_the_group_is_said_with_each_of_its_volumes(scenario, guest_disks):
    volumes = [volume for volume in find_volumes(guest_disks.scenario(scenario)) if "/" in volume.name]

    assert volumes
    assert all(volume.warnings for volume in volumes)
    assert all(not volume.warnings for volume in find_volumes(guest_disks.scenario("i-consistent")))


def test_a_volume_of_which_a_disk_is_there_twice_says_which_one_is_read(guest_disks):
    """The other one may have other content, e.g. a clone of the array that the guest has mounted."""
    volumes = [volume for volume in find_volumes(guest_disks.scenario("iv-duplicates")) if "/" in volume.name]

    assert volumes
    assert all(any("read from disk3" in warning for warning in volume.warnings) for volume in volumes)


def test_an_unknown_name_is_refused_with_those_that_there_are(guest_disks):
    volumes = find_volumes(guest_disks.scenario("vi-plain"))

    with pytest.raises(NotFoundError, match="there is no volume disk7; there are disk0, disk1, disk1p1"):
        volumes.find("disk7")


def _one_volume(letter: str):
    """A disk with a group vg0 of its own, which has one logical volume."""
    pv = Pv(uuid=uuid_of(ord(letter)))
    group = Group(pvs=[pv], uuid=letter * 6 + uuid_of(0)[6:], lvs=[(uuid_of(5), "root")])
    return disk_of(Label(pv=pv, areas=[Area(text=group.text())]))


def test_two_groups_of_one_name_are_told_apart_by_their_uuid():
    volumes = find_volumes(in_guest(_one_volume("a"), _one_volume("b")))

    assert {volume.name for volume in volumes} >= {"vg0@aaaaaa/root", "vg0@bbbbbb/root"}


def test_damage_to_the_repository_is_said_with_the_volume_and_the_others_are_listed(guest_disks):
    (disk,) = guest_disks.scenario("x-multifs")
    start = find_volumes([disk]).lvm.tables[0].partitions[1].start

    class Damaged(ImageDisk):
        def read_into(self, at, buffer):
            if at <= start + 20_000 < at + len(buffer):
                raise CorruptError("point p, disk d: block is damaged")
            super().read_into(at, buffer)

    volumes = find_volumes(in_guest(Damaged(guest_disks.path("x"))))

    assert volumes.find("disk0p2").state.startswith("not readable: point p, disk d")
    assert [volume.name for volume in volumes if volume.has_files] == ["disk0p1", "disk0p3", "disk0p4"]


def test_a_disk_whose_first_block_is_damaged_is_listed():
    volumes = find_volumes(in_guest(MemoryDisk(bytes(1 << 20), damaged=[Extent(0, 512)]), MemoryDisk(bytes(1 << 20))))

    assert volumes.find("disk0").state.startswith("not readable: point p")
    assert volumes.find("disk1").kind == "unknown"


def test_a_file_system_beside_partitions_is_listed_with_a_doubt(guest_disks):
    (part,) = (disk for disk in guest_disks.disks("vip"))
    (plain,) = guest_disks.disks("vi")
    content = bytearray(content_of(plain.disk))
    content[:512] = content_of(part.disk, 0, 512)

    whole = find_volumes(in_guest(MemoryDisk(content))).find("disk0")

    assert whole.kind == "ext4"
    assert "one of both is left over" in " ".join(whole.warnings)


def test_a_file_system_that_is_larger_than_its_volume_is_refused_as_by_every_reader(guest_disks):
    (plain,) = guest_disks.disks("vi")

    whole = find_volumes(in_guest(MemoryDisk(content_of(plain.disk, 0, 12 << 20)))).find("disk0")

    assert (whole.kind, whole.has_files, whole.may_hide_files) == ("ext4", False, True)
    assert whole.state.startswith("not readable: its ext4 takes 16.0 MiB, but the volume has only 12.0 MiB")
