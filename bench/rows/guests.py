"""The check of LVM: restore points of a guest with four disks, two of them a volume group of real LVM.

The whole process checks one point after the other, each through a fresh view, so that no block is in a cache of ours.
Files of the repository are in the system's cache, as they are for a check right after a backup.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import zstandard

from bench.contestant import remove
from bench.measure import Command, Stopwatch, say
from bench.programs import VMKEEP
from bench.report import Finding, Row

_DRIVER = Path(__file__).parents[1] / "drivers" / "lvm_check.py"
_DISKS = Path(__file__).parents[2] / "tests" / "fixtures" / "guest"
_NAMES = ("ia", "ib", "vi", "vgpt")
_POINTS = 20


@dataclass(frozen=True, slots=True)
class GuestRow:
    """Checks of the guests in restore points."""

    stopwatch: Stopwatch
    folder: Path

    def run(self, rounds: int) -> list[Row]:
        """Return the row ``guest``."""
        repository = self.folder / "guest"
        images = [self._unpack(name) for name in _NAMES]
        size = sum(image.stat().st_size for image in images)
        row = Row(name="guest", title=f"LVM of {_POINTS} guests with 4 disks each", size=_POINTS * size, of="disks")
        where = ["--repository", str(repository), "--json"]
        _call("repo", "init", *where)
        for number in range(_POINTS):
            _call("image", "import", *where, *map(str, images), "--name", f"vm{number}")
        check = [sys.executable, str(_DRIVER), str(repository)]
        for number in range(rounds):
            say(f"guest, round {number + 1} of {rounds} …")
            row.add("check of LVM, with the start of the process", self.stopwatch.run(Command(argv=check)))
        told = json.loads(subprocess.run(check, check=True, capture_output=True).stdout)
        row.notes.append(
            f"{told['median']:.1f} ms for the median guest and {told['slowest']:.1f} ms for the slowest one; "
            f"{told['bytes_per_disk'] / 1024:.0f} KiB read of each disk"
        )
        row.findings.append(Finding("LVM check of a guest with 4 disks", "≤ 1 s", f"{told['slowest'] / 1000:.3f} s"))
        remove(repository, *images)
        return [row]

    def _unpack(self, name: str) -> Path:
        image = self.folder / f"{name}.raw"
        with (_DISKS / f"{name}.raw.zst").open("rb") as packed, image.open("wb") as out:
            zstandard.ZstdDecompressor().copy_stream(packed, out)
        return image


def _call(*arguments: str) -> None:
    subprocess.run([VMKEEP, *arguments], check=True, capture_output=True)
