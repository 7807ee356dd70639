"""The places of a disk's stored grains, if they lie in a file one behind another in the disk's order."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from vmkeep.formats.vmdk.header import GRAIN
from vmkeep.model.extents import Extent, Pair, align_out, coalesce


class StoredGrains:
    """Counts the stored grains before any place of a disk. Needs 24 bytes for each extent."""

    def __init__(self, stored: Iterable[Extent], capacity: int) -> None:
        """Grow the extents to whole grains.

        :param stored: the extents that may hold data, a normal sequence.
        :param capacity: bytes of the disk.
        """
        self._starts, self._stops, self._before = array("Q"), array("Q"), array("Q")
        count = 0
        for start, stop in align_out(coalesce(stored), GRAIN, within=capacity).pairs():
            self._starts.append(start)
            self._stops.append(stop)
            self._before.append(count)
            count += -(-(stop - start) // GRAIN)
        self.count = count

    def before(self, place: int) -> int:
        """Return the number of stored grains before a place that is a multiple of the grain, or the disk's end."""
        at = bisect_right(self._starts, place) - 1
        if at < 0:
            return 0
        return self._before[at] + -(-(min(place, self._stops[at]) - self._starts[at]) // GRAIN)

    def within(self, start: int, stop: int) -> Iterator[Pair]:
        """Yield the stored (start, stop) pairs of a part of the disk, in order, clipped to it."""
        at = max(0, bisect_right(self._starts, start) - 1)
        while start < stop and at < len(self._starts) and self._starts[at] < stop:
            if self._stops[at] > start:
                yield max(start, self._starts[at]), min(stop, self._stops[at])
            at += 1
