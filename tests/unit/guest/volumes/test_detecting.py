"""The contents of volumes, told by their first bytes. The real mkfs makes them, and ``blkid`` says what they are."""

from __future__ import annotations

import mmap
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.guest_disks import ImageDisk, in_guest
from tests.nbd_parts import MemoryDisk
from tests.unit.guest.volumes.disks import content_of
from vmkeep.guest.volumes import find_volumes
from vmkeep.guest.volumes.detecting import Head, detect, detect_all, find_member

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


_LUKS = "cryptsetup luksFormat -q --pbkdf-force-iterations 1000 --type"
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
    Made("luks1", f"{_LUKS} luks1 {{}} -", blkid="crypto_LUKS", state="encrypted (LUKS1)"),
    Made(
        "luks2",
        f"{_LUKS} luks2 --pbkdf pbkdf2 --label label {{}} -",
        size=20 * MIB,
        blkid="crypto_LUKS",
        state="encrypted (LUKS2)",
    ),
)


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


def change(image: Path, offset: int, mask: int) -> None:
    """Set bits of one byte."""
    with image.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte | mask]))


def place_of(image: Path, content: bytes, start: int = 0) -> int:
    """Where some bytes lie first."""
    with image.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        found = mapped.find(content, start)
    assert found >= 0
    return found


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.command.partition(" -L")[0].replace(" {}", ""))
def test_kind_label_and_uuid_are_those_that_blkid_tells(made, tmp_path):
    image = made_by(made, tmp_path)

    found = list(detect_all(ImageDisk(image)))

    told = by_blkid(image)
    assert [each.kind for each in found] == [made.kind]
    assert told["TYPE"] == (made.blkid or made.kind)
    assert found[0].uuid.lower() == told["UUID"].lower()
    assert found[0].label == told.get("LABEL", "")
    assert bool(found[0].label) == (" -L " in made.command or " -n " in made.command or "--label" in made.command)
    assert found[0].state == made.state
    assert found[0].size <= made.size


def test_an_ext4_whose_journal_was_not_replayed_says_so(tmp_path):
    image = made_by(Made("ext4", "mke2fs -q -F -t ext4 {}"), tmp_path)
    subprocess.run(["debugfs", "-w", "-R", "feature needs_recovery", image], check=True, capture_output=True)

    assert detect(ImageDisk(image)).state == "journal needs replay"


def test_an_ext2_that_was_not_unmounted_says_so(tmp_path):
    image = made_by(Made("ext2", "mke2fs -q -F -t ext2 {}"), tmp_path)
    subprocess.run(["debugfs", "-w", "-R", "ssv state 0", image], check=True, capture_output=True)

    assert detect(ImageDisk(image)).state == "not unmounted cleanly"


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
    image = made_by(Made("", command, size=size), tmp_path)
    change(image, offset, mask)

    assert detect(ImageDisk(image)).state == "not unmounted cleanly"


def test_a_dirty_ntfs_and_one_with_an_open_journal_say_so(tmp_path):
    image = made_by(Made("ntfs", "mkntfs -q -F -Q -L label {}"), tmp_path)
    volume_name = place_of(image, "label".encode("utf-16-le"))
    change(image, place_of(image, b"\x03\x01", volume_name) + 2, 1)  # $VOLUME_INFORMATION: version 3.1, then flags
    assert detect(ImageDisk(image)).state == "not unmounted cleanly"

    with image.open("r+b") as file:  # the journal of a system that is running: a restart page with a user
        head = file.read(0x38)
        sector, cluster, table = *struct.unpack_from("<HB", head, 11), struct.unpack_from("<Q", head, 0x30)[0]
        file.seek(table * sector * cluster + 2 * 1024)
        record = file.read(1024)
        runs = record.index(b"\x80\0\0\0")
        (first,) = struct.unpack_from("<H", record, runs + 32)
        lengths, places = record[runs + first] & 15, record[runs + first] >> 4
        start = int.from_bytes(record[runs + first + 1 + lengths : runs + first + 1 + lengths + places], "little")
        page = bytearray(4096)
        struct.pack_into("<4sHH", page, 0, b"RSTR", 30, 9)
        struct.pack_into("<H", page, 24, 48)
        struct.pack_into("<QHHHH", page, 48, 1234, 1, 0xFFFF, 0, 0)
        file.seek(start * sector * cluster)
        file.write(page)
    assert detect(ImageDisk(image)).state == "journal needs replay"


def test_an_xfs_whose_log_does_not_end_with_an_unmount_says_so(tmp_path):
    image = made_by(Made("xfs", "mkfs.xfs -q -f {}", size=320 * MIB), tmp_path)
    flags = place_of(image, b"\xfe\xed\xba\xbe") + 512 + 9
    with image.open("r+b") as file:
        file.seek(flags)
        assert file.read(1) == b"\x20"
        file.seek(flags)
        file.write(b"\0")

    assert detect(ImageDisk(image)).state == "journal needs replay"


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
    image = made_by(Made("btrfs", "mkfs.btrfs -q -f {}", size=128 * MIB), tmp_path)
    change(image, 65536 + 0x88, 2)

    assert "one of the 3 devices" in detect(ImageDisk(image)).refusal


def test_neither_zeros_nor_a_tiny_volume_are_anything():
    for size in (0, 1, 511, 512, 100_000, MIB):
        assert detect(MemoryDisk(bytes(size))) is None


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """The beginnings of volumes of all kinds."""
    folder = tmp_path_factory.mktemp("head")
    small = [made for made in MADE if made.size <= 20 * MIB]
    found = [content_of(ImageDisk(made_by(made, folder)), 0, min(made.size, 256 << 10)) for made in small]
    return [*found, bytes(_new_member("1.2").content[: 256 << 10])]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_volume_cut_or_mangled_anywhere_makes_it_crash(heads, data):
    content = bytearray(data.draw(st.sampled_from(heads)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 5000), st.integers(0, len(content) - 8)))
        content[at : at + 8] = data.draw(st.one_of(st.binary(min_size=8, max_size=8), st.just(b"\xff" * 8)))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))

    assert len(list(detect_all(MemoryDisk(content[:cut])))) < 5


def test_it_reads_little_of_a_volume(guest_disks):
    read = []

    class Counted(ImageDisk):
        def read_into(self, start, buffer):
            read.append(len(buffer))
            super().read_into(start, buffer)

    for name in ("x", "vi", "ia"):
        disk = Counted(guest_disks.path(name))
        for volume in find_volumes(in_guest(disk)):
            read.clear()
            if volume.disk is not None:
                list(detect_all(volume.disk))
            assert sum(read) < 2 << 20
            assert len(read) < 120
