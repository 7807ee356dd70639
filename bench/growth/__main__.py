"""Prints the calls and bytes of single steps, as what is there grows by 4 and by 16.

    python -m bench.growth [--rows increment,latest,check] [--base 16]

CPU seconds are those of this process. The exponent is that of the growth: 0 is none, 1 is in proportion. Each row makes
a repository of its own in a folder below --dir.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from pathlib import Path
from typing import Final

from bench.growth import checks, finding, increments, locks, points, upkeep, vms
from bench.growth.stock import Counts, Row
from bench.programs import machine

_TIMES: Final = (1, 4, 16)

ROWS: Final[dict[str, Row]] = {
    "increment": increments.increment, "latest": finding.latest, "check": upkeep.check,
    "leftovers": increments.leftovers, "rebuild": finding.rebuild, "list": finding.listing,
    "sweeps": increments.sweeps, "point": points.one_point, "quality": points.quality,
    "checks": checks.checks, "merge": upkeep.merge, "capacity": upkeep.capacity,
    "locks": locks.locks, "vm": vms.whole_vm,
    "prune": upkeep.prune, "rule": upkeep.prune_by_a_rule, "deletion": upkeep.deletion, "marks": upkeep.marks,
}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS), help="of " + ", ".join(ROWS))
    parser.add_argument("--base", type=int, default=16, help="the smallest number of what is there (default: 16)")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    print(f"{machine()}\n\n| row | figure | " + " | ".join(f"{options.base * times:,}" for times in _TIMES), end="")
    print(" | exponent |\n|---|---|---|---|---|---|")
    for name in options.rows:
        found = [measured(ROWS[name], options.base * times, options.dir) for times in _TIMES]
        for figure in found[0]:
            told = [counts[figure] for counts in found]
            print(f"| `{name}` | {figure} | {' | '.join(map(shown, told))} | {exponent(told):.2f} |")


def measured(row: Row, size: int, folder: Path) -> Counts:
    """Return the figures of a row at one size, with a cache that nobody has used."""
    with tempfile.TemporaryDirectory(prefix="vmkeep-growth-", dir=folder) as made:
        os.environ["VMKEEP_CACHE"] = f"{made}/cache"
        return row(Path(made), size)


def exponent(values: list[float]) -> float:
    """Return the exponent with which the last value has grown from the first."""
    if not values[0] or not values[-1]:
        return 0.0
    return math.log(values[-1] / values[0]) / math.log(_TIMES[-1] / _TIMES[0])


def shown(value: float) -> str:
    """Return a figure with three digits at least."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
