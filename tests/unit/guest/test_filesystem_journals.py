"""Files that were flushed show, though the file system was in use; and what cannot show is said."""

import shutil
import subprocess

import pytest

from tests.guest_disks import ImageDisk
from tests.guest_files import FOLDER, KINDS, image, read_sums, sums_of_disk
from tests.patience import HANG
from vmkeep.guest.filesystems.ext.opening import replayed
from vmkeep.guest.filesystems.ext.superblock import read_superblock
from vmkeep.guest.filesystems.volume import Volume

EXT = ["ext3-plain", "ext4-csum", "ext4-datajournal"]
_BLOCK = 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.mark.parametrize("name", [*EXT, "ext4-fast"])
def test_files_that_are_only_in_the_journal_of_ext_show(folder, name):
    found, warnings = sums_of_disk(ImageDisk(image(name, folder)), KINDS[name])

    assert found == read_sums(FOLDER / f"{name}.sums")
    assert not warnings


def blocks_that_differ(path, other):
    """Return the numbers of the blocks of 1 KiB in which two disks differ."""
    count = path.stat().st_size // _BLOCK
    with path.open("rb") as file:
        mine, its = bytearray(_BLOCK), bytearray(_BLOCK)
        for block in range(count):
            file.readinto(mine)
            other.read_into(block * _BLOCK, memoryview(its))
            if mine != its:
                yield block


@pytest.mark.parametrize("name", EXT)
def test_a_replayed_disk_is_the_one_that_e2fsck_makes(folder, tmp_path, name):
    copy = shutil.copy(image(name, folder), tmp_path / "copy")
    copy.chmod(0o600)
    subprocess.run(["e2fsck", "-y", "-E", "journal_only", copy], check=True, capture_output=True, timeout=HANG)
    volume = Volume(ImageDisk(image(name, folder)), what="disk0p1")

    disk, notes = replayed(volume, read_superblock(volume))

    assert not notes
    differing = set(blocks_that_differ(copy, disk.disk))
    journal = differing - {1}  # the superblock says that nothing is left to be replayed
    assert len(journal) <= 1  # so does the journal's own
    assert differing < set(blocks_that_differ(copy, ImageDisk(image(name, folder))))  # and there was something to do


def test_a_log_of_xfs_that_was_not_closed_is_said(folder):
    found, warnings = sums_of_disk(ImageDisk(image("xfs-dirty", folder)), "xfs")

    assert found != read_sums(FOLDER / "xfs-dirty.sums")
    assert len(warnings) == 1
    assert "The log was not closed by an unmount" in warnings[0]
    assert "Boot or restore the machine" in warnings[0]


def test_an_xfs_that_was_frozen_comes_out(folder):
    found, _ = sums_of_disk(ImageDisk(image("xfs-frozen", folder)), "xfs")

    assert found == read_sums(FOLDER / "xfs-frozen.sums")


def test_a_log_of_btrfs_that_was_not_replayed_is_said(folder):
    found, warnings = sums_of_disk(ImageDisk(image("btrfs-log", folder)), "btrfs")

    assert found != read_sums(FOLDER / "btrfs-log.sums")
    assert len(warnings) == 1
    assert "The log of btrfs was not replayed" in warnings[0]
