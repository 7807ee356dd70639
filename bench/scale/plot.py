"""Draws curves over time as an SVG file, in panels below each other. Knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 900, 150, 70, 30, 50
_POINTS = 600
"""Points of a curve; more samples than that are thinned out, and each point is the largest of its samples."""
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Curves that share an axis."""

    title: str
    curves: Mapping[str, Sequence[float]]
    """Values by name, each as many as there are times."""
    limit: float | None = None
    """A line that no curve should cross."""


def svg(times: Sequence[float], panels: Sequence[Panel]) -> str:
    """Return the drawing."""
    height = _TOP + len(panels) * (_HEIGHT + _GAP)
    size = f'width="{_LEFT + _WIDTH + 20}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(times, panel, _TOP + number * (_HEIGHT + _GAP))
    return "\n".join([*parts, "</svg>", ""])


def _panel(times: Sequence[float], panel: Panel, top: int) -> list[str]:
    highest = max([panel.limit or 0.0, *(max(values, default=0.0) for values in panel.curves.values())]) or 1.0
    last = max(times[-1] - times[0], 1.0)
    bottom = top + _HEIGHT
    parts = [
        f'<text x="{_LEFT}" y="{top - 8}" font-weight="bold">{escape(panel.title)}</text>',
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>',
        f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end">{highest:g}</text>',
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{_LEFT}" y="{bottom + 14}">0 s</text>',
        f'<text x="{_LEFT + _WIDTH}" y="{bottom + 14}" text-anchor="end">{last:.0f} s</text>',
    ]
    if panel.limit is not None:
        y = bottom - panel.limit / highest * _HEIGHT
        ends = f'x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}"'
        parts.append(f'<line {ends} stroke="#d62728" stroke-dasharray="6 4"/>')
    for number, (name, values) in enumerate(panel.curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = " ".join(
            f"{_LEFT + (at - times[0]) / last * _WIDTH:.1f},{bottom - value / highest * _HEIGHT:.1f}"
            for at, value in _thinned(times, values)
        )
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
        x = _LEFT + 200 + number * 100
        parts.append(f'<text x="{x}" y="{top - 8}" fill="{colour}">{escape(name)}</text>')
    return parts


def _thinned(times: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    step = max(1, len(times) // _POINTS)
    return [(times[at], max(values[at : at + step])) for at in range(0, len(times), step)]
