"""The goals of the project beside the measured numbers. Never a verdict by exit code, because machines differ."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from bench.contestant import STEPS
from bench.measure import MIB
from bench.report import Finding, Row

_OURS = "vmkeep zstd"
_UNCHANGED_SECONDS = 0.3
_MEMORY = 256


@dataclass(frozen=True, slots=True)
class Goal:
    """The wanted speed-up over another contestant: the other's time divided by its own."""

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
    Goal("full", "vmkeep zstd", 0.9, "vmkeep encrypted"),
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
    *(
        Goal("exports", "image export", 0.8, f"point export {form}")
        for form in ("raw", "qcow2", "flat", "thin", "2gbsparse")
    ),
)


def goals(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of a table of all goals that this run has figures for."""
    by_name = {row.name: row for row in rows}
    found = [found for goal in _GOALS if goal.row in by_name and (found := _compare(goal, by_name[goal.row]))]
    found += [*_limits(by_name), *_backup_and_restore(by_name), *(each for row in rows for each in row.findings)]
    if found:
        yield from (
            "### Goals",
            "",
            "Speeds: the other's time divided by ours, the median of the rounds; in brackets that",
        )
        yield from ("of the minima, and that of CPU seconds.", "", "| | wanted | seen |", "|---|---:|---:|")
        yield from (f"| {each.what} | {each.wanted} | {each.seen} |" for each in found)
        yield ""


def _compare(goal: Goal, row: Row) -> Finding | None:
    speed = row.ratio(goal.other, goal.ours)
    if speed is None:
        return None
    best = row.best(goal.other).wall / row.best(goal.ours).wall
    cpu = min(f.cpu for f in row.figures[goal.other]) / min(f.cpu for f in row.figures[goal.ours])
    what = f"{goal.row}: {goal.ours} against {goal.other}"
    return Finding(what, f"≥ {goal.at_least:.3g}", f"{speed:.2f} ({best:.2f}, {cpu:.2f})")


def _limits(rows: dict[str, Row]) -> Iterator[Finding]:
    """Yield what is bounded by itself."""
    if "unchanged" in rows:
        wall = rows["unchanged"].best(_OURS).wall
        yield Finding(f"unchanged: {_OURS}", f"≤ {_UNCHANGED_SECONDS} s", f"{wall:.2f} s")
    if own := [figure.memory for name in STEPS if name in rows for figure in rows[name].figures[_OURS]]:
        yield Finding(f"peak memory of every step: {_OURS}", f"≤ {_MEMORY} MiB", f"{max(own) / MIB:.0f} MiB")


def _backup_and_restore(rows: dict[str, Row]) -> Iterator[Finding]:
    if {"full", "restore"} <= rows.keys():
        pairs = list(zip(rows["full"].figures[_OURS], rows["restore"].figures[_OURS], strict=True))
        speed = statistics.median(full.wall / restore.wall for full, restore in pairs)
        best = rows["full"].best(_OURS).wall / rows["restore"].best(_OURS).wall
        yield Finding(f"restore against full backup: {_OURS}", "≥ 1", f"{speed:.2f} ({best:.2f})")
