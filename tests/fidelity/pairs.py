"""Chooses rows that hold every pair of values of any two dimensions. Pure, and the same rows each time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence

Row = Mapping[str, str]
Value = tuple[str, str]
"""A dimension and one of its values."""
Fits = Callable[[Row], bool]
"""Tells whether some values go together; a row may still lack dimensions."""

_TRIES = 24


def pairwise(dimensions: Mapping[str, Sequence[str]], fits: Fits, *, seed: int = 11) -> list[dict[str, str]]:
    """Return rows with every pair of values that go together, by the usual greedy way."""
    draw = random.Random(seed)
    left = possible_pairs(dimensions, fits)
    rows: list[dict[str, str]] = []

    def gain(row: Row, new: Value) -> int:
        return sum(tuple(sorted((new, old))) in left for old in row.items())

    while left:
        first = min(left)
        tries = [_filled(dict(first), dimensions, fits, gain, draw) for _ in range(_TRIES)]
        row = max((row for row in tries if row), key=lambda row: len(left & pairs_of(row)), default=None)
        if row is None:
            left.discard(first)  # no whole row can hold this pair
            continue
        rows.append(row)
        left -= pairs_of(row)
    return rows


def each_value_once(dimensions: Mapping[str, Sequence[str]], fits: Fits, *, seed: int = 11) -> list[dict[str, str]]:
    """Return few rows that hold each value of each dimension."""
    draw = random.Random(seed)
    left = {(name, value) for name, values in dimensions.items() for value in values}
    rows: list[dict[str, str]] = []

    def gain(_row: Row, new: Value) -> int:
        return new in left

    while left:
        start = min(left)
        row = _filled({start[0]: start[1]}, dimensions, fits, gain, draw)
        if row is None:
            raise ValueError(f"no row can hold {start}")
        rows.append(row)
        left -= {*row.items()}
    return rows


def drawn(dimensions: Mapping[str, Sequence[str]], fits: Fits, number: int, *, seed: int = 12) -> list[dict[str, str]]:
    """Return rows by chance, the same ones each time."""
    draw = random.Random(seed)
    rows: list[dict[str, str]] = []
    while len(rows) < number:
        row = _filled({}, dimensions, fits, lambda _row, _new: 0, draw)
        if row is not None:
            rows.append(row)
    return rows


def pairs_of(row: Row) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    """Return the pairs of values in a row."""
    first_and_second = itertools.combinations(sorted(row.items()), 2)
    return {(one, other) for one, other in first_and_second}


def possible_pairs(dimensions: Mapping[str, Sequence[str]], fits: Fits) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    """Return every pair of values that go together."""
    return {
        (min((one, left), (other, right)), max((one, left), (other, right)))
        for one, other in itertools.combinations(dimensions, 2)
        for left in dimensions[one]
        for right in dimensions[other]
        if fits({one: left, other: right})
    }


def _filled(
    row: dict[str, str],
    dimensions: Mapping[str, Sequence[str]],
    fits: Fits,
    gain: Callable[[Row, Value], int],
    draw: random.Random,
) -> dict[str, str] | None:
    """Fill a row, each time by the value with the highest gain; ``None``: it cannot be filled."""
    names = [name for name in dimensions if name not in row]
    draw.shuffle(names)
    for name in names:
        values = [value for value in dimensions[name] if fits({**row, name: value})]
        if not values:
            return None
        draw.shuffle(values)
        row[name] = max(values, key=lambda value: gain(row, (name, value)))
    return row
