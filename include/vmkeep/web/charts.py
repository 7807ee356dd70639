"""Draws charts as inline SVG. Colours come from the style sheet; each chart has its numbers in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vmkeep.lateclass import dataclass

_SPARK_WIDTH: Final = 84
_SPARK_HEIGHT: Final = 20
_BARS_HEIGHT: Final = 110
_BARS_WIDTH: Final = 720


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar of a chart: its place and size in units of the drawing, its class in the style sheet, and its words."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """A chart of bars, the oldest at the left."""

    width: int
    height: int
    bars: tuple[Bar, ...]
    words: str
    """The chart in one sentence."""


def sparkline(values: Sequence[int]) -> str:
    """Return the points of a line of some values, the oldest first, for ``polyline``; empty: too few values."""
    if len(values) < 2:
        return ""
    most = max(values) or 1
    step = (_SPARK_WIDTH - 4) / (len(values) - 1)
    height = _SPARK_HEIGHT - 4
    return " ".join(f"{2 + step * i:.1f},{2 + height * (1 - each / most):.1f}" for i, each in enumerate(values))


def bar_chart(values: Sequence[tuple[float, str, str]], words: str) -> BarChart | None:
    """Return a chart; ``None``: there is nothing to compare.

    :param values: height, class and words of each bar, the oldest first.
    """
    if len(values) < 2:
        return None
    most = max(value for value, _, _ in values) or 1
    step = min(_BARS_WIDTH / len(values), 48)
    bars = []
    for i, (value, kind, each) in enumerate(values):
        height = max(1.0, (_BARS_HEIGHT - 4) * value / most)
        bars.append(
            Bar(
                x=round(i * step, 2), y=round(_BARS_HEIGHT - height, 2), width=round(max(1.0, step - 2), 2),
                height=round(height, 2), kind=kind, words=each,
            )
        )  # fmt: skip
    return BarChart(width=_BARS_WIDTH, height=_BARS_HEIGHT, bars=tuple(bars), words=words)
