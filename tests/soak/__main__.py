"""A soak: many processes on two repositories, killed, stopped, with wrong clocks; see docs/architecture/maintenance.md.

python -m tests.soak --seconds 600 --seed 7
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.schedule import schedule
from tests.soak.world import Result, Soak


def main() -> int:
    """Run one; the exit code says whether anything happened that must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long processes are started")
    parser.add_argument("--seed", type=int, default=1, help="draws the same schedule again")
    parser.add_argument("--at-once", type=int, default=8, help="processes at the same time")
    parser.add_argument("--left-for", type=float, default=4.0, help="the margin of that name, in seconds")
    parser.add_argument("--folder", type=Path, help="for the repositories, which stay there; else they are removed")
    given = parser.parse_args()
    fates = schedule(given.seed, left_for=given.left_for, pace=0.15)
    with tempfile.TemporaryDirectory() as temporary:
        soak = Soak(given.folder or Path(temporary), left_for=given.left_for, encrypted=given.seed % 2 == 0)
        result = soak.run(fates, seconds=given.seconds, at_once=given.at_once)
    show(result, given.seed)
    return 1 if result.faults else 0


def show(result: Result, seed: int) -> None:
    """Print the figures, and then each fault."""
    prunes = sum(number for action, number in result.processes.items() if action.startswith("prune"))
    rows = [
        ("seed", seed),
        ("seconds", round(result.seconds)),
        ("processes", sum(result.processes.values())),
        *(
            (f"  {action}", f"{number}, {result.finished[action]} to the end")
            for action, number in sorted(result.processes.items())
        ),
        ("kills", result.kills),
        ("stops", result.stops),
        ("prunes", prunes),
        ("points sealed", result.sealed),
        ("points compared", f"{result.compared}, each twice, {result.disks} disks in all"),
        ("points forgotten while they were copied", result.lost_races),
        *((f"error of {kind}", number) for kind, number in sorted(result.errors.items())),
        ("faults", len(result.faults)),
    ]  # fmt: skip
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value}")
    for fault in result.faults:
        print(f"FAULT  {fault}")


if __name__ == "__main__":
    sys.exit(main())
