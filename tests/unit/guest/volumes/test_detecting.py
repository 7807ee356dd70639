"""The contents of volumes, told by their first bytes. The real mkfs makes them, and ``blkid`` says what they are."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.nbd_parts import MemoryDisk
from vmkeep.guest.volumes.detecting import detect, detect_all, find_member, Head
from vmkeep.model.extents import Extent

MIB = 1 << 20


@dataclass(frozen=True)
class Made:
    """A file system that a real program makes."""

    kind: str
    command: str
    size: int = 4 * MIB
    blkid: str = ""
    """blkid's word for it, if that is another one."""
    state: str = "ready"
    has_label: bool = True


MADE = (
    Made("ext2", "mke2fs -q -F -t ext2 -L label {}"),
    Made("ext3", "mke2fs -q -F -t ext3 -L label {}"),
    Made("ext4", "mke2fs -q -F -t ext4 -L label {}"),
    Made("ext4", "mke2fs -q -F -t ext4 -b 4096 -O 64bit,metadata_csum -L label {}", size=16 * MIB),
    Made("btrfs", "mkfs.btrfs -q -f -L label {}", size=128 * MIB),
    Made("ntfs", "mkntfs -q -F -Q -L label {}"),
    Made("ntfs", "mkntfs -q -F -Q -s 512 -c 65536 -L label {}", size=8 * MIB),
    Made("vfat", "mkfs.fat -F 12 -n LABEL {}", size=2 * MIB),
    Made("vfat", "mkfs.fat -F 16 -n LABEL {}", size=16 * MIB),
    Made("vfat", "mkfs.fat -F 32 -n LABEL {}", size=64 * MIB),
    Made("exfat", "mkfs.exfat -L label {}"),
    Made("xfs", "mkfs.xfs -q -f -L label {}", size=320 * MIB),
    Made("xfs", "mkfs.xfs -q -f -b size=1024 -m crc=0 -L label {}", size=320 * MIB),
    Made("swap", "mkswap -q -L label {}"),
    Made("luks1", "cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 {} -", blkid="crypto_LUKS", has_label=False, state="encrypted (LUKS1)"),
    Made("luks2", "cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --label label {} -", size=20 * MIB, blkid="crypto_LUKS", state="encrypted (LUKS2)"),
)  # fmt: skip


def made_by(made: Made, folder: Path) -> Path:
    image = folder / "volume"
    with image.open("wb") as file:
        file.truncate(made.size)
    command = made.command.format(image).split()
    done = subprocess.run(command, input="secret", check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return image


def by_blkid(image: Path) -> dict[str, str]:
    done = subprocess.run(
        ["blkid", "-p", "-o", "export", image], check=False, capture_output=True, text=True, timeout=60
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def disk_of(image: Path) -> MemoryDisk:
    return MemoryDisk(image.read_bytes())


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.command.partition(" -L")[0].replace(" {}", ""))
def test_kind_label_and_uuid_are_those_that_blkid_tells(made, tmp_path):
    image = made_by(made, tmp_path)

    found = list(detect_all(disk_of(image)))

    told = by_blkid(image)
    assert [each.kind for each in found] == [made.kind]
    assert told["TYPE"] == (made.blkid or made.kind)
    assert found[0].uuid.lower() == told["UUID"].lower()
    assert found[0].label == told.get("LABEL", "")
    assert bool(found[0].label) == made.has_label
    assert found[0].state == made.state
    assert found[0].size <= made.size


def test_an_ext4_whose_journal_was_not_replayed_says_so(tmp_path):
    image = made_by(Made("ext4", "mke2fs -q -F -t ext4 {}"), tmp_path)
    subprocess.run(["debugfs", "-w", "-R", "feature needs_recovery", image], check=True, capture_output=True)

    assert detect(disk_of(image)).state == "journal needs replay"


def test_an_ext2_that_was_not_unmounted_says_so(tmp_path):
    image = made_by(Made("ext2", "mke2fs -q -F -t ext2 {}"), tmp_path)
    subprocess.run(["debugfs", "-w", "-R", "ssv state 0", image], check=True, capture_output=True)

    assert detect(disk_of(image)).state == "not unmounted cleanly"


@pytest.mark.parametrize(
    ("command", "size", "offset", "mask"),
    [
        ("mkfs.fat -F 16 {}", 16 * MIB, 0x25, 1),
        ("mkfs.fat -F 32 {}", 64 * MIB, 0x41, 1),
        ("mkfs.exfat {}", 4 * MIB, 106, 2),
    ],
    ids=["fat16", "fat32", "exfat"],
)
def test_a_fat_that_was_not_unmounted_says_so(command, size, offset, mask, tmp_path):
    disk = disk_of(made_by(Made("", command, size=size), tmp_path))
    disk.content[offset] |= mask

    assert detect(disk).state == "not unmounted cleanly"


def _mft_record(disk: MemoryDisk, number: int) -> int:
    sector, cluster = struct.unpack_from("<HB", disk.content, 11)
    (table,) = struct.unpack_from("<Q", disk.content, 0x30)
    return table * sector * cluster + number * 1024


def test_a_dirty_ntfs_and_one_with_an_open_journal_say_so(tmp_path):
    disk = disk_of(made_by(Made("ntfs", "mkntfs -q -F -Q -L label {}"), tmp_path))
    record = _mft_record(disk, 3)
    flags = disk.content.index(b"\x03\x01", record + 0x18 + 0x100) + 2  # version 3.1 of $VOLUME_INFORMATION
    disk.content[flags] |= 1
    assert detect(disk).state == "not unmounted cleanly"

    disk.content[_mft_record(disk, 2) : _mft_record(disk, 2) + 4] = b"BAAD"
    assert detect(disk).state == "journal needs replay"


def test_an_xfs_whose_log_does_not_end_with_an_unmount_says_so(tmp_path):
    disk = disk_of(made_by(Made("xfs", "mkfs.xfs -q -f {}", size=320 * MIB), tmp_path))
    record = disk.content.index(b"\xfe\xed\xba\xbe")
    flags = record + 512 + 9
    assert disk.content[flags] == 0x20
    disk.content[flags] = 0

    assert detect(disk).state == "journal needs replay"


def _new_member(version: str, *, level=1, role=0, size=8 * MIB) -> MemoryDisk:
    """A member of an array, with a superblock of format 1.x, as mdadm writes it."""
    offset = {"1.0": (size // 512 - 16) // 8 * 4096, "1.1": 0, "1.2": 4096}[version]
    block = bytearray(256 + 4)
    struct.pack_into("<II", block, 0, 0xA92B4EFC, 1)
    block[16:32] = bytes(range(16))
    block[32:64] = b"host:data".ljust(32, b"\0")
    struct.pack_into("<iIQII", block, 72, level, 0, 4096, 0, 2)
    start = 0 if version == "1.0" else 2048
    struct.pack_into("<QQQQI", block, 128, start, 8192, offset // 512, (1 << 64) - 1, 0)
    struct.pack_into("<Q", block, 200, 17)
    struct.pack_into("<I", block, 220, 2)
    struct.pack_into("<HH", block, 256, role, 1)
    total = sum(struct.unpack("<65I", block))
    struct.pack_into("<I", block, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    disk = MemoryDisk(bytes(size))
    disk.content[offset : offset + len(block)] = block
    return disk


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_a_member_of_an_array_is_known_by_its_superblock(version, tmp_path):
    disk = _new_member(version)
    (tmp_path / "member").write_bytes(disk.content)

    told, member = by_blkid(tmp_path / "member"), find_member(Head(disk))

    assert (told["TYPE"], told["VERSION"], told["UUID"]) == ("linux_raid_member", version, member.array)
    assert (member.version, member.name, member.level, member.role, member.whole) == (version, "data", 1, 0, True)
    assert member.size == 4096 * 512
    assert detect(disk).kind == "raid-member"
    disk.content[disk.content.index(b"host:data")] ^= 1
    assert find_member(Head(disk)) is None


def _placed(*pieces: tuple[int, bytes], size: int = 4 * MIB) -> MemoryDisk:
    disk = MemoryDisk(bytes(size))
    for offset, content in pieces:
        disk.content[offset : offset + len(content)] = content
    return disk


@pytest.mark.parametrize(
    ("kind", "pieces"),
    [
        ("bitlocker", [(0, b"\xeb\x58\x90-FVE-FS-")]),
        ("refs", [(3, b"ReFS\0\0\0\0")]),
        ("zfs", [((128 << 10) + 1024 * at, (0x00BAB10C).to_bytes(8, "little")) for at in range(8)]),
        ("vmfs", [(1 << 20, b"\x0d\xd0\x01\xc0")]),
        ("storage-spaces", [(4096, b"SPACEDB ")]),
        ("ldm", [(6 * 512, b"PRIVHEAD")]),
        ("iso9660", [(32769, b"CD001")]),
        ("squashfs", [(0, b"hsqs")]),
        ("reiserfs", [(65536 + 52, b"ReIsEr2Fs")]),
    ],
)
def test_things_without_a_reader_are_named_with_the_way_out(kind, pieces):
    found = detect(_placed(*pieces))

    assert found.kind == kind
    assert "restore the VM and read it there" in found.refusal


def test_a_device_of_a_btrfs_of_several_is_refused(tmp_path):
    disk = disk_of(made_by(Made("btrfs", "mkfs.btrfs -q -f {}", size=128 * MIB), tmp_path))
    struct.pack_into("<Q", disk.content, 65536 + 0x88, 2)

    assert "one of the 2 devices" in detect(disk).refusal


def test_neither_zeros_nor_a_tiny_volume_are_anything():
    for size in (0, 1, 511, 512, 100_000, MIB):
        assert detect(MemoryDisk(bytes(size))) is None


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """The beginnings of volumes of all kinds."""
    found = []
    for made in MADE:
        if made.size <= 20 * MIB and shutil.which(made.command.split()[0]):
            found.append(bytes(disk_of(made_by(made, tmp_path_factory.mktemp("head"))).content[: 256 << 10]))
    return [*found, bytes(_new_member("1.2").content[: 256 << 10])]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_volume_cut_or_mangled_anywhere_makes_it_crash(heads, data):
    content = bytearray(data.draw(st.sampled_from(heads)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 5000), st.integers(0, len(content) - 8)))
        content[at : at + 8] = data.draw(st.one_of(st.binary(min_size=8, max_size=8), st.just(b"\xff" * 8)))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))

    assert len(list(detect_all(MemoryDisk(content[:cut])))) < 5


def test_it_reads_little_of_a_volume(tmp_path):
    read = []

    class Counted(MemoryDisk):
        def read_into(self, start, buffer):
            read.append(Extent(start, start + len(buffer)))
            super().read_into(start, buffer)

    for made in MADE:
        if made.size <= 64 * MIB:
            image = made_by(made, tmp_path)
            read.clear()
            list(detect_all(Counted(image.read_bytes())))
            assert sum(extent.length for extent in read) < 600 << 10
            assert len(read) < 60
