"""The fidelity matrix: VMs of every kind are backed up, destroyed, restored and compared, property by property.

python -m tests.fidelity --rows 220 --page docs/architecture/fidelity.md
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.fidelity.dimensions import VALUES, go_together
from tests.fidelity.page import render
from tests.fidelity.pairs import drawn, pairwise
from tests.fidelity.runner import Numbered, run_part


def main() -> int:
    """Run the matrix, print its table, and write its page; the exit code says whether a property was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.fidelity", description=__doc__)
    parser.add_argument("--rows", type=int, default=220, help="VMs; fewer than all pairs of values need are the first")
    parser.add_argument(
        "--whole", type=int, help="VMs that are backed up and restored; the others are only made again (default: all)"
    )
    parser.add_argument("--processes", type=int, default=2, help="labs at the same time")
    parser.add_argument("--page", type=Path, help="the page to write")
    given = parser.parse_args()
    rows: list[Mapping[str, str]] = [*pairwise(VALUES, go_together)]
    paired = len(rows)
    rows = [*rows, *drawn(VALUES, go_together, max(0, given.rows - paired))][: given.rows]
    whole = len(rows) if given.whole is None else given.whole
    parts: list[Numbered] = [list(enumerate(rows))[part :: given.processes] for part in range(given.processes)]
    with ProcessPoolExecutor(given.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        outcomes = [outcome for part in pool.map(partial(run_part, whole=whole), parts) for outcome in part]
    page = render(outcomes, paired=paired, whole=whole)
    print(page)
    lost = [(outcome, line) for outcome in outcomes for line in outcome.unexpected]
    for outcome, line in lost:
        print(f"LOST  {line}\n      {dict(outcome.row)}")
    if given.page is not None and not lost:
        given.page.write_text(page, encoding="utf-8")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
