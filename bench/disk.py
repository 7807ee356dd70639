"""Makes the disk that is copied: real files of this system in an ext4, noise, and holes; and changes it in place."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
_FOLDERS = ("/usr/lib", "/usr/share", "/usr/bin", "/usr/include")
_CBT = 64 << 10


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes written over others."""

    start: int
    before: bytes
    after: bytes


class BenchDisk:
    """One image that is in one of three states; going from one to another is not part of any measurement.

    ``full``: as made. ``clone``: 5 % of its data rewritten, as a machine that was cloned from a template. ``changed``:
    1 to 2 % rewritten. Only what differs is kept, so that memory holds one disk and not three.
    """

    def __init__(self, image: Path, changes: dict[str, list[Change]]) -> None:
        self.image = image
        self.capacity = image.stat().st_size
        self.allocated = image.stat().st_blocks * 512
        self._changes = {"full": [], **changes}
        self._state = "full"
        self.extents = {name: _tracked(changes, self.capacity) for name, changes in self._changes.items()}
        """By state: start and length of what differs from ``full``, rounded out to 64 KiB as CBT does."""

    def become(self, state: str) -> None:
        """Rewrite the image to be in that state."""
        if state == self._state:
            return
        with self.image.open("r+b", buffering=0) as file:
            for change in reversed(self._changes[self._state]):
                os.pwrite(file.fileno(), change.before, change.start)
            for change in self._changes[state]:
                os.pwrite(file.fileno(), change.after, change.start)
        self._state = state

    def write_extents(self, state: str) -> Path:
        """Write the extents of a state as the import takes them, and return the file."""
        path = self.image.with_name(f"extents-{state}.json")
        path.write_text(json.dumps(self.extents[state]), encoding="ascii")
        return path

    def changed_blocks(self, state: str, size: int) -> list[int]:
        """Return the numbers of the blocks of that size that differ from ``full``."""
        return sorted(
            {
                block
                for change in self._changes[state]
                for block in range(change.start // size, -(-(change.start + len(change.after)) // size))
            }
        )


def make_disk(folder: Path, *, size_mib: int, seed: int = 1) -> BenchDisk:
    """Make the image in ``folder``: about 40 % allocated, an eighth of that noise."""
    chance = random.Random(seed)  # noqa: S311
    image = folder / "disk.raw"
    _make_file_system(folder, image, size_mib=size_mib, used=int(size_mib * 0.35) * MIB)
    with image.open("r+b") as file:
        file.seek(int(size_mib * 0.9) * MIB)  # beyond what mke2fs fills: the noise lies in what was a hole
        for _ in range(size_mib // 20):
            file.write(chance.randbytes(MIB))
    allocated = image.stat().st_blocks * 512
    changes = {
        "clone": _rewrite(image, chance, size=allocated // 20),
        "changed": _rewrite(image, chance, size=allocated // 70),
    }
    return BenchDisk(image, changes)


def write_part(image: Path, part: Path, capacity: int, *, shift: int = 0) -> int:
    """Write the beginning of an image, moved by some bytes; return how many bytes of data that are."""
    with image.open("rb") as source, part.open("wb") as target:
        target.truncate(capacity)
        target.seek(shift)
        left = capacity - shift
        while left:
            block = source.read(min(left, MIB))
            if block.count(0) == len(block):
                target.seek(len(block), os.SEEK_CUR)
            else:
                target.write(block)
            left -= len(block)
    return part.stat().st_blocks * 512


def _make_file_system(folder: Path, image: Path, *, size_mib: int, used: int) -> None:
    tree = folder / "tree"
    copied = 0
    for root in _FOLDERS:
        for at, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                source = Path(at) / name
                if source.is_symlink() or not source.is_file() or source.stat().st_size > 64 * MIB:
                    continue
                if copied >= used:
                    break
                target = tree / source.relative_to("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                copied += source.stat().st_size
    with image.open("wb") as file:
        file.truncate(size_mib * MIB)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, image], check=True)
    shutil.rmtree(tree)


def _rewrite(image: Path, chance: random.Random, *, size: int) -> list[Change]:
    """Plan to overwrite about ``size`` bytes, in runs of 4 to 256 KiB scattered over what is allocated."""
    changes: list[Change] = []
    with image.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        left = size
        taken: set[int] = set()
        while left > 0:
            length = chance.choice((4, 8, 16, 64, 128, 256)) << 10
            at = os.lseek(file.fileno(), chance.randrange(end * 4 // 10) // 4096 * 4096, os.SEEK_DATA)
            at = at // 4096 * 4096
            pages = range(at // 4096, (at + length) // 4096)
            hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            if at + length > min(end, hole) or not taken.isdisjoint(pages):
                continue
            taken.update(pages)
            data = chance.randbytes(length // 2) + bytes(range(256)) * (length // 512)
            changes.append(Change(at, os.pread(file.fileno(), length, at), data))
            left -= length
    return changes


def _tracked(changes: list[Change], end: int) -> list[tuple[int, int]]:
    touched = {
        unit
        for change in changes
        for unit in range(change.start // _CBT, (change.start + len(change.after) - 1) // _CBT + 1)
    }
    return [(unit * _CBT, min(_CBT, end - unit * _CBT)) for unit in sorted(touched)]
