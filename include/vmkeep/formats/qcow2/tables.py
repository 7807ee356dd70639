"""Finds the place of each part of the disk in a qcow2 file, by its L1 and L2 tables."""

from __future__ import annotations

import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum

from vmkeep.errors import UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.formats.qcow2.header import COPIED, Header
from vmkeep.formats.qcow2.numbers import unpacked
from vmkeep.lateclass import dataclass

_PLACE = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_ZERO = 1
_CACHE = 16 << 20
"""Bytes of L2 tables that are kept."""
_PARTS = 32
"""Parts of a cluster with a state of their own, in images with extended L2 entries."""


class Kind(Enum):
    """The state of a part of the disk by the tables."""

    DATA = "data"
    """Its bytes are in the file."""
    COMPRESSED = "compressed"
    """Its cluster is compressed in the file."""
    ZEROES = "zeroes"
    """It reads as zeros, whatever a backing file holds."""
    NOWHERE = "nowhere"
    """The backing file holds it; without one it reads as zeros."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the disk, within one cluster or within neighbours that are neighbours in the file, too."""

    kind: Kind
    start: int
    stop: int
    place: int = 0
    """Where ``DATA`` begins in the file; the L2 entry of a ``COMPRESSED`` cluster."""


class Tables:
    """The tables of one image. Thread-safe."""

    def __init__(self, file: ImageFile, header: Header) -> None:
        self._file = file
        self._header = header
        self._version = header.version
        self._reach = header.table_entries * header.cluster
        self._l1 = unpacked(file.read(header.l1_offset, header.l1_entries * 8))
        tables = [entry & _PLACE for entry in self._l1 if entry & _PLACE]
        if len(set(tables)) != len(tables):
            raise UsageError(
                f"{file.name}: is damaged: one of its tables stands for several parts of the disk; 'qemu-img check' "
                "tells more"
            )
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, array[int]] = OrderedDict()
        self._most = max(4, _CACHE // header.cluster)

    def parts(self, start: int, stop: int) -> Iterator[Part]:
        """Yield the parts that cover a range of the disk, in order.

        :raises UsageError: an entry points to a place that cannot be.
        """
        held: Part | None = None
        for part in self._single(start, stop):
            if held is not None and _goes_on(held, part):
                held = Part(held.kind, held.start, part.stop, held.place)
                continue
            if held is not None:
                yield held
            held = part
        if held is not None:
            yield held

    def stored(self) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of the clusters of the disk that the file holds, in order, quickly."""
        zero = _ZERO if self._version > 2 and not self._header.extended else 0
        for region in range(len(self._l1)):
            base = region * self._reach
            table = self._table(region) if base < self._header.size else None
            if table is None:
                continue
            if not self._header.extended and _all_plain(table):
                yield base, min(base + self._reach, self._header.size)
                continue
            if self._header.extended:
                parts = self.parts(base, min(base + self._reach, self._header.size))
                yield from ((part.start, part.stop) for part in parts if part.kind in (Kind.DATA, Kind.COMPRESSED))
                continue
            for start, entry in zip(range(base, self._header.size, self._header.cluster), table, strict=False):
                if entry & _COMPRESSED or (entry & _PLACE and not entry & zero):
                    yield start, min(start + self._header.cluster, self._header.size)

    def _single(self, start: int, stop: int) -> Iterator[Part]:
        cluster = self._header.cluster
        while start < stop:
            region, inside = divmod(start, self._reach)
            end = min(stop, (region + 1) * self._reach)
            table = self._table(region)
            if table is None:
                yield Part(Kind.NOWHERE, start, end)
                start = end
                continue
            for number in range(inside // cluster, -(-(end - region * self._reach) // cluster)):
                first = region * self._reach + number * cluster
                begin, until = max(start, first), min(end, first + cluster)
                if self._header.extended:
                    yield from self._subparts(first, begin, until, table[2 * number], table[2 * number + 1])
                else:
                    yield self._part(first, begin, until, table[number])
            start = end

    def _part(self, first: int, start: int, stop: int, entry: int) -> Part:
        if entry & _COMPRESSED:
            return Part(Kind.COMPRESSED, start, stop, entry)
        if entry & _ZERO and self._version > 2:
            return Part(Kind.ZEROES, start, stop)
        if place := entry & _PLACE:
            return Part(Kind.DATA, start, stop, self._sound(place, first) + start - first)
        return Part(Kind.NOWHERE, start, stop)

    def _subparts(self, first: int, start: int, stop: int, entry: int, states: int) -> Iterator[Part]:
        """Yield the parts of a cluster whose second word tells which of them are stored, and which are zeros."""
        if entry & _COMPRESSED:
            yield Part(Kind.COMPRESSED, start, stop, entry)
            return
        size = self._header.cluster // _PARTS
        place = self._sound(entry & _PLACE, first) if states & 0xFFFF_FFFF else 0
        for number in range((start - first) // size, -(-(stop - first) // size)):
            at = first + number * size
            begin, end = max(start, at), min(stop, at + size)
            if states >> number & 1:
                if not place:
                    raise self._wrong(first, 0)
                yield Part(Kind.DATA, begin, end, place + begin - first)
            elif states >> (_PARTS + number) & 1:
                yield Part(Kind.ZEROES, begin, end)
            else:
                yield Part(Kind.NOWHERE, begin, end)

    def _sound(self, place: int, first: int) -> int:
        if place % self._header.cluster or place >= self._file.size:
            raise self._wrong(first, place)
        return place

    def _wrong(self, first: int, place: int) -> UsageError:
        return UsageError(
            f"{self._file.name}: is damaged or cut off: byte {first} of the disk would lie at byte {place} of "
            f"{self._file.size}; 'qemu-img check' tells more"
        )

    def _table(self, region: int) -> array[int] | None:
        """Return the entries of an L2 table; ``None``: there is none."""
        place = self._l1[region] & _PLACE
        if not place:
            return None
        with self._lock:
            if (found := self._kept.get(place)) is not None:
                self._kept.move_to_end(place)
                return found
        self._sound(place, region * self._reach)
        table = unpacked(self._file.read(place, self._header.cluster))
        with self._lock:
            self._kept[place] = table
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return table


def _all_plain(table: array[int]) -> bool:
    """Return whether each cluster of a table lies in the file uncompressed, at the speed of C.

    Compressed clusters lack the bit ``COPIED``, which is the highest one, and zero clusters have the lowest one.
    """
    return min(table) >= COPIED | 1 << 9 and not any(_low_bytes(table))


def _low_bytes(table: array[int]) -> bytes:
    return table.tobytes()[0 if sys.byteorder == "little" else 7 :: 8]


def _goes_on(held: Part, part: Part) -> bool:
    if held.kind is not part.kind or held.kind is Kind.COMPRESSED:
        return False
    return held.kind is not Kind.DATA or held.place + held.stop - held.start == part.place
