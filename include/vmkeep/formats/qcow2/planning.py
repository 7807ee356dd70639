"""Plans a qcow2 image of version 3, with clusters of 64 KiB and without compression.

The file's clusters, in order: the header; the refcount table, with room for a fully written disk; refcount blocks; the
L1 table; an L2 table for each 512 MiB that hold data; and the data, in the order of the disk.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from vmkeep.errors import UnsupportedError
from vmkeep.formats.layout import PlannedFile, Run
from vmkeep.formats.qcow2.header import COPIED, Header
from vmkeep.formats.qcow2.numbers import packed
from vmkeep.model.extents import Extent, align_out, coalesce, split, total

_BITS = 16
_CLUSTER = 1 << _BITS
_ENTRIES = _CLUSTER // 8
"""Entries of a table that fills one cluster."""
_REACH = _ENTRIES * _CLUSTER
"""Bytes of the disk that one L2 table describes."""
_COUNTS = _CLUSTER // 2
"""Reference counts in a refcount block."""
_SPARE = 64
"""Clusters of the header and the refcount table, at most."""
_MOST = (32 << 20) // 8 * _REACH
"""Largest disk, in bytes: QEMU opens no L1 table of more than 32 MiB."""


def plan_qcow2(name: str, capacity: int, stored: Iterable[Extent]) -> Qcow2Layout:
    """Plan the image of a disk.

    :param name: the file's name.
    :param capacity: bytes, whole sectors.
    :param stored: the extents of the disk that hold data. All others become holes that read as zeros.
    :raises UnsupportedError: the disk is too large for the format.
    """
    if capacity > _MOST:
        raise UnsupportedError(f"{name}: a qcow2 image holds {_MOST >> 50} PiB at most, and the disk is larger")
    return Qcow2Layout(name, capacity, stored)


class Qcow2Layout:
    """The plan of a qcow2 image; see :class:`vmkeep.formats.layout.Layout`."""

    def __init__(self, name: str, capacity: int, stored: Iterable[Extent]) -> None:
        self.capacity = capacity
        whole = _up(capacity, _CLUSTER) * _CLUSTER
        self._clusters = align_out(coalesce(stored), _CLUSTER, within=whole)
        self._tables = array("L", self._regions())
        data = total(self._clusters) // _CLUSTER
        self._l1_entries = max(1, _up(capacity, _REACH))
        l1 = _up(self._l1_entries, _ENTRIES)
        most = whole // _CLUSTER + self._l1_entries + l1 + _SPARE
        self._refcount_table = _up(_up(most, _COUNTS - 1), _ENTRIES)
        fixed = 1 + self._refcount_table + l1 + len(self._tables) + data
        self._blocks = _up(fixed, _COUNTS - 1)  # because a block counts itself, too
        self._used = fixed + self._blocks
        self._l1 = 1 + self._refcount_table + self._blocks
        self._l2 = self._l1 + l1
        self._starts = array("Q", (start for start, _ in self._clusters.pairs()))
        self._places = array("Q", self._placed())
        self.files: Sequence[PlannedFile] = (PlannedFile(name=name, size=self._used * _CLUSTER),)

    def runs(self) -> Iterator[Run]:
        """Yield the tables, then the data."""
        yield self._given(0, self._header().pack())
        table = range(1 + self._refcount_table, 1 + self._refcount_table + self._blocks)
        yield from self._table(1, (number * _CLUSTER for number in table))
        counts = b"\0\1" * _COUNTS
        for number in table:
            left = self._used - (number - table.start) * _COUNTS
            yield self._given(number, counts[: 2 * min(left, _COUNTS)])
        yield from self._table(self._l1, self._l1_table())
        for at, entries in enumerate(self._l2_tables(), self._l2):
            yield self._given(at, packed(entries))
        for extent, place in zip(self._clusters, self._places, strict=True):
            yield self._taken(extent.start, min(extent.stop, self.capacity), place)

    def place(self, start: int, length: int) -> Iterator[Run]:
        """Yield where a part of the disk lies.

        :raises ValueError: the part is not in the extents that the layout was planned from.
        """
        stop = start + length
        at = bisect_right(self._starts, start) - 1
        while start < stop:
            extent = self._clusters[at] if 0 <= at < len(self._clusters) else None
            if extent is None or not extent.start <= start < extent.stop:
                raise ValueError(f"byte {start} of the disk has no place in {self.files[0].name}")
            end = min(stop, extent.stop)
            yield self._taken(start, end, self._places[at] + start - extent.start)
            start, at = end, at + 1

    def _header(self) -> Header:
        return Header(
            cluster_bits=_BITS,
            size=self.capacity,
            l1_entries=self._l1_entries,
            l1_offset=self._l1 * _CLUSTER,
            refcounts_offset=_CLUSTER,
            refcounts_clusters=self._refcount_table,
        )

    def _regions(self) -> Iterator[int]:
        """Yield the numbers of the 512 MiB that hold data."""
        last = -1
        for start, stop in self._clusters.pairs():
            yield from range(max(last + 1, start // _REACH), (last := (stop - 1) // _REACH) + 1)

    def _placed(self) -> Iterator[int]:
        """Yield each extent's place in the file."""
        at = (self._l2 + len(self._tables)) * _CLUSTER
        for start, stop in self._clusters.pairs():
            yield at
            at += stop - start

    def _l1_table(self) -> Iterator[int]:
        at = 0
        for place, region in enumerate(self._tables, self._l2):
            yield from (0 for _ in range(at, region))
            yield place * _CLUSTER | COPIED
            at = region + 1

    def _l2_tables(self) -> Iterator[array[int]]:
        """Yield the entries of each L2 table that there is."""
        at = (self._l2 + len(self._tables)) * _CLUSTER
        for _, extents in groupby(split(self._clusters, _REACH), key=lambda extent: extent.start // _REACH):
            entries = array("Q", bytes(_CLUSTER))
            for extent in extents:
                first = extent.start % _REACH // _CLUSTER
                places = range(at | COPIED, (at + extent.length) | COPIED, _CLUSTER)
                entries[first : first + len(places)] = array("Q", places)
                at += extent.length
            yield entries

    def _table(self, cluster: int, entries: Iterator[int]) -> Iterator[Run]:
        """Yield a table of any length, a cluster at a time."""
        for at, number in enumerate(_packed(entries), cluster):
            yield self._given(at, number)

    def _given(self, cluster: int, data: bytes) -> Run:
        return Run(file=0, offset=cluster * _CLUSTER, length=len(data), data=data)

    def _taken(self, start: int, stop: int, place: int) -> Run:
        return Run(file=0, offset=place, length=stop - start, start=start)


def _packed(entries: Iterator[int]) -> Iterator[bytes]:
    held = array("Q")
    for entry in entries:
        held.append(entry)
        if len(held) == _ENTRIES:
            yield packed(held)
            held = array("Q")
    if held:
        yield packed(held)


def _up(amount: int, unit: int) -> int:
    return -(-amount // unit)
