"""Half-open byte ranges, and set operations on sequences of them.

A *normal* sequence of extents is sorted, and its extents neither overlap nor touch. Every function here returns such a
sequence, and functions of two sequences expect them. All run in O(n + m).

A disk may have millions of extents, so :class:`Extents` packs each into sixteen bytes. Extents that are only passed on
are an iterator and need no memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain, islice, starmap
from operator import le
from typing import TypeAlias, overload

Pair: TypeAlias = tuple[int, int]

MOST = 1 << 22
"""Most extents that :func:`gather` keeps apart; they need 64 MiB."""
_AT_ONCE = 1 << 16
"""Number of pairs that :func:`gather` takes before it looks whether it has too many extents."""
_LARGEST = 1 << 61
"""Largest offset or length, in bytes. No disk is larger."""


@dataclass(frozen=True, slots=True, order=True)
class Extent:
    """Bytes ``start`` (inclusive) to ``stop`` (exclusive) of a disk."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        """Require an extent that is not empty and does not begin below 0, because every reader relies on it."""
        if not 0 <= self.start < self.stop:
            raise ValueError(f"not an extent: [{self.start}, {self.stop})")

    @property
    def length(self) -> int:
        """The extent's length in bytes."""
        return self.stop - self.start


class Extents(Sequence[Extent]):
    """A normal sequence that needs sixteen bytes for each extent. It equals any sequence of the same extents."""

    __slots__ = ("_starts", "_stops")

    def __init__(self, extents: Iterable[Extent] = ()) -> None:
        """Pack extents that are sorted by their start. Join those that touch or overlap.

        :raises ValueError: an extent starts before the one ahead of it.
        """
        self._starts = array("Q")
        self._stops = array("Q")
        self.extend(_pairs(extents))

    @classmethod
    def of_pairs(cls, pairs: Iterable[Pair]) -> Extents:
        """Pack (start, stop) pairs that are sorted by their start."""
        packed = cls()
        packed.extend(pairs)
        return packed

    def extend(self, pairs: Iterable[Pair]) -> None:
        """Append (start, stop) pairs that are sorted by their start, while the sequence is being made."""
        starts, stops = self._starts, self._stops
        last = stops[-1] if stops else -1
        for start, stop in pairs:
            if start > last:
                starts.append(start)
                stops.append(stop)
                last = stop
            elif start < starts[-1]:
                raise ValueError(f"extents are out of order at byte {start}")
            elif stop > last:
                stops[-1] = last = stop

    def __len__(self) -> int:
        """Return the number of extents."""
        return len(self._starts)

    @overload
    def __getitem__(self, at: int) -> Extent: ...
    @overload
    def __getitem__(self, at: slice) -> Extents: ...
    def __getitem__(self, at: int | slice) -> Extent | Extents:
        """Return one extent, or a slice of them."""
        if isinstance(at, slice):
            return Extents.of_pairs(zip(self._starts[at], self._stops[at], strict=True))
        return Extent(self._starts[at], self._stops[at])

    def __iter__(self) -> Iterator[Extent]:
        """Yield the extents in order."""
        return map(Extent, self._starts, self._stops)

    def __eq__(self, other: object) -> bool:
        """Compare with any sequence of extents."""
        if isinstance(other, Extents):
            return self._starts == other._starts and self._stops == other._stops
        if isinstance(other, Sequence):
            return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))
        return NotImplemented

    def __hash__(self) -> int:
        """Return the hash of a tuple of the same extents, because this equals such a tuple."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Show the first few extents."""
        shown = ", ".join(f"[{extent.start}, {extent.stop})" for extent in self[:5])
        return f"Extents({shown}{', …' * (len(self) > 5)})"

    def pairs(self) -> Iterator[Pair]:
        """Yield the extents as (start, stop) pairs, which is faster than as :class:`Extent`."""
        return zip(self._starts, self._stops, strict=True)

    def joined(self, most: int) -> Extents:
        """Return at most ``most`` extents that cover these. Join the neighbours with the smallest gaps first."""
        sizes = [0] * 64
        for start, stop in zip(self._starts[1:], self._stops[:-1], strict=True):
            sizes[(start - stop).bit_length()] += 1
        kept, smallest = 1, 64
        while smallest and kept + sizes[smallest - 1] <= most:
            smallest -= 1
            kept += sizes[smallest]
        more = sizes[smallest - 1] if smallest else 0
        every = -(-more // (most - kept)) if more and kept < most else more + 1  # of these gaps, every n-th stays
        return Extents.of_pairs(self._joined(smallest, every))

    def _joined(self, smallest: int, every: int) -> Iterator[Pair]:
        held: Pair | None = None
        seen = 0
        for start, stop in self.pairs():
            if held is None:
                held = start, stop
                continue
            size = (start - held[1]).bit_length()
            seen += size == smallest - 1
            if size >= smallest or (size == smallest - 1 and seen % every == 0):
                yield held
                held = start, stop
            else:
                held = held[0], stop
        if held is not None:
            yield held


def _pairs(extents: Iterable[Extent]) -> Iterator[Pair]:
    return extents.pairs() if isinstance(extents, Extents) else ((each.start, each.stop) for each in extents)


def gather(pairs: Iterable[Pair]) -> Extents:
    """Pack (start, stop) pairs that are sorted by their start, in bounded memory. If there are very many, join some.

    Use it for extents to read, or extents that may hold data, because these may include a gap without harm.
    """
    found = Extents()
    left = iter(pairs)
    while (first := next(left, None)) is not None:
        found.extend(chain((first,), islice(left, _AT_ONCE)))
        if len(found) > MOST:
            found = found.joined(MOST // 2)
    return found


def coalesce(extents: Iterable[Extent]) -> Extents:
    """Return a normal sequence that covers the same bytes as some extents in any order."""
    return extents if isinstance(extents, Extents) else _sorted(_pairs(extents))


def _sorted(pairs: Iterable[Pair]) -> Extents:
    starts, stops = array("Q"), array("Q")
    for start, stop in pairs:
        starts.append(start)
        stops.append(stop)
    if all(map(le, starts, islice(starts, 1, None))):
        return Extents.of_pairs(zip(starts, stops, strict=True))
    order = sorted(range(len(starts)), key=starts.__getitem__)
    return Extents.of_pairs((starts[at], stops[at]) for at in order)


def overlaps(left: Iterable[Extent], right: Iterable[Extent]) -> Iterator[Extent]:
    """Yield the extents of the bytes that are in both of two normal sequences."""
    return starmap(Extent, _overlaps(_pairs(left), _pairs(right)))


def _overlaps(lefts: Iterator[Pair], rights: Iterator[Pair]) -> Iterator[Pair]:
    mine, its = next(lefts, None), next(rights, None)
    while mine is not None and its is not None:
        start = max(mine[0], its[0])
        stop = min(mine[1], its[1])
        if start < stop:
            yield start, stop
        if mine[1] <= its[1]:
            mine = next(lefts, None)
        else:
            its = next(rights, None)


def gaps(extents: Iterable[Extent], within: int) -> Iterator[Extent]:
    """Yield the extents of the bytes of ``[0, within)`` that are not in a normal sequence."""
    return starmap(Extent, _gaps(_pairs(extents), within))


def _gaps(pairs: Iterator[Pair], within: int) -> Iterator[Pair]:
    at = 0
    for start, stop in pairs:
        if start >= within:
            break
        if start > at:
            yield at, start
        at = max(at, stop)
    if at < within:
        yield at, within


def intersect(left: Iterable[Extent], right: Iterable[Extent]) -> Extents:
    """Return the bytes that are in both sequences."""
    return Extents.of_pairs(_overlaps(_pairs(left), _pairs(right)))


def unite(left: Iterable[Extent], right: Iterable[Extent]) -> Extents:
    """Return the bytes that are in either of two normal sequences, in bounded memory."""
    return Extents.of_pairs(merge(_pairs(left), _pairs(right)))


def complement(extents: Iterable[Extent], within: int) -> Extents:
    """Return the bytes of ``[0, within)`` that are not in ``extents``."""
    return Extents.of_pairs(_gaps(_pairs(extents), within))


def subtract(left: Sequence[Extent], right: Iterable[Extent]) -> Extents:
    """Return the bytes of ``left`` that are not in ``right``."""
    if not left:
        return Extents()
    return Extents.of_pairs(_overlaps(_pairs(left), _gaps(_pairs(right), left[-1].stop)))


def align_out(extents: Iterable[Extent], unit: int, *, within: int) -> Extents:
    """Grow every extent to whole units, clipped to ``[0, within)``."""
    grown = (
        (start // unit * unit, min(within, -(-stop // unit) * unit))
        for start, stop in _pairs(extents)
        if start < within
    )
    return Extents.of_pairs(grown) if isinstance(extents, Extents) else _sorted(grown)


def total(extents: Iterable[Extent]) -> int:
    """Return the number of bytes in a normal sequence."""
    return sum(stop - start for start, stop in _pairs(extents))


def split(extents: Iterable[Extent], unit: int) -> Iterator[Extent]:
    """Yield pieces of at most ``unit`` bytes that never cross a multiple of ``unit``."""
    for extent in extents:
        start = extent.start
        while start < extent.stop:
            stop = min(extent.stop, (start // unit + 1) * unit)
            yield Extent(start, stop)
            start = stop


def from_pairs(pairs: Iterable[Sequence[int]]) -> Extents:
    """Parse ``[[start, length], …]``, in bytes. Drop empty ranges.

    :raises ValueError: an item is not a pair of whole numbers from 0 up.
    """
    return _sorted((pair[0], pair[0] + pair[1]) for pair in map(_checked, pairs) if pair[1])


def _checked(pair: Sequence[int]) -> Sequence[int]:
    if len(pair) != 2 or not all(type(number) is int and 0 <= number <= _LARGEST for number in pair):
        raise ValueError(f"not a [start, length] pair of bytes: {pair!r}")
    return pair
