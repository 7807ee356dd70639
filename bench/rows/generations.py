"""Full, clone, incremental, unchanged; then restore and verify: by all contestants, interleaved, in every round."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from bench.contestant import BLOCK, STATES, STEPS, Contestant, remove
from bench.disk import BenchDisk
from bench.measure import MIB, Figure, Stopwatch, say, stored_bytes, touch_memory
from bench.ours import Vmkeep
from bench.report import Row
from bench.stores import blob_bytes, written

_TITLES = {
    "full": "Full backup",
    "clone": "Template clone, 5 % changed, no extents known",
    "incremental": "Incremental, 1 to 2 % changed (vmkeep knows the extents; the others re-read the disk)",
    "unchanged": "A disk without changes (vmkeep is told so; the others see that the file is as it was)",
    "restore": "Restore into a new file",
    "overwrite": "Restore into a file that has its space already",
    "verify": "Verify all bytes of the repository: three generations (the limit: one)",
}
_TOUCHED = {"full": 0.6, "clone": 0.2, "restore": 1.05}
"""Memory touched before a step, as a part of the disk's data; none where little is written."""
_FRAME = 48


@dataclass(slots=True)
class Generations:
    """The series of steps that build on each other."""

    stopwatch: Stopwatch
    disk: BenchDisk
    contestants: Sequence[Contestant]
    wanted: Sequence[str]
    """Rows to be shown. Steps that these need are done too."""

    def run(self, rounds: int) -> list[Row]:
        """Run all rounds and return the rows, in order."""
        steps = _needed(self.wanted)
        of = "what of the disk is allocated"
        rows = {step: Row(name=step, title=_TITLES[step], size=self.disk.allocated, of=of) for step in steps}
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: {', '.join(steps)} …")
            for contestant in self.contestants:
                contestant.prepare()
            for position, step in enumerate(steps):
                self._step(step, rows[step], later=set(steps[position + 1 :]), number=number)
        if "clone" in rows:
            need = _fixed_blocks_need(self.disk)
            rows["clone"].notes.append(f"fixed blocks of 256 KiB, zstd level 1, need {need / MIB:,.1f} MiB for it")
        return [rows[step] for step in steps if step in self.wanted]

    def _step(self, step: str, row: Row, *, later: set[str], number: int) -> None:
        self.disk.become(STATES.get(step, "changed"))
        first, turn = number == 0, number % len(self.contestants)  # nobody is always the first, or the last
        for contestant in (*self.contestants[turn:], *self.contestants[:turn]):
            if step in contestant.steps:
                ours = contestant.places[0] if isinstance(contestant, Vmkeep) and first else None
                before = blob_bytes(ours) if ours else None
                figure = self._measure(contestant, step, check=first)
                row.add(contestant.name, figure)
                say(f"  {step:12} {contestant.name:18} {figure.wall:7.2f} s, {figure.cpu:7.2f} s CPU")
                if ours and before is not None and step in ("clone", "incremental", "unchanged"):
                    row.notes.append(f"{contestant.name} wrote {written(before, blob_bytes(ours))[2]}")
            if not later & set(contestant.steps):
                remove(*contestant.places)  # makes room for the others

    def _measure(self, contestant: Contestant, step: str, *, check: bool) -> Figure:
        command = contestant.command(step, self.disk)
        before = stored_bytes(contestant.places)
        if step == "overwrite":
            _make_target(self.disk.image, contestant.out)
        touch_memory(int(self.disk.allocated * _TOUCHED.get(step, 0)))
        figure = self.stopwatch.run(command)
        if command.output is not None:
            if check:
                self._compare(command.output, contestant.restores, by=contestant.name)
            remove(contestant.out)
        return figure.holding(stored_bytes(contestant.places) - before)

    def _compare(self, restored: Path, state: str, *, by: str) -> None:
        """Fail if a restored disk is not what was backed up. Once is enough: later rounds do the same."""
        self.disk.become(state)
        if subprocess.run(["cmp", self.disk.image, restored], check=False).returncode:
            raise SystemExit(f"{by} restored something else than it had backed up")
        self.disk.become("changed")


def _needed(wanted: Sequence[str]) -> list[str]:
    needed = {"full", *wanted}
    if needed & {"restore", "overwrite", "verify", "unchanged"}:
        needed.add("incremental")
    if "verify" in needed:
        needed.add("clone")
    return [step for step in STEPS if step in needed]


def _make_target(image: Path, target: Path) -> None:
    """Give a target its space, and content that is not the right one everywhere."""
    subprocess.run(["cp", "--sparse=always", image, target], check=True)
    with target.open("r+b") as file:
        file.write(b"not what was backed up" * 1000)


def _fixed_blocks_need(disk: BenchDisk) -> int:
    """Return what storing the clone's changed blocks takes at least: compressed, with a header each."""
    compressor = zstandard.ZstdCompressor(level=1)
    disk.become("clone")
    total = 0
    with disk.image.open("rb") as file:
        for block in disk.changed_blocks("clone", BLOCK):
            file.seek(block * BLOCK)
            raw = file.read(BLOCK)
            total += _FRAME + min(len(raw), len(compressor.compress(raw)))
    return total
