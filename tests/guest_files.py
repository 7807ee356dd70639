"""Real file systems for tests, kept compressed in ``fixtures/filesystems``, and their files with their digests."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tests.guest_disks import unpack
from vmkeep.guest.filesystems import open_file_system
from vmkeep.model.blockio import RandomDisk
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem

FOLDER: Final = Path(__file__).parent / "fixtures" / "filesystems"
KINDS: Final = {
    "btrfs-log": "btrfs",
    "btrfs-odd": "btrfs",
    "exfat": "exfat",
    "ext3-plain": "ext3",
    "ext4-csum": "ext4",
    "ext4-datajournal": "ext4",
    "ext4-fast": "ext4",
    "ext4-odd": "ext4",
    "ntfs": "ntfs",
    "xfs-dirty": "xfs",
    "xfs-frozen": "xfs",
    "xfs-log": "xfs",
    "xfs-odd": "xfs",
}
"""The images, with the kinds of their file systems."""
_DIGEST: Final = 64


class PartOfDisk:
    """A range of a disk as a disk; see :class:`vmkeep.model.blockio.RandomDisk`."""

    def __init__(self, disk: RandomDisk, start: int, length: int) -> None:
        self.capacity = length
        self._disk = disk
        self._start = start

    def read_into(self, start: int, buffer: memoryview) -> None:
        if start + len(buffer) > self.capacity:
            raise ValueError("beyond the partition")
        self._disk.read_into(self._start + start, buffer)

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        if start < stop:
            yield Extent(start, stop), True


class MangledDisk:
    """A disk on which some bytes are others; see :class:`vmkeep.model.blockio.RandomDisk`."""

    def __init__(self, disk: RandomDisk, changes: Iterable[tuple[int, bytes]]) -> None:
        self.capacity = disk.capacity
        self._disk = disk
        self._changes = list(changes)

    def read_into(self, start: int, buffer: memoryview) -> None:
        self._disk.read_into(start, buffer)
        for place, value in self._changes:
            low, high = max(start, place), min(start + len(buffer), place + len(value))
            if low < high:
                buffer[low - start : high - start] = value[low - place : high - place]

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        if start < stop:
            yield Extent(start, stop), True


def image(name: str, folder: Path) -> Path:
    """Unpack an image of ``fixtures/filesystems`` into a folder, unless it is there."""
    path = folder / f"{name}.raw"
    if not path.exists():
        unpack(FOLDER / f"{name}.raw.zst", path)
    return path


def read_sums(path: Path) -> dict[str, str]:
    """Return the digests in a file that ``sha256sum`` wrote, by paths from the root on."""
    lines = (line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines() if "  " in line)
    return {name[1:]: digest for digest, name in lines if len(digest) == _DIGEST}


def walk(files: GuestFileSystem, path: str = "/") -> Iterator[FileEntry]:
    """Yield all entries below a folder."""
    for entry in files.entries(path):
        yield entry
        if entry.kind is FileKind.FOLDER:
            yield from walk(files, entry.path)


def sums_of(files: GuestFileSystem) -> dict[str, str]:
    """Return the digest of each file, by its path."""
    found = {}
    for entry in walk(files):
        if entry.kind is FileKind.FILE:
            content = files.open(entry.path).readall()
            assert len(content) == entry.size
            found[entry.path] = hashlib.sha256(content).hexdigest()
    return found


def sums_of_disk(disk: RandomDisk, kind: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the digests of all files on a disk, and the warnings of its file system."""
    with open_file_system(disk, kind, what="disk0p1") as files:
        return sums_of(files), files.warnings


def assert_same_tree(disk: RandomDisk, kind: str, tree: Path, *, attributes: bool = True) -> None:
    """Compare a file system with the folder that its files came from, whatever a FileEntry tells."""
    with open_file_system(disk, kind, what="disk0p1") as files:
        seen = set()
        for entry in walk(files):
            if entry.path == "/lost+found":
                continue
            real = tree / entry.path[1:]
            seen.add(real)
            _assert_same(files, entry, real)
            if attributes and entry.kind is not FileKind.SYMLINK:
                assert files.attributes(entry.path) == {name: os.getxattr(real, name) for name in os.listxattr(real)}
    assert seen == set(tree.rglob("*"))


def _assert_same(files: GuestFileSystem, entry: FileEntry, real: Path) -> None:
    status = real.lstat()
    assert entry.mode == stat.S_IMODE(status.st_mode), entry
    assert (entry.uid, entry.gid) == (status.st_uid, status.st_gid), entry
    if entry.kind is FileKind.FILE:
        content = real.read_bytes()
        assert files.open(entry.path).readall() == content, entry.path
        holes = content
        for extent in reversed(list(files.data_extents(entry.path))):
            holes = holes[: extent.start] + holes[extent.stop :]
        assert not holes.strip(b"\0"), "data lies outside of the extents"
    if entry.kind is FileKind.SYMLINK:
        assert entry.target == str(real.readlink())
