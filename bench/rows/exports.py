"""A disk of a point written in each format, beside ``image export`` and what ``qemu-img`` needs for the same image.

``qemu-img`` reads the disk from a raw file in memory, and neither decompresses nor checks a digest. Nothing is read
back, because ``image export`` does not either.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.contestant import remove
from bench.disk import BenchDisk
from bench.measure import Command, Stopwatch, say, touch_memory
from bench.programs import VMKEEP, has
from bench.report import Row

_SUBFORMATS = {
    "flat": "monolithicFlat",
    "thin": "monolithicSparse",
    "2gbsparse": "twoGbMaxExtentSparse",
    "stream": "streamOptimized",
}
"""QEMU's words for the kinds of VMDK."""
_FORMATS = ("raw", "qcow2", *_SUBFORMATS)
_AGAINST = "image export"


@dataclass(frozen=True, slots=True)
class ExportRow:
    """The exports of one disk."""

    stopwatch: Stopwatch
    disk: BenchDisk
    folder: Path

    def run(self, rounds: int) -> list[Row]:
        """Return the row ``exports``."""
        repository, out = self.folder / "exports", self.folder / "exported"
        where = ["--repository", str(repository), "--json"]
        subprocess.run([VMKEEP, "repo", "init", *where], check=True, capture_output=True)
        take = ["image", "import", *where, str(self.disk.image), "--name", "disk"]
        subprocess.run([VMKEEP, *take], check=True, capture_output=True)
        row = Row(name="exports", title="Export of a disk", size=self.disk.allocated, of="allocated data",
                  against=_AGAINST)  # fmt: skip
        for number in range(rounds):
            say(f"exports, round {number + 1} of {rounds} …")
            for name, argv in self._commands(where, out):
                out.mkdir()
                touch_memory(self.disk.allocated)
                row.add(name, self.stopwatch.run(Command(argv=argv)))
                remove(out)
        remove(repository)
        return [row]

    def _commands(self, where: list[str], out: Path) -> Iterator[tuple[str, list[str]]]:
        yield _AGAINST, [VMKEEP, "image", "export", *where, "latest:disk", str(out / "disk.raw")]
        for form in _FORMATS:
            export = ["point", "export", *where, "latest:disk", "--format", form, "--verify", "none"]
            yield f"point export {form}", [VMKEEP, *export, "--out", str(out)]
            if has("qemu-img"):
                kind = (
                    ["-O", form] if form in ("raw", "qcow2") else ["-O", "vmdk", "-o", f"subformat={_SUBFORMATS[form]}"]
                )
                image = str(out / f"disk.{'vmdk' if form in _SUBFORMATS else form}")
                yield (
                    f"qemu-img convert {form}",
                    ["qemu-img", "convert", "-f", "raw", *kind, str(self.disk.image), image],
                )
