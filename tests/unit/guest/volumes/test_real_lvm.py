"""Every kind of volume that real lvm2 and mdadm make, and the files that the guest itself saw in them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.guest_disks import FOLDER, MANIFEST, in_guest
from vmkeep.guest.filesystems import open_file_system
from vmkeep.guest.volumes import find_volumes

KINDS = ("kinds-a", "kinds-b", "kinds-c", "kinds-d", "kinds-e")
REFUSED = {
    "vgkinds/lv_raid5": "of the kind raid5",
    "vgkinds/lv_oldsnap": "a snapshot of lv_origin",
    "vgkinds/lv_cached": "a cached volume",
    "vgkinds/pool": "a pool of thin volumes",
}


def sums(name: str) -> dict[str, str]:
    """Digests by path, as ``sha256sum`` writes them. A list of the fixtures also has lines about modes."""
    lines = (FOLDER / "expected" / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("  ", 1) for line in lines if len(line.partition(" ")[0]) == 64)
    return {path: digest for digest, path in pairs}


def digest_of(volume, path):
    with open_file_system(volume.open(), volume.kind, what=volume.name) as files, files.open(path) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@pytest.fixture(scope="module")
def volumes(guest_disks):
    return find_volumes(guest_disks.disks(*KINDS))


def test_every_file_of_every_kind_is_the_one_that_the_guest_saw(volumes):
    expected = sums("kinds.sums")

    found = {name: digest_of(volumes.find(name.partition(":")[0]), name.partition(":")[2]) for name in expected}

    assert len(found) == 25
    assert found == expected


def test_every_volume_is_listed_and_those_that_cannot_be_read_are_refused_by_name(volumes):
    readable = {name.partition(":")[0] for name in sums("kinds.sums")}

    assert {volume.name for volume in volumes if volume.has_files} == readable
    assert {volume.name for volume in volumes if "/" in volume.name} == readable | set(REFUSED)
    for name, why in REFUSED.items():
        assert f"it is {why}" in volumes.find(name).refusal


def test_a_leg_that_lags_behind_is_passed_over(volumes):
    assert volumes.find("vgkinds/lv_lags").warnings == ("read from leg 2 of 2 of its mirror",)
    assert volumes.find("vgkinds/lv_raid1").warnings == ("read from leg 1 of 2 of its mirror",)


def test_without_a_disk_mirrors_and_arrays_are_still_read(guest_disks):
    disks = guest_disks.disks(*KINDS)

    without_first = find_volumes([disks[1], disks[2], disks[4]])

    expected = sums("kinds.sums")
    for name in ("vgkinds/lv_raid1", "vgkinds/lv_lags", "vgkinds/lv_mirror", "md/data"):
        assert digest_of(without_first.find(name), "/data.bin") == expected[f"{name}:/data.bin"]
    assert {volume.name for volume in without_first if volume.has_files} == {
        "vgkinds/lv_raid1",
        "vgkinds/lv_lags",
        "vgkinds/lv_mirror",
        "md/data",
    }


@pytest.mark.parametrize("name", ["lv_ext4", "lv_xfs", "lv_stripe", "lv_extra"])
def test_every_file_of_the_volumes_of_the_manifest_comes_out(name, guest_disks):
    volume = find_volumes(guest_disks.scenario("i-consistent")).find(f"vgdata/{name}")
    expected = sums(MANIFEST["scenarios"]["i-consistent"]["file_sums"][name].removeprefix("expected/"))

    assert expected
    assert {path: digest_of(volume, path.removeprefix(".")) for path in expected} == expected


class Mangled:
    """A disk in which some bytes are others."""

    def __init__(self, disk, changes):
        self.capacity = disk.capacity
        self._disk = disk
        self._changes = changes

    def read_into(self, start, buffer):
        self._disk.read_into(start, buffer)
        for at, content in self._changes:
            low, high = max(start, at), min(start + len(buffer), at + len(content))
            if low < high:
                buffer[low - start : high - start] = content[low - at : high - at]

    def extents(self, start, stop):
        return self._disk.extents(start, stop)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_guest_holds_its_volumes_are_listed_and_open(guest_disks, data):
    """Bytes are changed where labels, texts, superblocks and the metadata of the pool lie."""
    disks = [disk.disk for disk in guest_disks.disks(*KINDS)]
    for _ in range(data.draw(st.integers(1, 6))):
        number = data.draw(st.integers(0, len(disks) - 1))
        place = st.one_of(st.integers(0, 9000), st.integers(0, 1 << 20), st.integers(0, disks[number].capacity - 64))
        disks[number] = Mangled(disks[number], [(data.draw(place), data.draw(st.binary(min_size=1, max_size=64)))])

    for volume in find_volumes(in_guest(*disks)):
        if volume.has_files:
            assert volume.open().capacity == volume.size


def test_the_order_of_the_disks_does_not_matter(guest_disks, volumes):
    turned = find_volumes(in_guest(*(disk.disk for disk in reversed(guest_disks.disks(*KINDS)))))

    assert {(each.name, each.uuid) for each in turned if "/" in each.name} == {
        (each.name, each.uuid) for each in volumes if "/" in each.name
    }
