"""Segments whose digest ranges do not overlap, looked up as one: a *row* of the index.

Maintenance merges a large index into many segments with disjoint digest ranges. If a look-up asked all of them, a miss
would cost as much as there are segments. A row asks only the one segment whose range holds the digest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Protocol, TypeVar

from vmkeep.repository.index.layout import Location
from vmkeep.repository.index.segments import Segment

if TYPE_CHECKING:
    from vmkeep.repository.index.columns import I64, U8


class Ranged(Protocol):
    """Something whose entries lie in a range of digests."""

    @property
    def entries(self) -> int:
        """The number of entries."""

    @property
    def first(self) -> int:
        """Lowest prefix."""

    @property
    def last(self) -> int:
        """Highest prefix."""


R = TypeVar("R", bound=Ranged)


class DisjointSegments:
    """Segments with disjoint ranges, in order. Thread-safe."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = tuple(segments)
        self.entries = sum(segment.entries for segment in segments)
        self._firsts = [segment.first for segment in segments]

    @property
    def finder(self) -> Callable[[int, bytes], Location | None]:
        """The function for a look-up. If the row has only one segment, it is that of the segment."""
        return self.segments[0].find_at if len(self.segments) == 1 else self.find_at

    def find_at(self, prefix: int, digest: bytes) -> Location | None:
        """Return where a digest's frame is, or ``None``; ``prefix`` is the number in the digest's first 8 bytes."""
        at = bisect_right(self._firsts, prefix) - 1
        return self.segments[at].find_at(prefix, digest) if at >= 0 else None

    def holds(self, prefix: int, digest: bytes) -> bool:
        """Return whether a digest is listed, for callers that do not need its place."""
        at = bisect_right(self._firsts, prefix) - 1
        return at >= 0 and self.segments[at].holds(prefix, digest)

    def find_all(self, digest: bytes) -> Iterator[Location]:
        """Yield every place that is listed for a digest."""
        at = bisect_right(self._firsts, int.from_bytes(digest[:8], "big")) - 1
        return self.segments[at].find_all(digest) if at >= 0 else iter(())

    def find_many(self, digests: U8) -> Iterator[tuple[int, Location]]:
        """Yield which of ``digests``, uint8[n, 32], this row lists, and their places."""
        import numpy as np

        from vmkeep.repository.index.columns import prefixes_of

        prefixes = prefixes_of(digests)
        parts = np.searchsorted(np.array(self._firsts, np.uint64), prefixes, side="right") - 1
        order = np.argsort(parts, kind="stable")
        starts = np.searchsorted(parts[order], np.arange(len(self.segments) + 1)).tolist()
        for segment, start, stop in zip(self.segments, starts, starts[1:], strict=False):
            if start < stop:
                yield from _found(segment, digests, order[start:stop])


def _found(segment: Segment, digests: U8, asked: I64) -> Iterator[tuple[int, Location]]:
    """Look up some digests, chosen by their numbers, in one segment."""
    if len(asked) <= segment.few:
        for number in asked.tolist():
            if (location := segment.find(digests[number].tobytes())) is not None:
                yield number, location
        return
    rows = segment.rows(digests[asked])
    hits = (rows >= 0).nonzero()[0]
    yield from zip(asked[hits].tolist(), segment.locations(rows[hits]), strict=True)
    segment.release()


def disjoint_lists(segments: Iterable[Segment]) -> list[DisjointSegments]:
    """Put segments into as few rows as their ranges allow, the one with the most entries first."""
    return sorted((DisjointSegments(row) for row in without_overlap(segments)), key=lambda row: -row.entries)


def without_overlap(segments: Iterable[R]) -> list[list[R]]:
    """Split segments into the fewest lists in which no two digest ranges overlap."""
    rows: list[list[R]] = []
    ends: list[tuple[int, int]] = []
    for segment in sorted(filter(lambda segment: segment.entries, segments), key=lambda segment: segment.first):
        if ends and ends[0][0] < segment.first:
            number = heappop(ends)[1]
            rows[number].append(segment)
        else:
            number = len(rows)
            rows.append([segment])
        heappush(ends, (segment.last, number))
    return rows
