"""No file system, cut or mangled anywhere, makes a reader crash, hang, or use much memory."""

import mmap
import struct
import subprocess
import tracemalloc
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.guest_disks import GuestDisks, ImageDisk, MemoryDisk
from tests.guest_files import MangledDisk, PartOfDisk, image, walk
from tests.patience import HANG
from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError, VmKeepError
from vmkeep.guest.filesystems import open_file_system, values
from vmkeep.guest.filesystems.btrfs import checksums
from vmkeep.guest.filesystems.btrfs.chunks import Chunks
from vmkeep.guest.filesystems.btrfs.compression import unpack as unpack_btrfs
from vmkeep.guest.filesystems.fat import exfatvolume
from vmkeep.guest.filesystems.ntfs.compression import unpack as unpack_ntfs
from vmkeep.guest.filesystems.volume import Volume

MOST_ENTRIES = 150
MOST_MEMORY = 64 << 20
VALUES = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.sampled_from([b"\xff" * 4, b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7, b"\0\0\1\0", b"\1\0\0\0"]),
    st.integers(0, 1 << 20).map(lambda number: struct.pack("<I", number)),
    st.integers(0, 1 << 20).map(lambda number: struct.pack(">Q", number)),
)
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), VALUES), min_size=1, max_size=6)


def look_at_everything(disk, kind, most=MOST_ENTRIES):
    """Read the beginning of some hundred files, with whatever is known of them."""
    with open_file_system(disk, kind.split()[0], what="disk0p1") as files:
        for _, entry in zip(range(most), walk(files), strict=False):
            try:
                files.attributes(entry.path)
                if entry.kind.value == "file":
                    content = files.open(entry.path)
                    content.read(100_000)
                    content.seek(max(0, entry.size - 50))
                    assert len(content.read(100)) <= 50
                    for _, extent in zip(range(1000), files.data_extents(entry.path), strict=False):
                        assert extent.stop <= entry.size
            except (CorruptError, UnsupportedError, NotFoundError):
                continue


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    (whole,) = GuestDisks(folder).disks("x")
    sector = 512
    return {
        "vfat": PartOfDisk(whole.disk, 2048 * sector, 73_728 * sector),
        "ntfs": PartOfDisk(whole.disk, 75_776 * sector, 49_152 * sector),
        "btrfs": PartOfDisk(whole.disk, 124_928 * sector, 262_144 * sector),
        "xfs": PartOfDisk(whole.disk, 387_072 * sector, 81_920 * sector),
        "exfat": ImageDisk(image("exfat", folder)),
        "ext3": ImageDisk(image("ext3-plain", folder)),
        "ext4": ImageDisk(image("ext4-csum", folder)),
        "xfs log": ImageDisk(image("xfs-dirty", folder)),
    }


@pytest.fixture(scope="module")
def structures(disks):
    """Return where each file system's reader reads structures, by its kind."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        read = Volume.read
        for kind, disk in disks.items():
            places = found[kind] = {}
            patch.setattr(
                Volume, "read", lambda self, at, size, to=places: (to.setdefault((at, size)), read(self, at, size))[1]
            )
            look_at_everything(disk, kind)
    return {kind: sorted(places) for kind, places in found.items()}


@pytest.mark.parametrize("kind", ["ext3", "ext4", "xfs", "xfs log", "ntfs", "vfat", "exfat", "btrfs"])
def test_a_mangled_file_system_gives_errors_of_ours_and_nothing_else(disks, structures, kind, monkeypatch):
    # A stranger's checksums fit, so the wrong values have to get beyond them.
    monkeypatch.setattr(checksums, "CHECKSUMS", dict.fromkeys(checksums.CHECKSUMS, lambda _: b""))
    monkeypatch.setattr("vmkeep.guest.filesystems.btrfs.nodes.CHECKSUMS", checksums.CHECKSUMS)
    monkeypatch.setattr("vmkeep.guest.filesystems.btrfs.superblock.CHECKSUMS", checksums.CHECKSUMS)
    monkeypatch.setattr(exfatvolume, "_checksum", lambda entry, _: int.from_bytes(entry[2:4], "little"))
    monkeypatch.setattr(exfatvolume.ExfatVolume, "_check_boot", lambda *_: None)
    monkeypatch.setattr("vmkeep.guest.filesystems.xfs.log.Log._check", lambda *_: None)

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(changes=CHANGES)
    def mangle(changes):
        places = structures[kind]
        patches = []
        for which, within, value in changes:
            start, size = places[int(which * (len(places) - 1))]
            patches.append((start + int(within * within * (size - 1)), value))
        try:
            look_at_everything(MangledDisk(disks[kind], patches), kind)
        except (CorruptError, UnsupportedError, NotFoundError):
            pass

    mangle()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "ntfs", "vfat", "exfat", "btrfs"])
def test_a_structure_that_claims_to_be_huge_takes_no_memory(disks, structures, kind):
    ones = [(start, b"\xff" * min(size, 64)) for start, size in structures[kind]]
    tracemalloc.start()
    try:
        for change in ones[:: max(1, len(ones) // 6)]:
            try:
                look_at_everything(MangledDisk(disks[kind], [change]), kind, 20)
            except VmKeepError:
                continue
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


@given(data=st.binary(max_size=300), kind=st.sampled_from([1, 2, 3]))
def test_compressed_data_of_a_stranger_yields_no_more_than_it_may(data, kind):
    for unpack in (lambda: unpack_btrfs(kind, data, 8192, 4096), lambda: unpack_ntfs(data, 8192)):
        try:
            assert len(unpack()) <= 8192
        except (ValueError, IndexError):
            continue


def test_a_bomb_is_not_unpacked():
    bomb = zlib.compress(bytes(50_000_000), 9)
    tracemalloc.start()
    try:
        assert unpack_btrfs(1, bomb, 131_072, 4096) == bytes(131_072)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("commands", "told"),
    [
        (["mkdir /d", "ln <2> /d/root"], "/d/root is the root again"),
        (["mkdir /d", "mkdir /d/e", "ln /d /d/e/up"], "the folder /d/e/up has a second name"),
        (["mkdir /d", "ln /d /twin"], "the folder /twin has a second name"),
        (["ln <11> a/b"], "an entry with the name 'a/b'"),
    ],
    ids=["root", "above", "twin", "slash"],
)
def test_a_walk_into_a_trap_ends(tmp_path, commands, told):
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mke2fs", "-q", "-F", path], check=True, capture_output=True, timeout=HANG)
    if "a/b" in told:  # no tool makes such a name
        commands = ["ln <11> a+b"]
    for command in commands:
        subprocess.run(["debugfs", "-w", "-R", command, path], check=True, capture_output=True, timeout=HANG)
    content = path.read_bytes().replace(b"\x03\x02a+b", b"\x03\x02a/b")

    with (
        open_file_system(MemoryDisk(content), "ext2", what="disk0p1") as files,
        pytest.raises(CorruptError, match=told),
    ):
        list(walk(files))


def test_a_volume_of_noise_is_no_file_system():
    noise = bytes(range(256)) * 1024
    for kind in ("ext4", "xfs", "ntfs", "vfat", "exfat", "btrfs"):
        with pytest.raises(CorruptError), open_file_system(MemoryDisk(noise), kind, what="disk0p1"):
            pass


@pytest.mark.parametrize("name", ["ext4-odd", "xfs-odd", "btrfs-odd"])
def test_attributes_that_claim_to_be_huge_take_no_memory(tmp_path, name, monkeypatch):
    disk = ImageDisk(image(name, tmp_path))
    with open_file_system(disk, name.split("-")[0], what="disk0") as files:
        entries, refused = list(walk(files)), 0
        monkeypatch.setattr(values, "MOST_OF_ATTRIBUTES", 20)
        for entry in entries:
            try:
                assert sum(len(key) + len(value) for key, value in files.attributes(entry.path).items()) <= 20
            except UnsupportedError:
                refused += 1
        assert refused


def test_an_access_control_list_of_xfs_with_a_tag_that_no_list_has_is_damage(tmp_path):
    path = image("xfs-odd", tmp_path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        at = raw.find(b"SGI_ACL_FILE") + len(b"SGI_ACL_FILE")
        assert raw[at : at + 3] == bytes(3), "the count of the list's entries"

    with open_file_system(MangledDisk(ImageDisk(path), [(at + 4, b"\xff")]), "xfs", what="disk0") as files:
        told = []
        for entry in walk(files):
            try:
                files.attributes(entry.path)
            except CorruptError as error:
                told.append(str(error))
    assert len(told) == 1
    assert "contradict themselves" in told[0]


@pytest.mark.parametrize("length", [0, 47, 48, 79])
def test_a_chunk_of_btrfs_that_is_cut_is_damage(length):
    chunk = struct.pack("<QQQQIIIHH", 4096, 0, 0, 1, 0, 0, 0, 1, 0).ljust(80, b"\0")
    with pytest.raises(CorruptError):
        Chunks(Volume(MemoryDisk(bytes(8192)), what="disk0"), 0).add(0, chunk[:length])
    assert Chunks(Volume(MemoryDisk(bytes(8192)), what="disk0"), 0).add(0, chunk) == len(chunk)
