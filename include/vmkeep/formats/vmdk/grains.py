"""Looks grains up in the two levels of tables that every sparse extent has, without trusting an entry."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator
from enum import Enum, auto
from functools import lru_cache

from vmkeep.errors import UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.lateclass import dataclass
from vmkeep.model.extents import Pair

_TABLES_KEPT = 256
_MOST_GRAINS_SEEN = 1 << 28
"""Grains of a file up to which overlaps are looked for, at a byte of memory each. Only a delta disk of old ESXi hosts,
whose grains have one sector, can have more."""
LARGEST_DIRECTORY = 1 << 24
"""Bytes of a grain directory. At the usual sizes it describes 128 TiB."""


class Kind(Enum):
    """The place of a part of the disk."""

    DATA = auto()
    """In the file, as it is."""
    COMPRESSED = auto()
    """In the file, as a compressed grain behind a marker."""
    ZEROS = auto()
    """Nowhere, because it is zeros, whatever the parent holds."""
    NOWHERE = auto()
    """In the parent; without one it is zeros."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the extent, and its place."""

    start: int
    stop: int
    kind: Kind
    place: int = 0
    """Byte of the file at which the part begins. Of a compressed part: at which its grain's marker begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of an extent's tables."""

    length: int
    """Bytes of the disk in the extent."""
    grain: int
    """Bytes of a grain."""
    entries: int
    """Number of entries of a table."""
    width: int
    """Bytes of an entry: 4 or 8."""

    @property
    def covers(self) -> int:
        """The bytes of the disk that a table describes."""
        return self.grain * self.entries

    @property
    def tables(self) -> int:
        """The number of tables."""
        return -(-self.length // self.covers)


def read_numbers(file: ImageFile, offset: int, count: int, width: int) -> array[int]:
    """Read little-endian numbers of 4 or 8 bytes."""
    numbers = array("I" if width == 4 else "Q", file.read(offset, count * width))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def read_directory(file: ImageFile, offset: int, shape: Shape) -> array[int]:
    """Read a grain directory.

    :raises UsageError: it is larger than that of any disk, or lies beyond the file's end.
    """
    if shape.tables * shape.width > LARGEST_DIRECTORY:
        raise UsageError(f"{file.name}: is damaged: a disk of {shape.length} bytes would need {shape.tables} tables")
    return read_numbers(file, offset, shape.tables, shape.width)


class GrainTables:
    """The tables of a sparse extent. Thread-safe."""

    def __init__(
        self,
        file: ImageFile,
        shape: Shape,
        table_at: Callable[[int], int],
        decode: Callable[[int], tuple[Kind, int]],
    ) -> None:
        """Take the format's own rules.

        :param table_at: returns the byte of the file at which a table begins, by its number; 0: there is none.
        :param decode: returns kind and place of an entry's grain.
        """
        self._file = file
        self.shape = shape
        self._table_at = table_at
        self._decode = decode
        self._table = lru_cache(maxsize=_TABLES_KEPT)(self._read_table)

    def parts(self, start: int, stop: int) -> Iterator[Part]:
        """Yield the parts that cover a range of the extent, in order."""
        covers = self.shape.covers
        for number in range(start // covers, -(-stop // covers)):
            left, right = max(start, number * covers), min(stop, (number + 1) * covers)
            table = self._table(number)
            if table is None:
                yield Part(left, right, Kind.NOWHERE)
            else:
                yield from self._parts_of(table, number * self.shape.entries, left, right)

    def stored(self) -> Iterator[Pair]:
        """Yield the (start, stop) pairs that the file holds, in order.

        :raises UsageError: two grains overlap in the file, or more tables are named than it has room for.
        """
        shape = self.shape
        seen = _Seen(self._file, shape.grain)
        room = self._file.size // (shape.entries * shape.width)
        for number in range(shape.tables):
            table = self._read_table(number)
            if table is None:
                continue
            room -= 1
            if room < 0:
                raise UsageError(f"{self._file.name}: is damaged: it names more tables than it has room for")
            if not any(table):
                continue
            left = number * shape.covers
            for part in self._parts_of(table, number * shape.entries, left, min(shape.length, left + shape.covers)):
                if part.kind is Kind.DATA:
                    seen.add(part)
                if part.kind in (Kind.DATA, Kind.COMPRESSED):
                    yield part.start, part.stop

    def _parts_of(self, table: array[int], first: int, start: int, stop: int) -> Iterator[Part]:
        """Yield the parts of a range that one table describes. Neighbours in the file are one part."""
        grain, decode = self.shape.grain, self._decode
        began, kind, place = start, Kind.NOWHERE, 0
        number = start // grain
        for entry in table[number - first : -(-stop // grain) - first]:
            at = max(start, number * grain)
            its_kind, its_place = decode(entry)
            if its_kind is Kind.DATA:
                its_place += at - number * grain
            joined = its_kind is kind and kind is not Kind.COMPRESSED
            if not joined or (kind is Kind.DATA and its_place != place + at - began):
                if at > began:
                    yield Part(began, at, kind, place)
                began, kind, place = at, its_kind, its_place
            number += 1
        yield Part(began, stop, kind, place)

    def _read_table(self, number: int) -> array[int] | None:
        at = self._table_at(number)
        return read_numbers(self._file, at, self.shape.entries, self.shape.width) if at else None


class _Seen:
    """Notices two grains in the same place of a file."""

    def __init__(self, file: ImageFile, grain: int) -> None:
        self._file = file
        self._grain = grain
        count = file.size // grain + 2
        self._seen = bytearray(count) if count <= _MOST_GRAINS_SEEN else None

    def add(self, part: Part) -> None:
        """Note a part's place."""
        if self._seen is None:
            return
        first = part.place // self._grain
        stop = first + -(-(part.stop - part.start) // self._grain)
        if stop > len(self._seen) or self._seen.find(1, first, stop) >= 0:
            raise UsageError(
                f"{self._file.name}: is damaged: byte {part.place} of the file is also named for another part of the"
                f" disk than byte {part.start}, or lies beyond the file's end"
            )
        self._seen[first:stop] = b"\1" * (stop - first)
