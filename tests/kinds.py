"""The kinds of tests, the time that each may take, and the report of both at the end of a run.

The report informs only: a busy machine makes no test fail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Some folders of tests, and the seconds that all their tests may take, in four processes on two quiet cores."""

    name: str
    budget: int
    folders: tuple[str, ...]


KINDS: Final = (
    Kind(name="unit", budget=650, folders=("tests/unit/",)),
    Kind(name="contract", budget=65, folders=("tests/contract/", "tests/compat/")),
    Kind(name="airflow", budget=640, folders=("tests/integration/airflow/", "tests/dags/")),
    Kind(name="integration", budget=1770, folders=("tests/integration/", "tests/exports/")),
    Kind(name="faults", budget=320, folders=("tests/faults/",)),
    Kind(name="e2e", budget=155, folders=("tests/e2e/",)),
)
"""A test belongs to the first kind that has a folder of it. ``tests/README.md`` explains the budgets."""


def kind_of(nodeid: str) -> str:
    """Return the name of a test's kind."""
    return next((kind.name for kind in KINDS if nodeid.startswith(kind.folders)), "other")


def report(durations: Iterable[tuple[str, float]]) -> list[str]:
    """Return the lines of the report, one for each kind that has run.

    :param durations: a test's id and seconds, once for each of its phases.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    tests: dict[str, set[str]] = {}
    for nodeid, spent in durations:
        seconds[kind_of(nodeid)] += spent
        tests.setdefault(kind_of(nodeid), set()).add(nodeid)
    budgets: Mapping[str, int] = {kind.name: kind.budget for kind in KINDS}
    return [_line(name, len(tests[name]), seconds[name], budgets.get(name)) for name in sorted(seconds)]


def _line(name: str, tests: int, seconds: float, budget: int | None) -> str:
    line = f"{name:<12} {tests:>5} tests {seconds:>7.0f} s"
    if budget is None:
        return f"{line}, without a budget"
    return f"{line} of {budget:>5} s{', over budget' if seconds > budget else ''}"
