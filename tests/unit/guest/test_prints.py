"""Files are the same by the prints of their bytes only if they are, in every kind of file system."""

from __future__ import annotations

import hashlib
import io
import itertools
import mmap
import random
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guest_disks import ImageDisk
from tests.guest_files import KINDS, MangledDisk, image, walk
from tests.guest_prints import BLOCK, Printed
from tests.nbd_parts import MemoryDisk
from tests.patience import HANG
from vmkeep.errors import CorruptError
from vmkeep.guest.filesystems import open_file_system
from vmkeep.guest.volumes.parts import JoinedDisk, Part, StripedDisk
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, FileKind
from vmkeep.model.prints import UNKNOWN, prints_of
from vmkeep.model.samefiles import same_content

MIB = 1 << 20
IN_PLACE = ["exfat", "ext3-plain", "ext4-csum", "ntfs", "xfs-log"]
"""Images with files that lie on the disk as they are."""


class Unread:
    """A file system of which no content may be opened."""

    def __init__(self, files):
        self.prints = files.prints

    def open(self, path):
        raise AssertionError(f"{path} is read")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


def place_of_one(image_path, contents):
    """Choose a content that lies in an image as it is, and nowhere twice. Return its path, and a place within it."""
    with image_path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        for path in random.Random(7).sample(sorted(contents), len(contents)):
            head = contents[path][:4096]
            if (
                len(head) > 64
                and any(head)
                and (place := raw.find(head)) >= 0
                and raw.find(head, place + len(head)) < 0
            ):
                return path, place + 32
    raise AssertionError("no content lies in the image as it is")


@pytest.mark.parametrize("name", ["btrfs-odd", "ext4-odd", *IN_PLACE])
def test_the_prints_of_equal_disks_leave_no_doubt(folder, name):
    disk, kind = Printed(ImageDisk(image(name, folder))), KINDS[name]
    with open_file_system(disk, kind, what="disk0") as old, open_file_system(disk, kind, what="disk0") as new:
        entries = [entry for entry in walk(old) if entry.kind == "file"]
        assert entries
        assert all(same_content(Unread(old), entry, Unread(new), entry) for entry in entries)


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_byte_that_changes_below_the_file_system_changes_its_file_and_no_other(folder, name):
    disk, kind = ImageDisk(image(name, folder)), KINDS[name]
    with open_file_system(Printed(disk), kind, what="disk0") as old:
        entries = {entry.path: entry for entry in walk(old) if entry.kind == "file" and entry.size < MIB}
        contents = {path: old.open(path).readall() for path in entries}
        path, place = place_of_one(image(name, folder), contents)
        other = bytes([contents[path][32] ^ 0xFF])
        with open_file_system(Printed(MangledDisk(disk, [(place, other)])), kind, what="disk0") as new:
            after = {each: new.open(each).readall() for each in contents}
            assert after[path] != contents[path]
            for each, entry in entries.items():
                assert same_content(old, entry, new, new.entry(each)) == (after[each] == contents[each]), each


def test_a_file_of_btrfs_with_two_copies_is_the_same_only_if_one_of_them_is_right(tmp_path):
    tree, path = tmp_path / "tree", tmp_path / "disk"
    tree.mkdir()
    content = random.Random(3).randbytes(70_000)
    (tree / "file").write_bytes(content)
    with path.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", "-d", "dup", "-r", tree, path], check=True, capture_output=True, timeout=HANG)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        places = [raw.find(content[:4096]), raw.rfind(content[:4096])]
    assert 0 < places[0] < places[1]

    def opened(*damaged):
        disk = MangledDisk(ImageDisk(path), [(place + 100, b"wrong") for place in damaged])
        return open_file_system(Printed(disk), "btrfs", what="disk0")

    with opened() as good, opened(places[0]) as first, opened(places[1]) as second, opened(*places) as none:
        entry = good.entry("/file")
        for one, other in itertools.product((good, first, second), repeat=2):
            assert same_content(one, entry, other, entry)
        for one in (first, second):  # a copy has the prints that it had, but the other one is gone
            with pytest.raises(CorruptError, match="wrong checksum"):
                same_content(one, entry, none, entry)


class EndlessRanges:
    """A file of very many ranges whose prints nobody knows, of which a byte differs in the first one."""

    def __init__(self, content):
        self._content = content

    def prints(self, _path):
        for at in range(0, 1 << 40, 2 * BLOCK):
            assert at < 16 * BLOCK, "all ranges are listed"
            yield Extent(at, at + BLOCK), UNKNOWN

    def open(self, _path):
        return io.BytesIO(self._content)


def test_only_one_range_of_a_file_is_in_memory_at_a_time():
    entry = FileEntry(path="/a", kind=FileKind.FILE, size=1 << 40, modified=None)
    old, new = EndlessRanges(bytes(BLOCK)), EndlessRanges(b"x" * BLOCK)

    assert not same_content(old, entry, new, entry)


@given(st.data())
def test_parts_and_stripes_tell_the_prints_of_the_bytes_that_they_read(data):
    noise = random.Random(data.draw(st.integers(0, 99)))
    below = [Printed(MemoryDisk(noise.randbytes(4 * BLOCK) + bytes(4 * BLOCK))) for _ in range(3)]
    striped = StripedDisk(below, stripe=data.draw(st.sampled_from([512, 4096, 16384])), what="striped")
    joined = JoinedDisk([Part(striped, 1024, 40960), Part(None, 0, 5000), Part(below[0], 512, 9000)], what="joined")
    start = data.draw(st.integers(0, joined.capacity - 1))
    stop = data.draw(st.integers(start + 1, joined.capacity))
    every = [each.block(at) for each in below for at in range(0, 8 * BLOCK, BLOCK)]
    blocks = {hashlib.sha256(block).digest(): block for block in every}

    told = b""
    for extent, known in prints_of(joined, start, stop):
        assert extent.start == start + len(told)
        block = blocks[known.digest][known.offset :] if known.digest else bytes(extent.length)
        told += block[: extent.length]

    read = bytearray(stop - start)
    joined.read_into(start, memoryview(read))
    assert told == read
