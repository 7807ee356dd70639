"""Index segments: sorted digests and the places of their frames. Immutable, mapped, and never parsed into objects.

A segment looks one digest up in place, without numpy. :mod:`vmkeep.repository.index.columns` handles many at a time,
and :mod:`vmkeep.repository.index.layout` describes the bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from math import isqrt
from typing import TYPE_CHECKING

from vmkeep.blobs import Bytes
from vmkeep.errors import CorruptError
from vmkeep.repository.frames import MAX_FRAME, Kind
from vmkeep.repository.index.filters import ALL, BITS, OWN, scale_of
from vmkeep.repository.index.layout import HEADER, MAGIC, PACK_ROW, PREFIX_SIZE, REST_SIZE, Location, content_size

if TYPE_CHECKING:
    from vmkeep.repository.index.columns import I64, U8, Columns

_DECODED = 4096
"""A pack table with up to this many rows is kept as objects."""
_KINDS = {int(kind): kind for kind in (Kind.BLOCK, Kind.PAGE)}


class Segment:
    """One segment over its content's bytes. Thread-safe."""

    few = 16
    """Up to this many digests, single look-ups are faster than one for all."""

    def __init__(self, content: Bytes) -> None:
        """Lay the columns over ``content``.

        :raises CorruptError: the content's length differs from the one in its header, or the filter rule is unknown.
        """
        view = memoryview(content)
        if len(view) < HEADER.size:
            raise CorruptError("index segment is cut off")
        magic, entries, words, packs, rule = HEADER.unpack_from(view)
        if magic != MAGIC or not words:
            raise CorruptError("not an index segment")
        if rule not in (ALL, OWN):
            raise CorruptError(f"index segment has filter rule {rule}, unknown to this version; use a newer vmkeep")
        if len(view) != content_size(entries, words, packs):
            raise CorruptError(f"index segment has {len(view)} bytes instead of {content_size(entries, words, packs)}")
        self.content = view
        self.entries: int = entries
        self.words: int = words
        self.packs: int = packs
        self._decoded: dict[int, tuple[bytes, Kind]] = {}
        at = HEADER.size
        self.filter = view[at : (at := at + 8 * words)].cast("Q")
        self.prefixes = view[at : (at := at + 8 * entries)].cast("Q") if entries else view[:0]
        self.rests = view[at : (at := at + REST_SIZE * entries)]
        self.table = view[at : (at := at + PACK_ROW.size * packs)]
        numbers = view[at : at + 12 * entries].cast("I") if entries else view[:0]
        self.places = (numbers[:entries], numbers[entries : 2 * entries], numbers[2 * entries :])
        self.first, self.last = (self.prefixes[0], self.prefixes[-1]) if entries else (1, 0)
        """The lowest and the highest prefix."""
        self.scale = scale_of(rule, self.first, self.last)
        self._base, self._shift, self._width = self.scale
        self._slope = entries / max(1, self.last - self.first + 1)
        self._spread = 3 * isqrt(isqrt(entries)) + 8

    def find(self, digest: bytes) -> Location | None:
        """Return where a digest's frame is, or ``None``."""
        return self.find_at(int.from_bytes(digest[:PREFIX_SIZE], "big"), digest)

    def find_at(self, prefix: int, digest: bytes) -> Location | None:
        """Return the result of :meth:`find`, for a caller that already has the digest's prefix as a number."""
        if self.first <= prefix <= self.last:  # written out instead of called, because most look-ups end here
            mask = BITS[prefix & 4095] | BITS[prefix >> 12 & 4095]
            word = (prefix - self._base >> self._shift) * self.words // self._width
            if self.filter[word] & mask == mask and (row := self.row_at(prefix, digest)) >= 0:
                return self.location(row)
        return None

    def holds(self, prefix: int, digest: bytes) -> bool:
        """Return whether a digest is listed. Faster than finding its place."""
        if self.first <= prefix <= self.last:
            mask = BITS[prefix & 4095] | BITS[prefix >> 12 & 4095]
            word = (prefix - self._base >> self._shift) * self.words // self._width
            return self.filter[word] & mask == mask and self.row_at(prefix, digest) >= 0
        return False

    def row_at(self, prefix: int, digest: bytes) -> int:
        """Return the first row that lists a digest, or -1. The caller has checked the prefix's range and the filter."""
        row = self._first(prefix)
        while row < self.entries and self.prefixes[row] == prefix:
            if self.rests[row * REST_SIZE : (row + 1) * REST_SIZE] == digest[PREFIX_SIZE:]:
                return row
            row += 1
        return -1

    def find_all(self, digest: bytes) -> Iterator[Location]:
        """Yield every place that is listed for a digest."""
        return map(self.location, self.rows_at(int.from_bytes(digest[:PREFIX_SIZE], "big"), digest))

    def rows_at(self, prefix: int, digest: bytes) -> Iterator[int]:
        """Yield the rows that list a digest. Does not ask the filter."""
        row = self._first(prefix) if self.entries else 0
        while row < self.entries and self.prefixes[row] == prefix:
            if self.rests[row * REST_SIZE : (row + 1) * REST_SIZE] == digest[PREFIX_SIZE:]:
                yield row
            row += 1

    def _first(self, prefix: int) -> int:
        """Return the first row whose prefix is not less than the given one.

        Digests are evenly spread, so a row is close to the position that its prefix suggests, and the prefix found
        there tells how far it still is. A cold search therefore reads only two or three pages. If that fails, the whole
        column is searched.
        """
        prefixes, entries = self.prefixes, self.entries
        guess = min(max(int((prefix - self.first) * self._slope), 0), entries - 1)
        guess += int((prefix - prefixes[guess]) * self._slope)
        low, high = max(0, guess - self._spread), min(entries, guess + self._spread)
        if low >= high or (low and prefixes[low - 1] >= prefix) or (high < entries and prefixes[high] < prefix):
            low, high = 0, entries
        return bisect_left(prefixes, prefix, low, high)

    def rows(self, digests: U8) -> I64:
        """Return for each of ``digests``, uint8[n, 32], the first row that lists it, or -1."""
        from vmkeep.repository.index.columns import rows_in

        return rows_in(self, digests)

    def locations(self, rows: I64) -> list[Location]:
        """Return the places that some rows list.

        :raises CorruptError: no frame can be at one of these places.
        """
        from vmkeep.repository.index.columns import locations_in

        return locations_in(self, rows)

    def release(self) -> None:
        """Release memory that arrays over this segment have mapped in; here there is none."""

    def columns(self) -> Columns:
        """Return the entries as arrays over this segment's bytes, to merge or to check them.

        :raises CorruptError: an entry is in no pack, or a pack is of no kind.
        """
        from vmkeep.repository.index.columns import columns_in

        return columns_in(self)

    def location(self, row: int) -> Location:
        """Return the place that one row lists.

        :raises CorruptError: no frame can be at that place.
        """
        number, offset, length = self._numbers(row)
        if (known := self._decoded.get(number)) is None:
            if number >= self.packs:
                raise CorruptError(f"index segment: entry {row} is in no pack; run 'vmkeep repo check'")
            known = self.pack(number)
        if length > MAX_FRAME:
            raise CorruptError(f"index segment: entry {row} is longer than any frame; run 'vmkeep repo check'")
        return Location(known[0], known[1], offset, length)

    def _numbers(self, row: int) -> tuple[int, int, int]:
        """Return the row's pack number, offset and length."""
        packs, offsets, lengths = self.places
        return packs[row], offsets[row], lengths[row]

    def _pack(self, number: int) -> Bytes:
        """Return the bytes of one row of the pack table."""
        return self.table[number * PACK_ROW.size : (number + 1) * PACK_ROW.size]

    def pack(self, number: int) -> tuple[bytes, Kind]:
        """Return the pack id and the kind in a row of the pack table. They are kept, unless the table is too large."""
        pack, kind, _ = PACK_ROW.unpack(self._pack(number))
        if kind not in _KINDS:
            raise CorruptError(f"index segment: pack of unknown kind {kind}")
        decoded = pack, _KINDS[kind]
        if self.packs <= _DECODED:
            self._decoded[number] = decoded
        return decoded
