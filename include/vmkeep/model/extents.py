"""Half-open byte ranges and the set algebra over them.

A *normal* sequence of extents is sorted, disjoint and free of touching neighbours; every function here
returns one, and the binary ones expect them. All run in O(n + m).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Extent:
    """Bytes ``start`` (inclusive) to ``stop`` (exclusive) of a disk."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        """Hold what every reader relies on: not negative, not empty."""
        if not 0 <= self.start < self.stop:
            raise ValueError(f"not an extent: [{self.start}, {self.stop})")

    @property
    def length(self) -> int:
        """Bytes covered."""
        return self.stop - self.start


def coalesce(extents: Iterable[Extent]) -> tuple[Extent, ...]:
    """Return the same bytes as a normal sequence."""
    merged: list[Extent] = []
    for extent in sorted(extents):
        if merged and extent.start <= merged[-1].stop:
            if extent.stop > merged[-1].stop:
                merged[-1] = Extent(merged[-1].start, extent.stop)
        else:
            merged.append(extent)
    return tuple(merged)


def intersect(left: Sequence[Extent], right: Sequence[Extent]) -> tuple[Extent, ...]:
    """Return the bytes that are in both."""
    result: list[Extent] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start = max(left[i].start, right[j].start)
        stop = min(left[i].stop, right[j].stop)
        if start < stop:
            result.append(Extent(start, stop))
        if left[i].stop <= right[j].stop:
            i += 1
        else:
            j += 1
    return tuple(result)


def complement(extents: Sequence[Extent], within: int) -> tuple[Extent, ...]:
    """Return the bytes of ``[0, within)`` that are not in ``extents``."""
    result: list[Extent] = []
    at = 0
    for extent in extents:
        if extent.start >= within:
            break
        if extent.start > at:
            result.append(Extent(at, extent.start))
        at = max(at, extent.stop)
    if at < within:
        result.append(Extent(at, within))
    return tuple(result)


def subtract(left: Sequence[Extent], right: Sequence[Extent]) -> tuple[Extent, ...]:
    """Return the bytes of ``left`` that are not in ``right``."""
    return intersect(left, complement(right, left[-1].stop)) if left else ()


def align_out(extents: Iterable[Extent], unit: int, *, within: int) -> tuple[Extent, ...]:
    """Grow every extent to whole units, clipped to ``[0, within)``."""
    return coalesce(
        Extent(extent.start // unit * unit, min(within, -(-extent.stop // unit) * unit))
        for extent in extents
        if extent.start < within
    )


def total(extents: Iterable[Extent]) -> int:
    """Return the number of bytes in a normal sequence."""
    return sum(extent.length for extent in extents)


def split(extents: Iterable[Extent], unit: int) -> Iterator[Extent]:
    """Yield pieces of at most ``unit`` bytes that never cross a multiple of ``unit``."""
    for extent in extents:
        start = extent.start
        while start < extent.stop:
            stop = min(extent.stop, (start // unit + 1) * unit)
            yield Extent(start, stop)
            start = stop


def to_pairs(extents: Iterable[Extent]) -> list[list[int]]:
    """Return ``[[start, length], …]``, the form that leaves the process."""
    return [[extent.start, extent.length] for extent in extents]


def from_pairs(pairs: Iterable[Sequence[int]]) -> tuple[Extent, ...]:
    """Parse ``[[start, length], …]`` in bytes; empty ranges are dropped.

    :raises ValueError: for anything that is not a pair of non-negative whole numbers.
    """
    extents: list[Extent] = []
    for pair in pairs:
        if len(pair) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in pair):
            raise ValueError(f"not a [start, length] pair of bytes: {pair!r}")
        if pair[1]:
            extents.append(Extent(pair[0], pair[0] + pair[1]))
    return coalesce(extents)
