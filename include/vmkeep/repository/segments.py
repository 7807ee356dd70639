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
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vmkeep.blobs import Bytes
from vmkeep.errors import CorruptError
from vmkeep.repository.digests import DIGEST_SIZE, Kind
from vmkeep.repository.packs import ID_SIZE, MAX_FRAME, PackContents

_HEADER = struct.Struct("<8sQQII")
_MAGIC = b"VKINDEX\0"
_PREFIX = 8
_REST = DIGEST_SIZE - _PREFIX
_PACK_ROW = struct.Struct("<16sII")
_ENTRIES_PER_WORD = 4
_DECODED = 4096
"""Rows of the pack table that are kept as objects."""
_u64 = np.dtype("<u8")
_u32 = np.dtype("<u4")

U64 = npt.NDArray[np.uint64]


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
        if len(view) < _HEADER.size:
            raise CorruptError("index segment is cut off")
        magic, entries, words, packs, reserved = _HEADER.unpack_from(view)
        if magic != _MAGIC or reserved or not words:
            raise CorruptError("not an index segment")
        if len(view) != _size(entries, words, packs):
            raise CorruptError(f"index segment has {len(view)} bytes instead of {_size(entries, words, packs)}")
        self.content = view
        self.entries: int = entries
        self._decoded: dict[int, tuple[bytes, Kind]] = {}
        self._spread = 3 * isqrt(entries) + 8  # six standard deviations
        at = _HEADER.size
        self._words = words
        self._filter = view[at : (at := at + 8 * words)].cast("Q")
        self._prefixes = view[at : (at := at + 8 * entries)].cast("Q") if entries else view[:0]
        self._rests = view[at : (at := at + _REST * entries)]
        self._packs: int = packs
        self._table = view[at : (at := at + _PACK_ROW.size * packs)]
        numbers = view[at : at + 12 * entries].cast("I") if entries else view[:0]
        self._places = (numbers[:entries], numbers[entries : 2 * entries], numbers[2 * entries :])

    def find(self, digest: bytes) -> Location | None:
        """Return where a digest's frame is, or ``None``."""
        prefix = int.from_bytes(digest[:_PREFIX], "big")
        mask = _mask(prefix)
        if self._filter[(prefix >> 32) * self._words >> 32] & mask != mask:
            return None
        row = self._first(prefix)
        while row < self.entries and self._prefixes[row] == prefix:
            if self._rests[row * _REST : (row + 1) * _REST] == digest[_PREFIX:]:
                return self._location(row)
            row += 1
        return None

    def _first(self, prefix: int) -> int:
        """Return the first row whose prefix is not less.

        Digests are evenly spread, so the row is close to where the prefix says, in pages of the file that the last
        steps of a search need anyway; anything else is searched as a whole.
        """
        prefixes, guess = self._prefixes, prefix * self.entries >> 64
        low, high = max(0, guess - self._spread), min(self.entries, guess + self._spread)
        if (low and prefixes[low - 1] >= prefix) or (high < self.entries and prefixes[high] < prefix):
            low, high = 0, self.entries
        return bisect_left(prefixes, prefix, low, high)

    def _location(self, row: int) -> Location:
        packs, offsets, lengths = self._places
        number = packs[row]
        if (known := self._decoded.get(number)) is None:
            if number >= self._packs:
                raise CorruptError(f"index segment: entry {row} is in no pack; run 'vmkeep repo check'")
            pack, kind, _ = _PACK_ROW.unpack_from(self._table, number * _PACK_ROW.size)
            if len(self._decoded) >= _DECODED:
                self._decoded.clear()
            known = self._decoded[number] = (pack, _kind(kind))
        if lengths[row] > MAX_FRAME:
            raise CorruptError(f"index segment: entry {row} is longer than any frame; run 'vmkeep repo check'")
        return Location(known[0], known[1], offsets[row], lengths[row])

    def columns(self) -> Columns:
        """Return the entries as arrays, to merge or to check them."""
        n = self.entries
        rests = np.frombuffer(self._rests, np.uint8).reshape(n, _REST)
        packs, offsets, lengths = (np.frombuffer(column, _u32) for column in self._places)
        return Columns(
            prefixes=np.frombuffer(self._prefixes, _u64),
            rests=rests,
            packs=packs,
            offsets=offsets,
            lengths=lengths,
            table=tuple((pack, _kind(kind)) for pack, kind, _ in _PACK_ROW.iter_unpack(self._table)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Index entries by columns, in any order; ``packs`` holds rows of ``table``."""

    prefixes: U64
    rests: npt.NDArray[np.uint8]
    packs: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.uint32]
    lengths: npt.NDArray[np.uint32]
    table: tuple[tuple[bytes, Kind], ...]

    def digest(self, row: int) -> bytes:
        """Return the digest of one entry."""
        rest: bytes = self.rests[row].tobytes()
        return int(self.prefixes[row]).to_bytes(_PREFIX, "big") + rest


def columns_of(packs: Sequence[PackContents]) -> Columns:
    """Return the index entries of some packs."""
    digests = np.frombuffer(b"".join(pack.digests for pack in packs), np.uint8).reshape(-1, DIGEST_SIZE)
    counts = [pack.count for pack in packs]
    return Columns(
        prefixes=np.ascontiguousarray(digests[:, :_PREFIX]).view(">u8").reshape(-1).astype(_u64),
        rests=digests[:, _PREFIX:],
        packs=np.repeat(np.arange(len(packs), dtype=_u32), counts),
        offsets=np.concatenate([pack.offsets for pack in packs]) if packs else np.zeros(0, _u32),
        lengths=np.concatenate([pack.lengths for pack in packs]) if packs else np.zeros(0, _u32),
        table=tuple((pack.pack_id, pack.kind) for pack in packs),
    )


def encode_parts(parts: Sequence[Columns]) -> Iterator[bytes]:
    """Yield the content of one segment that holds the entries of all parts; one column at a time is in memory."""
    prefixes = np.concatenate([part.prefixes for part in parts])
    order = np.argsort(prefixes, kind="stable")
    prefixes = prefixes[order]
    words = max(1, -(-len(order) // _ENTRIES_PER_WORD))
    sizes = [len(part.table) for part in parts]
    yield _HEADER.pack(_MAGIC, len(order), words, sum(sizes), 0)
    yield _filter(prefixes, words).tobytes()
    yield prefixes.astype(_u64).tobytes()
    yield np.concatenate([part.rests for part in parts])[order].tobytes()
    yield b"".join(_PACK_ROW.pack(pack, kind, 0) for part in parts for pack, kind in part.table)
    starts = np.cumsum([0, *sizes])[:-1]
    packs = [part.packs + np.uint32(start) for part, start in zip(parts, starts, strict=True)]
    yield np.concatenate(packs)[order].astype(_u32).tobytes()
    yield np.concatenate([part.offsets for part in parts])[order].astype(_u32).tobytes()
    yield np.concatenate([part.lengths for part in parts])[order].astype(_u32).tobytes()


def encode(*parts: Columns) -> bytes:
    """Return the content of one segment that holds the entries of all parts."""
    return b"".join(encode_parts(parts))


def _size(entries: int, words: int, packs: int) -> int:
    return _HEADER.size + 8 * words + (DIGEST_SIZE + 12) * entries + _PACK_ROW.size * packs


def _kind(number: int) -> Kind:
    if number not in (Kind.BLOCK, Kind.PAGE):
        raise CorruptError(f"index segment: pack of unknown kind {number}")
    return Kind(number)


def _mask(prefix: int) -> int:
    """Return the bits of an entry in its filter word; they come from the half of the prefix that did not choose it."""
    return 1 << (prefix & 63) | 1 << (prefix >> 6 & 63) | 1 << (prefix >> 12 & 63) | 1 << (prefix >> 18 & 63)


def _filter(prefixes: U64, words: int) -> U64:
    """Return the filter over sorted prefixes."""
    result = np.zeros(words, _u64)
    if not len(prefixes):
        return result
    six, one = np.uint64(63), np.uint64(1)
    masks = np.zeros(len(prefixes), np.uint64)
    for shift in (0, 6, 12, 18):
        masks |= one << (prefixes >> np.uint64(shift) & six)
    where = (prefixes >> np.uint64(32)) * np.uint64(words) >> np.uint64(32)
    starts = np.flatnonzero(np.concatenate(([True], where[1:] != where[:-1])))
    result[where[starts]] = np.bitwise_or.reduceat(masks, starts)
    return result


assert _PACK_ROW.size == ID_SIZE + 8
