"""Rows of figures as a table, and as JSON. Knows nothing of how they came about."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.measure import GIB, MIB, Figure


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the project wants to reach, and what was seen."""

    what: str
    wanted: str
    seen: str


@dataclass(slots=True, kw_only=True)
class Row:
    """A task, and the cost to each contestant."""

    name: str
    title: str
    size: int
    """Bytes that rates and CPU seconds per GiB are about."""
    of: str
    """The meaning of these bytes, in words."""
    against: str = "vmkeep zstd"
    """The contestant by whose times those of the others are divided."""
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """By contestant, where theirs is another than ``size``."""
    lines: list[str] = field(default_factory=list)
    """Tables of another form."""
    notes: list[str] = field(default_factory=list)

    findings: list[Finding] = field(default_factory=list)

    def add(self, contestant: str, figure: Figure) -> None:
        """Add one measurement; those of one round have the same place in their lists."""
        self.figures.setdefault(contestant, []).append(figure)

    def best(self, contestant: str) -> Figure:
        """Return the fastest of a contestant's figures."""
        return min(self.figures[contestant], key=lambda figure: figure.wall)

    def ratio(self, contestant: str, to: str) -> float | None:
        """Return the median of a contestant's wall time divided by another's, round by round."""
        pairs = zip(self.figures.get(contestant, ()), self.figures.get(to, ()), strict=False)
        ratios = [one.wall / other.wall for one, other in pairs]
        return statistics.median(ratios) if ratios else None


def markdown(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of one table for each row."""
    for row in rows:
        yield f"### {row.title}"
        yield ""
        if row.figures:
            yield f"Rates and CPU seconds per GiB are of {row.size / MIB:,.0f} MiB: {row.of}."
            yield ""
            yield from _table(row)
            yield ""
        yield from row.lines
        for note in row.notes:
            yield f"- {note}"
        if row.notes:
            yield ""


def _table(row: Row) -> Iterator[str]:
    heads = ["", "min s", "median s", "user s", "system s", "CPU s/GiB", "MiB/s", "peak MiB", "stored MiB"]
    with_ratio = row.against in row.figures and len(row.figures) > 1
    if with_ratio:
        heads = [*heads, f"time / {row.against}"]
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" + "---:|" * (len(heads) - 1)
    for name, figures in row.figures.items():
        wall = _median(figures, lambda f: f.wall)
        size = row.sizes.get(name, row.size)
        cells = [
            name, f"{min(f.wall for f in figures):.2f}", f"{wall:.2f}",
            f"{_median(figures, lambda f: f.user):.2f}", f"{_median(figures, lambda f: f.system):.2f}",
            f"{_median(figures, lambda f: f.cpu) / (size / GIB):.2f}", f"{size / MIB / wall:,.0f}",
            f"{max(f.memory for f in figures) / MIB:.0f}",
            f"{figures[-1].stored / MIB:,.1f}" if figures[-1].stored else "",
        ]  # fmt: skip
        ratio = row.ratio(name, row.against) if with_ratio else None
        yield "| " + " | ".join([*cells, f"{ratio:.2f}"] if ratio is not None else [*cells, ""][: len(heads)]) + " |"


def _median(figures: list[Figure], what: Callable[[Figure], float]) -> float:
    return statistics.median(what(figure) for figure in figures)


def plain(rows: list[Row]) -> list[dict[str, Any]]:
    """Return the rows as JSON takes them."""
    return [asdict(row) for row in rows]
