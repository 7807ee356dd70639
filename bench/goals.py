"""What the project wants to reach, next to what was seen. Never a verdict by exit code: machines differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from report import Row

_OURS = "vmkeep zstd"


@dataclass(frozen=True, slots=True)
class Goal:
    """How many times as fast as another a contestant is to be: the other's time divided by its own."""

    row: str
    other: str
    at_least: float
    ours: str = _OURS


_GOALS = (
    Goal("full", "limit (C)", 0.95),
    Goal("full", "restic", 5),
    Goal("full", "borg 4 MiB", 2.5),
    Goal("full", "borg 256 KiB", 2.5),
    Goal("full", "qemu-img -c zstd", 2.5),
    Goal("full", "limit (C)", 0.95 * 0.9, "vmkeep encrypted"),
    Goal("full", "restic", 4.5, "vmkeep encrypted"),
    Goal("full", "cp --sparse", 0.8, "vmkeep none"),
    Goal("clone", "restic", 9),
    Goal("clone", "borg 4 MiB", 5),
    Goal("incremental", "restic", 25),
    Goal("incremental", "borg 4 MiB", 12),
    Goal("restore", "limit (C)", 0.9),
    Goal("restore", "restic", 3),
    Goal("restore", "borg 4 MiB", 3),
    Goal("restore", "qemu-img -c zstd", 1.5),
    Goal("overwrite", "limit (C)", 0.9),
    Goal("overwrite", "qemu-img -c zstd", 1.5),
    Goal("verify", "restic", 4),
    Goal("verify", "borg 4 MiB", 4),
)


def goals(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of a table of all goals that this run has figures for."""
    by_name = {row.name: row for row in rows}
    lines = [line for goal in _GOALS if goal.row in by_name and (line := _line(goal, by_name[goal.row]))]
    lines += _backup_and_restore(by_name)
    if lines:
        yield from ("### Goals", "", "Times of the other divided by ours: median of all rounds, minima, CPU seconds.")
        yield from ("", "| | is to be | median | minima | CPU |", "|---|---:|---:|---:|---:|", *lines, "")


def _line(goal: Goal, row: Row) -> str | None:
    speed = row.ratio(goal.other, goal.ours)
    if speed is None:
        return None
    theirs, ours = row.figures[goal.other], row.figures[goal.ours]
    best = min(f.wall for f in theirs) / min(f.wall for f in ours)
    cpu = min(f.cpu for f in theirs) / min(f.cpu for f in ours)
    name = f"{goal.row}: {goal.ours} against {goal.other}"
    return f"| {name} | ≥ {goal.at_least:.3g} | {speed:.2f} | {best:.2f} | {cpu:.2f} |"


def _backup_and_restore(rows: dict[str, Row]) -> list[str]:
    if not {"full", "restore"} <= rows.keys():
        return []
    pairs = list(zip(rows["full"].figures[_OURS], rows["restore"].figures[_OURS], strict=True))
    speeds = sorted(full.wall / restore.wall for full, restore in pairs)
    best = min(full.wall for full, _ in pairs) / min(restore.wall for _, restore in pairs)
    return [f"| restore against full: {_OURS} | ≥ 1 | {speeds[len(speeds) // 2]:.2f} | {best:.2f} | |"]
