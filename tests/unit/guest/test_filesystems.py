"""Each file of each kind of file system comes out as its own tools wrote it."""

from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from tests.guest_disks import FOLDER as GUEST_FOLDER
from tests.guest_disks import GuestDisks, ImageDisk, MemoryDisk
from tests.guest_files import FOLDER, PartOfDisk, image, read_sums, sums_of, sums_of_disk, walk
from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError
from vmkeep.guest.filesystems import open_file_system
from vmkeep.guest.partitions import read_partitions
from vmkeep.guest.volumes import find_volumes
from vmkeep.model.guestfiles import FileKind

EXPECTED = GUEST_FOLDER / "expected"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def guests(folder):
    return GuestDisks(folder)


def part(guests, name, number):
    """Return a partition of a guest's disk."""
    (disk,) = guests.disks(name)
    table = read_partitions(disk)
    place = next(each for each in table.partitions if each.number == number)
    return PartOfDisk(disk.disk, place.start, place.size)


@contextmanager
def opened(folder, name, kind):
    with open_file_system(ImageDisk(image(name, folder)), kind, what="disk0p1") as files:
        yield files


@pytest.mark.parametrize(
    ("number", "kind", "sums"),
    [
        (1, "vfat", "x-fat.sums"),
        (2, "ntfs", "x-ntfs.sums"),
        (3, "btrfs", "x-btrfs.sums"),
        (4, "xfs", "x-xfs.sums"),
    ],
)
def test_every_file_of_a_real_disk_comes_out(guests, number, kind, sums):
    found, warnings = sums_of_disk(part(guests, "x", number), kind)

    assert found == read_sums(EXPECTED / sums)
    assert not warnings


def test_every_file_of_ext_comes_out_from_a_whole_disk_and_from_a_partition(guests):
    whole, _ = sums_of_disk(ImageDisk(guests.path("vi")), "ext4")
    in_part, _ = sums_of_disk(part(guests, "vip", 1), "ext3")

    assert whole == read_sums(EXPECTED / "vi-whole.sums")
    assert in_part == read_sums(EXPECTED / "vi-part1.sums")


@pytest.mark.parametrize("name", ["lv_ext4", "lv_xfs", "lv_stripe", "lv_extra"])
def test_every_file_of_a_logical_volume_over_two_disks_comes_out(guests, name):
    volume = find_volumes(guests.scenario("i-consistent")).find(f"vgdata/{name}")

    found, warnings = sums_of_disk(volume.open(), volume.kind)

    assert found == read_sums(EXPECTED / f"i-{name}.sums")
    assert not warnings


def test_an_ntfs_with_odd_things_comes_out_with_its_streams(folder):
    expected = read_sums(FOLDER / "ntfs.sums")
    with opened(folder, "ntfs", "ntfs") as files:
        found = sums_of(files)
        entries = {entry.path: entry for entry in walk(files)}

        assert found.pop("/d/hard:big") == expected["/plain:big"]  # a hard link has the streams of its file
        assert found == expected
        assert files.warnings == ()
        assert (entries["/d/link"].kind, entries["/d/link"].target) == (FileKind.SYMLINK, "../plain")
        assert entries["/plain"].identity == entries["/d/hard"].identity
        assert entries["/plain"].links == 2
        sparse = list(files.data_extents("/sparse"))
        assert sum(extent.length for extent in sparse) < 100_000
        assert files.entry("/PACKED/Text").path == "/packed/text"  # Windows does not tell the two apart
        packed = files.attributes("/packed/text")["system.ntfs_attrib"]
        assert int.from_bytes(packed, "little") & 0x800


def test_an_exfat_with_fragments_comes_out(folder):
    with opened(folder, "exfat", "exfat") as files:
        assert sums_of(files) == read_sums(FOLDER / "exfat.sums")
        small = files.entry("/small")
        assert small.modified == datetime(2023, 11, 14, 22, 13, 22, tzinfo=UTC)


def test_a_content_is_read_from_any_byte_on(guests):
    with open_file_system(part(guests, "x", 3), "btrfs", what="disk0p3") as files:
        whole = files.open("/clzo/f.bin").readall()
        content = files.open("/clzo/f.bin")
        for start in (len(whole) - 10, 131_071, 0, 131_072, 5):
            content.seek(start)
            assert content.read(20_000) == whole[start : start + 20_000]


def test_a_path_that_leads_nowhere_is_named(guests):
    with open_file_system(part(guests, "x", 4), "xfs", what="disk0p4") as files:
        for path in ("/nothing", "/etc/hostname/below", "/etc/../etc"):
            with pytest.raises(NotFoundError, match=r"disk0p4: there is no /"):
                files.entry(path)
        with pytest.raises(NotFoundError, match="no folder"):
            files.entries("/etc/hostname")
        with pytest.raises(NotFoundError, match="no file, but a folder"):
            files.open("/etc")


def test_a_kind_that_cannot_be_read_is_refused_with_those_that_can():
    with (
        pytest.raises(UnsupportedError, match=r"disk0p1: .*zfs.*ext4"),
        open_file_system(MemoryDisk(bytes(4096)), "zfs", what="disk0p1"),
    ):
        pass


@pytest.mark.parametrize("kind", ["ext4", "xfs", "ntfs", "vfat", "exfat", "btrfs"])
def test_a_disk_without_the_file_system_is_no_file_system(kind):
    for size in (0, 512, 1 << 20):
        with (
            pytest.raises(CorruptError, match="disk0p1"),
            open_file_system(MemoryDisk(bytes(size)), kind, what="disk0p1"),
        ):
            pass


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_volume_that_was_cut_is_refused_and_not_read_short(guests, number):
    kind = ("vfat", "ntfs", "btrfs", "xfs")[number - 1]
    whole = part(guests, "x", number)
    cut = PartOfDisk(whole, 0, whole.capacity // 2)
    with pytest.raises(CorruptError, match="a part of"), open_file_system(cut, kind, what="disk0p1"):
        pass
