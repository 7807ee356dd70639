"""Index segments: sorted digests and where their frames are; immutable, mapped into memory, never parsed into objects.

One blob is one frame of kind INDEX, not compressed, whose content is (little-endian, every column at a multiple
of 8):

    32 bytes        magic ``VKINDEX`` and a zero byte, u64 entries n, u64 filter words w, u32 packs p, u32 0
    u64[w]          filter: for each entry, 4 bits are set in word ``high 32 bits of prefix * w >> 32``
    u64[n]          prefixes: the first 8 bytes of each digest as a big-endian number, ascending
    [n][24]         the rest of each digest
    [p][24]         packs: id (16), u32 kind of their frames, u32 0
    u32[n]          pack: row in the table above
    u32[n]          offset of the frame in its pack
    u32[n]          length of the frame with its header

The filter has 16 bits for an entry, and the words lie in the order of the digests: a look-up that misses reads
one word (0.4 to 1 % of them go on), one that hits goes straight to its place.

This is how one digest is looked up, in place and without numpy; :mod:`columns` does what is done with many.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

from vmkeep.blobs import Bytes
from vmkeep.errors import CorruptError
from vmkeep.repository.digests import DIGEST_SIZE, Kind
from vmkeep.repository.packs import ID_SIZE, MAX_FRAME

if TYPE_CHECKING:
    from vmkeep.repository.columns import I64, U8, Columns

HEADER = struct.Struct("<8sQQII")
MAGIC = b"VKINDEX\0"
PREFIX = 8
"""Bytes of a digest by which entries are sorted."""
_REST = DIGEST_SIZE - PREFIX
_PACK_ROW = struct.Struct("<16sII")
_DECODED = 4096
"""Rows of the pack table that are kept as objects."""


class Location(NamedTuple):
    """Where a frame is. A tuple, for it is made at every look-up that hits."""

    pack: bytes
    kind: Kind
    offset: int
    length: int


class Segment:
    """One segment over its content's bytes. Thread-safe."""

    def __init__(self, content: Bytes) -> None:
        """Lay the columns over ``content``.

        :raises CorruptError: the content has another length than its header says.
        """
        view = memoryview(content)
        if len(view) < HEADER.size:
            raise CorruptError("index segment is cut off")
        magic, entries, words, packs, reserved = HEADER.unpack_from(view)
        if magic != MAGIC or reserved or not words:
            raise CorruptError("not an index segment")
        if len(view) != _content_size(entries, words, packs):
            raise CorruptError(f"index segment has {len(view)} bytes instead of {_content_size(entries, words, packs)}")
        self.content = view
        self.entries: int = entries
        self.words: int = words
        self.packs: int = packs
        self._decoded: dict[int, tuple[bytes, Kind]] = {}
        self._spread = 3 * isqrt(entries) + 8  # six standard deviations
        at = HEADER.size
        self.filter = view[at : (at := at + 8 * words)].cast("Q")
        self.prefixes = view[at : (at := at + 8 * entries)].cast("Q") if entries else view[:0]
        self.rests = view[at : (at := at + _REST * entries)]
        self.table = view[at : (at := at + _PACK_ROW.size * packs)]
        numbers = view[at : at + 12 * entries].cast("I") if entries else view[:0]
        self.places = (numbers[:entries], numbers[entries : 2 * entries], numbers[2 * entries :])

    @property
    def bounds(self) -> tuple[int, int] | None:
        """The lowest and the highest prefix, or ``None`` of a segment without entries."""
        return (self.prefixes[0], self.prefixes[-1]) if self.entries else None

    def find(self, digest: bytes) -> Location | None:
        """Return where a digest's frame is, or ``None``."""
        return self.find_at(int.from_bytes(digest[:PREFIX], "big"), digest)

    def find_at(self, prefix: int, digest: bytes) -> Location | None:
        """Do what :meth:`find` does, for a caller that has the digest's prefix as a number already."""
        # the mask is made here, not in a function of its own: most look-ups end at this line
        mask = 1 << (prefix & 63) | 1 << (prefix >> 6 & 63) | 1 << (prefix >> 12 & 63) | 1 << (prefix >> 18 & 63)
        if self.filter[(prefix >> 32) * self.words >> 32] & mask != mask:
            return None
        row = self._first(prefix)
        while row < self.entries and self.prefixes[row] == prefix:
            if self.rests[row * _REST : (row + 1) * _REST] == digest[PREFIX:]:
                return self.location(row)
            row += 1
        return None

    def find_all(self, digest: bytes) -> Iterator[Location]:
        """Yield every place that is listed for a digest."""
        prefix = int.from_bytes(digest[:PREFIX], "big")
        row = self._first(prefix)
        while row < self.entries and self.prefixes[row] == prefix:
            if self.rests[row * _REST : (row + 1) * _REST] == digest[PREFIX:]:
                yield self.location(row)
            row += 1

    def _first(self, prefix: int) -> int:
        """Return the first row whose prefix is not less.

        Digests are evenly spread, so the row is close to where the prefix says, in pages of the file that the last
        steps of a search need anyway; anything else is searched as a whole.
        """
        prefixes, guess = self.prefixes, prefix * self.entries >> 64
        low, high = max(0, guess - self._spread), min(self.entries, guess + self._spread)
        if (low and prefixes[low - 1] >= prefix) or (high < self.entries and prefixes[high] < prefix):
            low, high = 0, self.entries
        return bisect_left(prefixes, prefix, low, high)

    def rows(self, digests: U8) -> I64:
        """Return for each of ``digests``, uint8[n, 32], the first row that lists it, or -1."""
        from vmkeep.repository.columns import rows_in

        return rows_in(self, digests)

    def columns(self) -> Columns:
        """Return the entries as arrays over this segment's bytes, to merge or to check them.

        :raises CorruptError: an entry is in no pack, or a pack is of no kind.
        """
        from vmkeep.repository.columns import columns_in

        return columns_in(self)

    def location(self, row: int) -> Location:
        """Return the place that one row lists.

        :raises CorruptError: it is none that could be.
        """
        packs, offsets, lengths = self.places
        number = packs[row]
        if (known := self._decoded.get(number)) is None:
            if number >= self.packs:
                raise CorruptError(f"index segment: entry {row} is in no pack; run 'vmkeep repo check'")
            pack, kind, _ = _PACK_ROW.unpack_from(self.table, number * _PACK_ROW.size)
            if len(self._decoded) >= _DECODED:
                self._decoded.clear()
            known = self._decoded[number] = (pack, _kind(kind))
        if lengths[row] > MAX_FRAME:
            raise CorruptError(f"index segment: entry {row} is longer than any frame; run 'vmkeep repo check'")
        return Location(known[0], known[1], offsets[row], lengths[row])


def _kind(number: int) -> Kind:
    if number not in (Kind.BLOCK, Kind.PAGE):
        raise CorruptError(f"index segment: pack of unknown kind {number}")
    return Kind(number)


def _content_size(entries: int, words: int, packs: int) -> int:
    return HEADER.size + 8 * words + (DIGEST_SIZE + 12) * entries + _PACK_ROW.size * packs


assert _PACK_ROW.size == ID_SIZE + 8
