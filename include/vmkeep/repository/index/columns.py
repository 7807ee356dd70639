"""Index entries as arrays, to build, merge or check them, or to look many of them up at a time.

This module loads numpy. It is imported only when it is needed, because a small backup needs neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from vmkeep.errors import CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.repository.frames import DIGEST_SIZE, ID_SIZE, MAX_FRAME, Kind, PackContents
from vmkeep.repository.index.filters import OWN, Scale, scale_of, words_for
from vmkeep.repository.index.layout import HEADER, MAGIC, PREFIX_SIZE, REST_SIZE, LaidOut, Location

_PACK_ROW = np.dtype([("id", np.uint8, ID_SIZE), ("kind", "<u4"), ("zero", "<u4")])
_SHIFTS = (0, 6, 12, 18)
"""Positions, within a prefix, of the bit numbers that an entry sets in its filter word."""
_BLOCK, _PAGE = int(Kind.BLOCK), int(Kind.PAGE)
_u64 = np.dtype("<u8")
_u32 = np.dtype("<u4")

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Index entries by columns, in any order. Those of a segment are views of its bytes, not copies."""

    prefixes: U64
    rests: U8
    """[n, 24]: the digests without their prefixes."""
    packs: U32
    """Rows of ``pack_ids`` and ``kinds``."""
    offsets: U32
    lengths: U32
    pack_ids: U8
    """[p, 16]: the packs that the entries lie in."""
    kinds: U32
    """The kind of the frames in each of those packs."""

    def digest(self, row: int) -> bytes:
        """Return the digest of one entry."""
        rest: bytes = self.rests[row].tobytes()
        return int(self.prefixes[row]).to_bytes(PREFIX_SIZE, "big") + rest

    def digests(self) -> U8:
        """Return all digests, uint8[n, 32]."""
        result = np.empty((len(self.prefixes), DIGEST_SIZE), np.uint8)
        result[:, :PREFIX_SIZE] = self.prefixes.astype(">u8").view(np.uint8).reshape(-1, PREFIX_SIZE)
        result[:, PREFIX_SIZE:] = self.rests
        return result

    @property
    def table(self) -> tuple[tuple[bytes, Kind], ...]:
        """The packs as objects. Use it for a few packs, not for the million of a large repository."""
        ids = (row.tobytes() for row in self.pack_ids)
        return tuple((pack, Kind(kind)) for pack, kind in zip(ids, self.kinds.tolist(), strict=True))

    def where(self, keep: npt.NDArray[np.bool_] | slice) -> Columns:
        """Return the entries that a mask or a slice chooses, and only the packs in which these lie."""
        used, packs = np.unique(self.packs[keep], return_inverse=True)
        return Columns(
            prefixes=self.prefixes[keep],
            rests=self.rests[keep],
            packs=packs.astype(np.uint32),
            offsets=self.offsets[keep],
            lengths=self.lengths[keep],
            pack_ids=self.pack_ids[used],
            kinds=self.kinds[used],
        )


def columns_in(segment: LaidOut) -> Columns:
    """Return a segment's entries; see :meth:`Segment.columns`."""
    table = np.frombuffer(segment.table, _PACK_ROW)
    kinds = table["kind"]
    # Not ``np.isin``, because that took a fifth of the time in which a repository with many small segments is opened.
    if not ((kinds == _BLOCK) | (kinds == _PAGE)).all():
        raise CorruptError("index segment: pack of unknown kind")
    packs, offsets, lengths = (np.frombuffer(column, _u32) for column in segment.places)
    if segment.entries and int(packs.max()) >= segment.packs:
        raise CorruptError("index segment: an entry is in no pack")
    return Columns(
        prefixes=np.frombuffer(segment.prefixes, _u64),
        rests=np.frombuffer(segment.rests, np.uint8).reshape(-1, REST_SIZE),
        packs=packs,
        offsets=offsets,
        lengths=lengths,
        pack_ids=table["id"],
        kinds=kinds,
    )


def rows_in(segment: LaidOut, digests: U8) -> I64:
    """Return the first row of each digest, or -1; see :meth:`Segment.rows`."""
    found = np.full(len(digests), -1, np.int64)
    prefixes = prefixes_of(digests)
    asked = np.flatnonzero((prefixes >= np.uint64(segment.first)) & (prefixes <= np.uint64(segment.last)))
    words = np.frombuffer(segment.filter, _u64)[_filter_words(prefixes[asked], segment.words, segment.scale)]
    masks = _filter_masks(prefixes[asked])
    asked = asked[words & masks == masks]
    asked = asked[np.argsort(prefixes[asked])]  # in the order of the columns, because neighbours share pages
    column = np.frombuffer(segment.prefixes, _u64)
    rests = np.frombuffer(segment.rests, np.uint8).reshape(-1, REST_SIZE)
    at = np.searchsorted(column, prefixes[asked])
    while len(asked):
        inside = at < segment.entries
        asked, at = asked[inside], at[inside]
        alike = column[at] == prefixes[asked]
        asked, at = asked[alike], at[alike]
        same = (rests[at] == digests[asked, PREFIX_SIZE:]).all(axis=1)
        found[asked[same]] = at[same]
        asked, at = asked[~same], at[~same] + 1
    return found


def locations_in(segment: LaidOut, rows: I64) -> list[Location]:
    """Return the places of some rows; see :meth:`Segment.locations`."""
    packs, offsets, lengths = (np.frombuffer(column, _u32)[rows] for column in segment.places)
    if len(rows) and (int(packs.max()) >= segment.packs or int(lengths.max()) > MAX_FRAME):
        raise CorruptError("index segment: an entry is in no pack, or too long; run 'vmkeep repo check'")
    used, inverse = np.unique(packs, return_inverse=True)
    table = [segment.pack(number) for number in used.tolist()]
    places = zip(inverse.tolist(), offsets.tolist(), lengths.tolist(), strict=True)
    return [Location(table[at][0], table[at][1], offset, length) for at, offset, length in places]


def columns_of(packs: Sequence[PackContents]) -> Columns:
    """Return the index entries of some packs."""
    digests = np.frombuffer(b"".join(pack.digests for pack in packs), np.uint8).reshape(-1, DIGEST_SIZE)
    ids = np.frombuffer(b"".join(pack.pack_id for pack in packs), np.uint8)
    return Columns(
        prefixes=prefixes_of(digests),
        rests=digests[:, PREFIX_SIZE:],
        packs=np.repeat(np.arange(len(packs), dtype=np.uint32), [pack.count for pack in packs]),
        offsets=np.concatenate([pack.offsets for pack in packs]) if packs else np.zeros(0, np.uint32),
        lengths=np.concatenate([pack.lengths for pack in packs]) if packs else np.zeros(0, np.uint32),
        pack_ids=ids.reshape(-1, ID_SIZE),
        kinds=np.array([pack.kind for pack in packs], np.uint32),
    )


def prefixes_of(digests: U8) -> U64:
    """Return the prefixes of digests, uint8[n, 32]."""
    return np.ascontiguousarray(digests[:, :PREFIX_SIZE]).view(">u8").reshape(-1).astype(np.uint64)


def encode_parts(parts: Sequence[Columns]) -> Iterator[bytes]:
    """Yield the content of one segment that holds the entries of all parts. Keeps one column in memory at a time."""
    prefixes = np.concatenate([part.prefixes for part in parts])
    order = np.argsort(prefixes, kind="stable")
    prefixes = prefixes[order]
    words = words_for(len(prefixes))
    sizes = [len(part.kinds) for part in parts]
    yield HEADER.pack(MAGIC, len(order), words, sum(sizes), OWN)
    yield _filter(prefixes, words).tobytes()
    yield prefixes.astype(_u64).tobytes()
    yield np.concatenate([part.rests for part in parts])[order].tobytes()
    for part in parts:
        table = np.zeros(len(part.kinds), _PACK_ROW)
        table["id"], table["kind"] = part.pack_ids, part.kinds
        yield table.tobytes()
    starts = np.cumsum([0, *sizes])[:-1]
    packs = [part.packs + np.uint32(start) for part, start in zip(parts, starts, strict=True)]
    yield np.concatenate(packs)[order].astype(_u32).tobytes()
    yield np.concatenate([part.offsets for part in parts])[order].astype(_u32).tobytes()
    yield np.concatenate([part.lengths for part in parts])[order].astype(_u32).tobytes()


def encode(*parts: Columns) -> bytes:
    """Return the content of one segment that holds the entries of all parts."""
    return b"".join(encode_parts(parts))


def _filter_words(prefixes: U64, words: int, scale: Scale) -> U64:
    """Return the filter word of each entry."""
    return (prefixes - np.uint64(scale.base) >> np.uint64(scale.shift)) * np.uint64(words) // np.uint64(scale.width)


def _filter_masks(prefixes: U64) -> U64:
    """Return the bits of each entry in its word.

    They come from the half of the prefix that does not choose the word.
    """
    masks = np.zeros(len(prefixes), np.uint64)
    for shift in _SHIFTS:
        masks |= np.uint64(1) << (prefixes >> np.uint64(shift) & np.uint64(63))
    return masks


def _filter(prefixes: U64, words: int) -> U64:
    """Return the filter over sorted prefixes."""
    result = np.zeros(words, _u64)
    if len(prefixes):
        where = _filter_words(prefixes, words, scale_of(OWN, int(prefixes[0]), int(prefixes[-1])))
        starts = np.flatnonzero(np.concatenate(([True], where[1:] != where[:-1])))
        result[where[starts]] = np.bitwise_or.reduceat(_filter_masks(prefixes), starts)
    return result
