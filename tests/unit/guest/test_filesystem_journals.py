"""Files that were flushed show, though the file system was in use; and what cannot show is said."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests.guest_disks import ImageDisk
from tests.guest_files import FOLDER, KINDS, MangledDisk, image, read_sums, sums_of_disk
from tests.patience import HANG
from vmkeep.guest.crc32c import crc32c
from vmkeep.guest.filesystems.ext.opening import replayed
from vmkeep.guest.filesystems.ext.superblock import read_superblock
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.guest.filesystems.xfs.log import Log, _sizes
from vmkeep.guest.filesystems.xfs.superblock import read_superblock as read_xfs_superblock

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


def replayed_like_e2fsck(path, tmp_path):
    """Return the blocks in which our replay differs from e2fsck's, the number that e2fsck wrote, and our notes."""
    copy = Path(shutil.copy(path, tmp_path / "copy"))
    copy.chmod(0o600)
    subprocess.run(["e2fsck", "-y", "-E", "journal_only", copy], check=True, capture_output=True, timeout=HANG)
    volume = Volume(ImageDisk(path), what="disk0p1")
    disk, notes = replayed(volume, read_superblock(volume))
    return set(blocks_that_differ(copy, disk.disk)), len(set(blocks_that_differ(copy, ImageDisk(path)))), notes


@pytest.mark.parametrize("name", EXT)
def test_a_replayed_disk_is_the_one_that_e2fsck_makes(folder, tmp_path, name):
    differing, written, notes = replayed_like_e2fsck(image(name, folder), tmp_path)

    assert not notes

    differing.discard(1)  # the superblock, which says that nothing is left to be replayed
    assert len(differing) <= 1  # so does the journal's own
    assert written > 10


@pytest.mark.parametrize(
    ("begin", "features", "block"),
    [
        ("jo", "^64bit", 1024),
        ("jo -c", "^64bit,extent", 2048),
        ("jo -c -v 2", "^64bit,extent,metadata_csum", 1024),
        ("jo -c -v 3", "64bit,extent,metadata_csum", 4096),
    ],
    ids=["plain", "v1", "v2", "v3"],
)
def test_escapes_revocations_and_missing_commits_are_replayed_as_by_e2fsck(tmp_path, begin, features, block):
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(24 << 20)
    make = ["mke2fs", "-q", "-F", "-t", "ext3", "-b", str(block), "-O", features, "-J", "size=4", path]
    subprocess.run(make, check=True, capture_output=True, timeout=HANG)
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    first.write_bytes(b"\xc0\x3b\x39\x98".ljust(block, b"e") + b"1" * block * 29)
    second.write_bytes(b"2" * block * 10)
    third.write_bytes(b"3" * block)
    commands = [
        begin,
        f"jw -b 5000-5029 {first}",
        f"jw -b 5005-5014 {second}",
        "jw -r 5008,5020,5021",
        f"jw -b 5021 {third}",
        f"jw -b 5029 -c {third}",
        "jc",
    ]
    script = tmp_path / "script"
    script.write_text("\n".join(commands) + "\n")
    done = subprocess.run(["debugfs", "-w", "-f", script, path], check=True, capture_output=True, timeout=HANG)
    assert b"nvalid" not in done.stderr, done.stderr

    differing, written, notes = replayed_like_e2fsck(path, tmp_path)

    # debugfs gives a transaction that only revokes a checksum of version 1 that neither e2fsck nor we take.
    assert [note for note in notes if "transaction 3 has a wrong checksum" not in note] == []
    assert bool(notes) == (begin == "jo -c")
    per_block = block // 1024
    differing -= {0, 1, 2, 3}  # the superblock's
    assert len(differing) <= per_block  # the journal's own
    assert written >= 27 * per_block

    # A block whose content changed after its checksum was made ends the replay there.
    if "-v" in begin:
        content = path.read_bytes().replace(b"2" * block, b"x" * block)
        path.write_bytes(content)
        _, notes = replayed(Volume(ImageDisk(path), what="disk0p1"), read_superblock(Volume(ImageDisk(path), what="v")))
        assert ["transaction 2 has a wrong checksum" in note for note in notes] == [True]


@pytest.mark.parametrize("name", ["xfs-dirty", "xfs-frozen", "xfs-log"])
def test_files_that_are_only_in_the_log_of_xfs_show(folder, name):
    found, warnings = sums_of_disk(ImageDisk(image(name, folder)), "xfs")

    assert found == read_sums(FOLDER / f"{name}.sums")
    assert not warnings


class XfsLog:
    """The log of a real XFS, with the places of its records."""

    def __init__(self, disk):
        self.disk = disk
        volume = Volume(disk, what="disk0p1")
        self.log = Log(volume, read_xfs_superblock(volume))
        self.starts = []
        left = self.log._last
        at = struct.unpack_from(">I", self.log._block(left), 28)[0]
        while at <= left:
            self.starts.append(at)
            headers, length = _sizes(self.log._block(at))
            at += headers + length // 512

    def place(self, block):
        return self.log._start + block * 512

    def with_record(self, number, change):
        """Return the disk with another header of a record, whose checksum is right."""
        at = self.starts[number]
        headers, length = _sizes(self.log._block(at))
        blocks = [self.log._block(at + each) for each in range(headers + length // 512)]
        head = bytearray(blocks[0])
        change(head)
        covered = bytearray(head[:328])
        covered[32:36] = bytes(4)
        more = b"".join(block[:260] for block in blocks[1 : -(-length // 32768)])
        total = crc32c(bytes(covered) + more + b"".join(blocks[headers:])) ^ 0xFFFFFFFF
        struct.pack_into("<I", head, 32, total)
        return MangledDisk(self.disk, [(self.place(at), bytes(head))])


@pytest.fixture(scope="module")
def xfs_log(folder):
    found = XfsLog(ImageDisk(image("xfs-dirty", folder)))
    assert len(found.starts) > 2, "there are records that could be mixed up"
    return found


def other_pass(head):
    struct.pack_into(">I", head, 4, struct.unpack_from(">I", head, 4)[0] - 1)
    struct.pack_into(">I", head, 16, struct.unpack_from(">I", head, 16)[0] - 1)


def other_place(head):
    struct.pack_into(">I", head, 20, struct.unpack_from(">I", head, 20)[0] + 8)


def test_a_record_of_another_place_is_never_replayed_though_its_checksum_is_right(xfs_log):
    assert xfs_log.with_record(1, lambda head: None)._changes[0][1] == xfs_log.log._block(xfs_log.starts[1])

    found, warnings = sums_of_disk(xfs_log.with_record(1, other_place), "xfs")

    assert found != read_sums(FOLDER / "xfs-dirty.sums")
    assert len(warnings) == 1
    assert "was not replayed: it has a record" in warnings[0]
    assert "Boot or restore the machine" in warnings[0]


def test_a_log_of_xfs_that_is_damaged_before_its_end_is_said_and_not_replayed(xfs_log):
    place = xfs_log.place(xfs_log.starts[1])

    _, warnings = sums_of_disk(MangledDisk(xfs_log.disk, [(place + 600, b"other bytes")]), "xfs")

    assert len(warnings) == 1
    assert "was not replayed: it has a record with a wrong checksum" in warnings[0]


@pytest.mark.parametrize(("at", "value"), [(600, b"other bytes"), (512, None)], ids=["torn", "hole"])
def test_the_end_of_a_log_of_xfs_of_which_only_a_part_was_written_is_left_out_and_said(xfs_log, at, value):
    place = xfs_log.place(xfs_log.starts[-1]) + at
    (cycle,) = struct.unpack_from(">I", xfs_log.log._block(xfs_log.starts[-1]), 4)

    found, warnings = sums_of_disk(MangledDisk(xfs_log.disk, [(place, value or struct.pack(">I", cycle - 1))]), "xfs")

    assert set(found) >= {"/new/file-0", "/new/file-1"}
    assert ["The end of the log was written only in part" in each for each in warnings] == [True]


def test_a_record_of_the_pass_before_ends_the_log_though_its_checksum_is_right(xfs_log):
    whole, _ = sums_of_disk(xfs_log.disk, "xfs")

    found, warnings = sums_of_disk(xfs_log.with_record(1, other_pass), "xfs")

    assert found != whole
    assert ["The end of the log was written only in part" in each for each in warnings] == [True]


def test_a_log_of_btrfs_that_was_not_replayed_is_said(folder):
    found, warnings = sums_of_disk(ImageDisk(image("btrfs-log", folder)), "btrfs")

    assert found != read_sums(FOLDER / "btrfs-log.sums")
    assert len(warnings) == 1
    assert "The log of btrfs was not replayed" in warnings[0]
