"""No signature hides a file system: a guest may write one where the file system has no use for the bytes."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.guest_disks import ImageDisk, in_guest
from tests.nbd_parts import MemoryDisk
from tests.unit.guest.volumes.test_detecting import _new_member
from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError
from vmkeep.guest.filesystems import open_file_system
from vmkeep.guest.volumes import find_volumes

MIB = 1 << 20
SYSTEMS = {
    "ext4": ("mke2fs -q -F -t ext4 -b 4096 {}", 8 * MIB),
    "ntfs": ("mkntfs -q -F -Q {}", 4 * MIB),
    "vfat": ("mkfs.fat -F 32 {}", 64 * MIB),
    "exfat": ("mkfs.exfat {}", 4 * MIB),
    "xfs": ("mkfs.xfs -q -f {}", 320 * MIB),
    "btrfs": ("mkfs.btrfs -q -f {}", 128 * MIB),
}
_LABEL = b"LABELONE".ljust(24, b"\0") + b"LVM2 001" + b"x" * 32 + bytes(440)
MARKS = {
    "lvm-pv in sector 1": (512, _LABEL),
    "lvm-pv in sector 3": (1536, _LABEL),
    "swap": (4086, b"SWAPSPACE2"),
    "luks1": (0, b"LUKS\xba\xbe\0\1"),
    "luks2": (16384, b"SKUL\xba\xbe\0\2"),
    "zfs": (128 << 10, (0x00BAB10C).to_bytes(8, "little")),
    "vmfs": (1 << 20, b"\x0d\xd0\x01\xc0"),
    "reiserfs": (65536 + 52, b"ReIsEr2Fs"),
    "iso9660": (32769, b"CD001"),
}


@pytest.fixture(scope="module")
def volumes_of(tmp_path_factory):
    """An empty file system of each kind, as a file."""
    folder = tmp_path_factory.mktemp("systems")
    made = {}
    for kind, (command, size) in SYSTEMS.items():
        image = folder / kind
        image.touch()
        os.truncate(image, size)
        subprocess.run(command.format(image).split(), check=True, capture_output=True, timeout=60)
        made[kind] = image
    return made


class Marked(ImageDisk):
    """A disk with other bytes at one place."""

    def __init__(self, image, at, content):
        super().__init__(image)
        self._at, self._content = at, content

    def read_into(self, offset, buffer):
        super().read_into(offset, buffer)
        start, stop = max(offset, self._at), min(offset + len(buffer), self._at + len(self._content))
        if start < stop:
            buffer[start - offset : stop - offset] = self._content[start - self._at : stop - self._at]


def opens(disk, kind) -> bool:
    try:
        with open_file_system(disk, kind, what=kind) as files:
            list(files.entries("/"))
    except (CorruptError, UnsupportedError, NotFoundError):
        return False
    return True


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_file_system_that_can_be_opened_is_shown_whatever_signature_is_beside_it(kind, mark, volumes_of):
    disk = Marked(volumes_of[kind], *MARKS[mark])

    volume = find_volumes(in_guest(disk)).find("disk0")

    if opens(disk, kind) and not (kind == "vfat" and mark == "luks1"):  # a FAT without its first jump is none
        assert (volume.kind, volume.has_files) == (kind, True)
    else:
        assert volume.may_hide_files or volume.has_files


@pytest.mark.parametrize(
    ("kind", "mark", "is_ambiguous"),
    [
        ("ext4", "lvm-pv in sector 1", False),
        ("vfat", "swap", False),
        ("ext4", "luks1", True),
        ("ext4", "iso9660", True),
    ],
)
def test_it_says_which_other_signature_is_there_and_whether_files_may_be_missed(kind, mark, is_ambiguous, volumes_of):
    disk = Marked(volumes_of[kind], *MARKS[mark])
    assert opens(disk, kind), "else the pair shows nothing"

    volume = find_volumes(in_guest(disk)).find("disk0")

    assert (volume.may_hide_files, volume.is_ambiguous) == (is_ambiguous, is_ambiguous)
    assert f"it also bears the marks of {mark.partition(' ')[0]}" in volume.warnings[-1]


def test_an_array_is_listed_although_a_file_system_opens_where_its_superblock_is(volumes_of):
    superblock = bytes(_new_member("1.2").content[4096 : 4096 + 260])
    disk = Marked(volumes_of["vfat"], 4096, superblock)
    assert opens(disk, "vfat")

    volumes = find_volumes(in_guest(disk))

    assert (volumes.find("disk0").kind, volumes.find("disk0").may_hide_files) == ("vfat", True)
    assert "md/data" in {volume.name for volume in volumes}


def test_the_superblock_of_a_tiny_array_hides_no_file_system(volumes_of):
    size = SYSTEMS["ext4"][1]
    member = _new_member("1.0", size=size)
    at = member.content.index(b"host:data") - 32
    disk = Marked(volumes_of["ext4"], at, bytes(member.content[at : at + 260]))
    assert opens(disk, "ext4")

    volume = find_volumes(in_guest(disk)).find("disk0")

    assert (volume.kind, volume.has_files, volume.may_hide_files) == ("ext4", True, True)


def test_a_likelier_file_system_that_does_not_open_is_a_doubt_about_the_one_that_does(volumes_of):
    disk = Marked(volumes_of["vfat"], 1024, volumes_of["ext4"].read_bytes()[1024:2048])
    assert opens(disk, "vfat")
    assert not opens(disk, "ext4")

    volume = find_volumes(in_guest(disk)).find("disk0")

    assert (volume.kind, volume.may_hide_files) == ("vfat", True)


def test_two_file_systems_that_both_open_are_a_doubt(volumes_of):
    # The superblock and the descriptors of an ext4 lie before everything of btrfs.
    disk = Marked(volumes_of["btrfs"], 0, volumes_of["ext4"].read_bytes()[: 64 << 10])
    assert opens(disk, "btrfs")

    volume = find_volumes(in_guest(disk)).find("disk0")

    assert "btrfs" in (volume.kind, *volume.warnings[-1].split())
    assert volume.is_ambiguous


def test_swap_with_the_marks_of_a_file_system_that_does_not_open_is_no_volume_without_files(volumes_of):
    disk = MemoryDisk(bytes(4 * MIB))
    disk.content[4086:4096] = b"SWAPSPACE2"
    disk.content[:512] = volumes_of["vfat"].read_bytes()[:512]

    volume = find_volumes(in_guest(disk)).find("disk0")

    assert volume.may_hide_files or volume.has_files
