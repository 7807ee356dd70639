"""Files out of a restore point: the listing of a hundred thousand, and one of a gibibyte, in a real ext4.

Beside ``image export`` of the same point in the same round, because a fetched file should cost little more than the
same bytes of a disk. The reading process opens the repository, the volume and its file system. The command writes the
file, too, and reads it back, which an export does not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.contestant import remove
from bench.measure import GIB, Command, Stopwatch, say
from bench.programs import VMKEEP
from bench.report import Finding, Row

_DRIVER = Path(__file__).parents[1] / "drivers" / "files.py"
_EXPORT = "vmkeep image export"
_FETCH = "the file, read"
_GET = "point files get"
_LIST = "100,000 files, listed"
_FOLDERS, _IN_EACH = 100, 1000


@dataclass(frozen=True, slots=True)
class FilesRow:
    """A point of one disk with an ext4."""

    stopwatch: Stopwatch
    folder: Path

    def run(self, rounds: int) -> list[Row]:
        """Return the row ``files``."""
        repository, image, out = (self.folder / name for name in ("files", "files.raw", "files.out"))
        self._make(image)
        row = Row(name="files", title="Files out of an ext4", size=GIB, of="data", against=_EXPORT)
        where = ["--repository", str(repository), "--json"]
        _call("repo", "init", *where)
        _call("image", "import", *where, str(image), "--name", "disk")
        for number in range(rounds):
            say(f"files, round {number + 1} of {rounds} …")
            export = [VMKEEP, "image", "export", *where, "latest:disk", str(out)]
            row.add(_EXPORT, self.stopwatch.run(Command(argv=export, output=out)))
            remove(out)
            row.add(_FETCH, self.stopwatch.run(Command(argv=_drive("read", repository))))
            get = [VMKEEP, "point", "files", "get", *where, "latest:disk", "disk0:/large", str(out)]
            row.add(_GET, self.stopwatch.run(Command(argv=get, output=out)))
            remove(out)
            row.add(_LIST, self.stopwatch.run(Command(argv=_drive("list", repository))))
        told = json.loads(subprocess.run(_drive("list", repository), check=True, capture_output=True).stdout)
        row.notes.append(f"{told['entries']:,} entries listed with all that is known of each")
        row.findings.append(Finding(f"{_FETCH} against {_EXPORT}", "≥ 0.5", f"{row.ratio(_EXPORT, _FETCH):.2f}"))
        row.findings.append(Finding(f"{_GET} against {_EXPORT}", "≥ 0.4", f"{row.ratio(_EXPORT, _GET):.2f}"))
        remove(repository, image)
        return [row]

    def _make(self, image: Path) -> None:
        """Make an ext4 with empty files in folders, and one file of a gibibyte that nothing can compress."""
        tree = self.folder / "files.tree"
        for folder in range(_FOLDERS):
            (tree / f"folder-{folder:02}").mkdir(parents=True)
            for number in range(_IN_EACH):
                (tree / f"folder-{folder:02}" / f"file-number-{number:04}").touch()
        with (tree / "large").open("wb") as file:
            for _ in range(GIB >> 20):
                file.write(os.urandom(1 << 20))
        with image.open("wb") as file:
            file.truncate(2 * GIB)
        make = ["mke2fs", "-q", "-F", "-t", "ext4", "-N", "150000", "-d", str(tree), str(image)]
        subprocess.run(make, check=True, capture_output=True)
        remove(tree)


def _drive(way: str, repository: Path) -> list[str]:
    return [sys.executable, str(_DRIVER), way, str(repository), "latest:disk"]


def _call(*arguments: str) -> None:
    subprocess.run([VMKEEP, *arguments], check=True, capture_output=True)
