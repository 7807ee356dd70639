"""A place in which LVM may lie unseen is named; one that shows all it has, or whose label was read, is not."""

from __future__ import annotations

import pytest

from tests.guest_disks import MemoryDisk as ReadDisk
from tests.guest_disks import in_guest
from tests.nbd_parts import MemoryDisk
from tests.unit.guest.volumes.test_detecting import _new_member
from vmkeep.guest.lvm import read_lvm
from vmkeep.guest.volumes import find_unopened
from vmkeep.model.blockio import RandomDisk

MIB = 1 << 20
LUKS = b"LUKS\xba\xbe\0\2" + bytes(MIB)


def unopened(*disks: RandomDisk) -> list[tuple[str, str]]:
    guests = in_guest(*disks)
    return [(volume.name, volume.kind) for volume in find_unopened(guests, read_lvm(guests))]


@pytest.mark.parametrize("name", ["i-consistent", "vi-plain", "x-multifs"])
def test_disks_that_show_all_they_have_hide_nothing(guest_disks, name):
    guests = guest_disks.scenario(name)

    assert find_unopened(guests, read_lvm(guests)) == ()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (LUKS, "luks2"),
        (bytes(3) + b"-FVE-FS-" + bytes(MIB), "bitlocker"),
        (b"dmvdo001" + bytes(MIB), "vdo"),
        (b"noise" * MIB, "unknown"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_encrypted_disk_and_one_of_no_known_kind_are_named(content, kind):
    assert unopened(MemoryDisk(content)) == [("disk0", kind)]


def test_an_array_that_is_not_read_and_an_encrypted_one_are_named_by_the_array():
    mirror = _new_member("1.2")
    mirror.content[MIB : MIB + 8] = LUKS[:8]  # where its data begin

    assert unopened(mirror) == [("md/data", "luks2")]
    assert unopened(_new_member("1.2", level=5)) == [("md/data", "raid")]


def test_a_place_whose_label_was_read_is_not_looked_at_again(guest_disks):
    disk = ReadDisk(guest_disks.path("ib").read_bytes())
    guests = in_guest(disk)
    state = read_lvm(guests)
    disk.reads.clear()

    assert find_unopened(guests, state) == ()
    assert disk.reads == []
