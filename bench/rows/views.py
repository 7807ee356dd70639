"""A stored disk read as services read it: in its own order, through, over NBD, at random, and its first byte.

Each beside ``image export`` of the same point in the same round, which reads in the order of packs and writes a file.
The first byte is also that of a disk of 62 TiB with a block at each end, from the start of the process to its exit.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from bench.contestant import remove
from bench.disk import BenchDisk
from bench.measure import Command, Figure, Stopwatch, say, touch_memory
from bench.programs import VMKEEP
from bench.report import Finding, Row
from vmkeep.model.imagekeys import image_key
from vmkeep.repository import open_repository

_DRIVER = Path(__file__).parents[1] / "drivers" / "reading.py"
_EXPORT = "vmkeep image export"
_WAYS = {
    "in the order of the disk": "in-order",
    "a view, read through": "through",
    "served over NBD, nbdcopy to null": "served",
    "a striped logical volume, read through": "striped",
}
_HUGE = 62 << 40


@dataclass(frozen=True, slots=True)
class ViewRow:
    """Reads of one point."""

    stopwatch: Stopwatch
    disk: BenchDisk
    folder: Path

    def run(self, rounds: int) -> list[Row]:
        """Return the row ``view``."""
        row = Row(name="view", title="Reading a stored disk", size=self.disk.allocated, of="data", against=_EXPORT)
        repository, out = self.folder / "view", self.folder / "view.raw"
        where = ["--repository", str(repository), "--json"]
        _call("repo", "init", *where)
        _call("image", "import", *where, str(self.disk.image), "--name", "disk")
        _make_huge(repository)
        random: dict[str, list[dict[str, float]]] = {"random": [], "random-striped": []}
        for number in range(rounds):
            say(f"view, round {number + 1} of {rounds} …")
            touch_memory(self.disk.allocated)
            export = [VMKEEP, "image", "export", *where, "latest:disk", str(out)]
            row.add(_EXPORT, self.stopwatch.run(Command(argv=export, output=out)))
            remove(out)
            for name, way in _WAYS.items():
                row.add(name, self.stopwatch.run(Command(argv=_read(way, repository))))
            row.add(
                "the first byte of 62 TiB", self.stopwatch.run(Command(argv=_read("first-byte", repository, "huge")))
            )
            for way, measured in random.items():
                done = subprocess.run(_read(way, repository), check=True, capture_output=True)
                measured.append(json.loads(done.stdout))
        _judge(row, random)
        remove(repository)
        return [row]


def _make_huge(repository: Path) -> None:
    """Seal a point of a disk of 62 TiB with a block of the other at each end. No file system here takes such a file."""
    with open_repository(str(repository)) as opened:
        point = opened.latest_point(image_key("disk"))
        assert point is not None
        _, digest = next(opened.open_map(point.images[0].root).blocks())
        with opened.open_writer(run="huge") as writer:
            builder = opened.build_map(writer, capacity=_HUGE)
            builder.set(0, [digest])
            builder.set(builder.shape.blocks - 1, [digest])
            root = builder.store()
            writer.flush()
        vm = replace(point.vm, name="huge", key=image_key("huge"))
        images = (replace(point.images[0], root=root),)
        opened.seal(replace(point, id="f" * len(point.id), vm=vm, run="huge", images=images), begun=writer.begun)


def _read(way: str, repository: Path, name: str = "disk") -> list[str]:
    return [sys.executable, str(_DRIVER), way, str(repository), f"latest:{name}"]


def _judge(row: Row, random: dict[str, list[dict[str, float]]]) -> None:
    for name in _WAYS:
        ratio = row.ratio(_EXPORT, name)
        row.findings.append(Finding(f"{name} against {_EXPORT}", "≥ 0.5", f"{ratio:.2f}"))
    for way, where in (("random", ""), ("random-striped", " of a striped logical volume")):
        first, again = (statistics.median(each[which] for each in random[way]) for which in ("first", "again"))
        row.notes.append(
            f"4 KiB at random{where}: {first:.2f} ms for places not read before, {again:.3f} ms for cached"
        )
        row.findings.append(Finding(f"4 KiB at random{where}, cached", "< 5 ms", f"{again:.3f} ms"))
    byte: list[Figure] = row.figures["the first byte of 62 TiB"]
    row.findings.append(
        Finding(
            "the first byte of 62 TiB, with the start of the process", "< 2 s", f"{min(f.wall for f in byte):.2f} s"
        )
    )


def _call(*arguments: str) -> None:
    subprocess.run([VMKEEP, *arguments], check=True, capture_output=True)
