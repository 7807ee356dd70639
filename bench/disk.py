"""Makes the disk that the benchmark copies: real files of this system in an ext4, noise, and holes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
_FOLDERS = ("/usr/lib", "/usr/share", "/usr/bin", "/usr/include")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchDisk:
    """The images, and what was changed from one to the next."""

    full: Path
    clone: Path
    """``full`` with 5 % of its data rewritten, as a machine that was cloned from a template."""
    changed: Path
    """``full`` with 1 to 2 % rewritten."""
    extents: list[tuple[int, int]]
    """Start and length of what differs between ``full`` and ``changed``, rounded out to 64 KiB as CBT does."""
    allocated: int


def make_disk(folder: Path, *, size_mib: int, seed: int = 1) -> BenchDisk:
    """Make the images in ``folder``: about 40 % allocated, an eighth of that noise."""
    chance = random.Random(seed)  # noqa: S311
    full = folder / "full.raw"
    _make_file_system(folder, full, size_mib=size_mib, used=int(size_mib * 0.35) * MIB)
    with full.open("r+b") as file:
        at = int(size_mib * 0.9) * MIB  # beyond what mke2fs fills, so that the noise lies in what was a hole
        for _ in range(size_mib // 20):
            file.seek(at)
            file.write(chance.randbytes(MIB))
            at += MIB
    clone, changed = folder / "clone.raw", folder / "changed.raw"
    for copy in (clone, changed):
        subprocess.run(["cp", "--sparse=always", full, copy], check=True)
    allocated = full.stat().st_blocks * 512
    _rewrite(clone, chance, size=allocated // 20)
    extents = _rewrite(changed, chance, size=allocated // 70)
    return BenchDisk(full=full, clone=clone, changed=changed, extents=extents, allocated=allocated)


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


def _rewrite(image: Path, chance: random.Random, *, size: int) -> list[tuple[int, int]]:
    """Overwrite about ``size`` bytes, in runs of 4 to 256 KiB scattered over what is allocated."""
    unit = 64 << 10
    touched: set[int] = set()
    with image.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        left = size
        while left > 0:
            length = chance.choice((4, 8, 16, 64, 128, 256)) << 10
            at = os.lseek(file.fileno(), chance.randrange(end * 4 // 10) // 4096 * 4096, os.SEEK_DATA)
            at = at // 4096 * 4096
            if at + length > end:
                continue
            file.seek(at)
            file.write(chance.randbytes(length // 2) + bytes(range(256)) * (length // 512))
            left -= length
            touched.update(range(at // unit, (at + length - 1) // unit + 1))
    return [(number * unit, min(unit, end - number * unit)) for number in sorted(touched)]
