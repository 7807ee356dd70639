"""Marks the frames that restore points reach: one bit for each entry of the index, set from the roots downwards.

Every map page is read once, however many points share it. Where a block is stored more than once, only its best copy is
marked. The caller ranks the packs, so that a copy in a pack that may soon be deleted counts only if there is no other.
This module decides nothing and deletes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from vmkeep.blobs import abreast
from vmkeep.errors import CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.repository import Batch, BlockReader, Kind, ReadBuffers, Repository, Wanted
from vmkeep.repository.checks import is_pack, pack_id_of
from vmkeep.repository.folders import PACKS
from vmkeep.repository.frames import DIGEST_SIZE, ZERO, overhead
from vmkeep.repository.index import Segment
from vmkeep.repository.maps import PAGE_SIZE, ROOT_SIZE, parse_root

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

_ENTRY = 46
"""Bytes of a frame's entry in the index."""
_PAGES = 2048
"""Pages read together. Their digests take a few megabytes on each level of a map."""
_PREFIX = 8
_UNSEEN = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


class Rank(IntEnum):
    """The rank of a copy by its pack. Of several copies, the one with the lowest rank is marked."""

    CLEAR = 0
    CONDEMNED = 1
    """In a pack that some plan condemns."""
    CANDIDATE = 2
    """In a pack that the caller wants to delete."""
    OTHERS = 3
    """In a pack that another sweep may be deleting."""
    DAMAGED = 4
    """In a frame that is known to be damaged. Better than no copy, because it may be healed."""
    GONE = 5
    """In a pack that is missing, or is being deleted."""


@dataclass(frozen=True, slots=True)
class PackBlob:
    """A pack in the store."""

    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """The place of a marked entry."""

    digest: bytes
    offset: int
    length: int


class ReachedFrames:
    """The frames of one index that restore points reach, marked one map at a time. Not thread-safe.

    The index is loaded when this object is made, and the packs are listed after that. So a pack that the index names
    and that is not listed does not exist.
    """

    def __init__(self, repository: Repository, rank: Callable[[bytes], Rank] = lambda _pack: Rank.CLEAR) -> None:
        """Load the index.

        :param rank: ranks the copies in a pack; asked once for each pack that exists.
        """
        index = repository.fresh_index()
        damage = repository.damage.load()
        self.blobs = _listed(repository)
        self._index = index
        self._store = repository.blobs
        self._reader = BlockReader(self._store, repository.framer, index)
        self._segments = [_Bits(segment) for segment in index.segments if segment.entries]
        self._number_packs(rank, damage.whole_packs)
        for bits in self._segments:
            bits.devalue(damage.bad_frames, self._ids)
        self.lost = 0
        """Blocks that restore points reach and that no pack has."""
        self._wanting = 0
        """Missing blocks of points that are not sealed yet, and that will not be sealed while any is missing."""
        self._damaged = bool(index.damaged)

    def reach(self, roots: Iterable[str], *, strict: bool = True) -> None:
        """Mark everything below the roots of some maps.

        :param strict: raise for a page that is missing or damaged, because the pages below it are then unknown. If
            false, the walk just ends at such a page: for a point that cannot be sealed unless all of it is there.
        :raises CorruptError: a page is missing or damaged.
        """
        digests = _rows([_digest(root) for root in roots])
        tops: dict[int, list[bytes]] = {}
        for content in self._pages(self._mark(digests, pages=strict, strict=strict), ROOT_SIZE, strict=strict):
            shape, top = parse_root(content)
            if top != ZERO:
                tops.setdefault(shape.levels, []).append(top)
        for level, names in tops.items():
            fresh = self._mark(_rows(names), pages=strict and level > 0, strict=strict)
            self._descend(level, fresh, strict=strict)

    def _descend(self, level: int, pages: U8, *, strict: bool) -> None:
        """Mark everything below pages that were just marked. Goes deepest first, so that few pages wait in memory."""
        waiting = [(level, pages)]
        while waiting:
            level, pages = waiting.pop()
            if not level or not len(pages):
                continue
            waiting.append((level, pages[_PAGES:]))
            contents = b"".join(self._pages(pages[:_PAGES], PAGE_SIZE, strict=strict))
            children = np.frombuffer(contents, np.uint8).reshape(-1, DIGEST_SIZE)
            fresh = self._mark(children[children.any(axis=1)], pages=strict and level > 1, strict=strict)
            waiting.append((level - 1, fresh))

    @property
    def complete(self) -> bool:
        """Whether nothing is missing and no segment is damaged.

        If not, a pack that no segment names may hold what is missing.
        """
        return not (self.lost or self._wanting or self._damaged)

    def live(self) -> Mapping[bytes, int]:
        """Return pack → bytes of its marked frames, for packs that have any."""
        total = np.zeros(len(self._ids), np.int64)
        for bits in self._segments:
            total += bits.weigh(bits.marked(), len(self._ids))
        return {pack: int(total[number]) for pack, number in self._ids.items() if total[number]}

    def moved(self) -> Mapping[bytes, int]:
        """Return pack → bytes that a move of its marked frames takes, with their rows in a footer and in the index."""
        total = np.zeros(len(self._ids), np.int64)
        for bits in self._segments:
            total += bits.weigh(bits.marked(), len(self._ids))
            total += bits.count(len(self._ids)) * (overhead(1) - overhead(0) + _ENTRY)
        return {pack: int(total[number]) for pack, number in self._ids.items() if total[number]}

    def framed(self) -> Mapping[bytes, int]:
        """Return pack → bytes of its frames, for all packs that the index names.

        A crash may leave an entry that is listed twice, and then it counts twice. But no pack counts for more than its
        size without its footer.
        """
        total = np.zeros(len(self._ids), np.int64)
        marked = np.zeros(len(self._ids), np.int64)
        for bits in self._segments:
            total += bits.weigh(slice(None), len(self._ids))
            marked += bits.count(len(self._ids))
        room = {pack: blob.size - overhead(int(marked[self._ids[pack]])) for pack, blob in self._known_blobs()}
        return {pack: min(int(total[number]), room.get(pack, 0)) for pack, number in self._ids.items()}

    def _known_blobs(self) -> Iterator[tuple[bytes, PackBlob]]:
        return ((pack, blob) for pack, blob in self.blobs.items() if pack in self._ids)

    def live_frames(self, packs: frozenset[bytes]) -> dict[bytes, list[LiveFrame]]:
        """Return the marked frames of some packs, in their order."""
        wanted = np.zeros(len(self._ids), np.bool_)
        wanted[[self._ids[pack] for pack in packs if pack in self._ids]] = True
        found: dict[bytes, list[LiveFrame]] = {pack: [] for pack in packs}
        for bits in self._segments:
            for pack, frame in bits.frames(wanted):
                found[pack].append(frame)
        for frames in found.values():
            frames.sort(key=lambda frame: frame.offset)
        return found

    def _number_packs(self, rank: Callable[[bytes], Rank], broken: frozenset[bytes]) -> None:
        """Give every pack of the index a number and a weight: rank first, then id, so that two walks agree."""
        self._ids: dict[bytes, int] = {}
        for bits in self._segments:
            bits.number(self._ids)
        weights = np.empty(len(self._ids), np.uint64)
        for pack, number in self._ids.items():
            order = rank(pack) if pack in self.blobs else Rank.GONE
            if pack in broken:
                order = max(order, Rank.DAMAGED)
            weights[number] = order << 56 | int.from_bytes(pack[:7], "big")
        for bits in self._segments:
            bits.weights = weights

    def _mark(self, digests: U8, *, pages: bool, strict: bool) -> U8:
        """Mark the best copy of each digest, and return the digests that had not been marked before.

        :param pages: the digests are those of pages. A missing page is an error. A missing block is only counted,
            because nothing lies below it.
        """
        digests = _distinct(digests)
        best = np.full(len(digests), _UNSEEN, np.uint64)
        where = np.full(len(digests), -1, np.int64)
        rows = np.zeros(len(digests), np.int64)
        for number, bits in enumerate(self._segments):
            bits.improve(digests, best, where, rows, number)
        found = (where >= 0) & (best >> np.uint64(56) < Rank.GONE)
        if not found.all():
            lost = digests[~found]
            if pages:
                name = lost[0].tobytes().hex()[:16]
                raise CorruptError(f"map page {name}… is missing; nothing is deleted: run 'vmkeep repo check'")
            if strict:
                self.lost += len(lost)
            else:
                self._wanting += len(lost)
        fresh = np.zeros(len(digests), np.bool_)
        for number, bits in enumerate(self._segments):
            chosen = np.flatnonzero(found & (where == number))
            fresh[chosen] = bits.set(rows[chosen])
        result: U8 = digests[fresh]
        return result

    def _pages(self, digests: U8, size: int, *, strict: bool) -> list[bytes]:
        """Read pages, several at a time."""
        names = [row.tobytes() for row in digests]
        wanted = [
            Wanted(name, location, size, ())
            for name, location in zip(names, self._index.find_many(names), strict=True)
            if location is not None and location.kind is Kind.PAGE
        ]
        if strict and len(wanted) < len(names):
            raise CorruptError("a map page is not one by the index; nothing is deleted: run 'vmkeep repo check'")
        contents = abreast(self._store, lambda batch: self._read(batch, strict=strict), self._reader.plan(wanted))
        return [content for batch in contents for content in batch]

    def _read(self, batch: Batch, *, strict: bool) -> list[bytes]:
        try:
            return [bytes(content) for _, content in self._reader.read(batch, ReadBuffers())]
        except CorruptError as error:
            if strict:
                raise CorruptError(f"a map page cannot be read; nothing is deleted: {error}") from error
        contents = []
        for frame in batch.frames:
            alone = Batch(batch.pack, frame.location.offset, frame.location.offset + frame.location.length, (frame,))
            try:
                contents += [bytes(content) for _, content in self._reader.read(alone, ReadBuffers())]
            except CorruptError:
                continue
        return contents


class _Bits:
    """One segment and its marks."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._columns = segment.columns()
        self.entries = segment.entries
        self._set = np.zeros(segment.entries // 8 + 1, np.uint8)
        self._first, self._last = self._columns.prefixes[0], self._columns.prefixes[-1]
        self._numbers: I64 = np.zeros(0, np.int64)
        self._damaged: I64 = np.zeros(0, np.int64)
        self.weights: U64 = np.zeros(0, np.uint64)

    def number(self, ids: dict[bytes, int]) -> None:
        """Give each pack of the segment its number, which is the same in all segments."""
        names = (row.tobytes() for row in self._columns.pack_ids)
        self._numbers = np.fromiter((ids.setdefault(name, len(ids)) for name in names), np.int64)

    def devalue(self, frames: Iterable[tuple[bytes, int]], ids: Mapping[bytes, int]) -> None:
        """Remember which rows are frames with known damage."""
        rows = [np.zeros(0, np.int64)]
        for pack, offset in frames:
            if pack in ids:
                at = self._columns.offsets == offset
                rows.append(np.flatnonzero(at & (self._numbers[self._columns.packs] == ids[pack])))
        self._damaged = np.unique(np.concatenate(rows))

    def improve(self, digests: U8, best: U64, where: I64, rows: I64, number: int) -> None:
        """For each digest, enter this segment's copy if it is better than the best one so far.

        :param digests: sorted; the other arrays are changed.
        """
        prefixes = np.ascontiguousarray(digests[:, :_PREFIX]).view(">u8").reshape(-1)
        start, stop = np.searchsorted(prefixes, self._first), np.searchsorted(prefixes, self._last, side="right")
        if start == stop:
            return
        row = self._segment.rows(digests[start:stop])
        asked = np.flatnonzero(row >= 0)
        row = row[asked]
        asked += start
        while len(asked):  # the next row may be the same digest again, in another pack
            same = (self._columns.rests[row] == digests[asked, _PREFIX:]).all(axis=1)
            weight = self._weights(row)
            better = same & (weight < best[asked])
            best[asked[better]] = weight[better]
            where[asked[better]] = number
            rows[asked[better]] = row[better]
            row += 1
            inside = row < self.entries
            row, asked = row[inside], asked[inside]
            alike = self._columns.prefixes[row] == prefixes[asked]
            row, asked = row[alike], asked[alike]

    def _weights(self, rows: I64) -> U64:
        weights: U64 = self.weights[self._numbers[self._columns.packs[rows]]]
        if len(self._damaged):
            bad = np.isin(rows, self._damaged) & (weights >> np.uint64(56) < Rank.DAMAGED)
            weights[bad] = np.uint64(Rank.DAMAGED << 56)
        return weights

    def set(self, rows: I64) -> npt.NDArray[np.bool_]:
        """Mark rows, and return which of them were not marked before."""
        masks = np.uint8(1) << (rows & 7).astype(np.uint8)
        fresh: npt.NDArray[np.bool_] = self._set[rows >> 3] & masks == 0
        np.bitwise_or.at(self._set, rows >> 3, masks)
        return fresh

    def marked(self) -> I64:
        """Return the marked rows."""
        return np.flatnonzero(np.unpackbits(self._set, count=self.entries, bitorder="little"))

    def weigh(self, rows: I64 | slice, packs: int) -> I64:
        """Return the bytes of frames, by pack number."""
        numbers, lengths = self._numbers[self._columns.packs[rows]], self._columns.lengths[rows]
        return np.bincount(numbers, weights=lengths, minlength=packs).astype(np.int64)

    def count(self, packs: int) -> I64:
        """Return the number of marked frames by pack number."""
        return np.bincount(self._numbers[self._columns.packs[self.marked()]], minlength=packs)

    def frames(self, wanted: npt.NDArray[np.bool_]) -> Iterator[tuple[bytes, LiveFrame]]:
        """Yield the marked frames in the packs whose numbers are wanted."""
        rows = self.marked()
        rows = rows[wanted[self._numbers[self._columns.packs[rows]]]]
        for row in rows.tolist():
            pack = self._columns.pack_ids[self._columns.packs[row]].tobytes()
            offset, length = int(self._columns.offsets[row]), int(self._columns.lengths[row])
            yield pack, LiveFrame(self._columns.digest(row), offset, length)


def _listed(repository: Repository) -> dict[bytes, PackBlob]:
    return {
        pack_id_of(blob.key): PackBlob(size=blob.size, modified=blob.modified)
        for blob in repository.blobs.list(PACKS)
        if is_pack(blob.key)  # a blob that somebody else put there is not ours to delete
    }


def _distinct(digests: U8) -> U8:
    """Return the digests sorted, each once."""
    if not len(digests):
        return digests
    rows = np.ascontiguousarray(digests).view(f"V{DIGEST_SIZE}").reshape(-1)
    return np.unique(rows).view(np.uint8).reshape(-1, DIGEST_SIZE)


def _rows(digests: Sequence[bytes]) -> U8:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_SIZE)


def _digest(root: str) -> bytes:
    digest = bytes.fromhex(root)
    if len(digest) != DIGEST_SIZE:
        raise CorruptError(f"not the digest of a map: {root!r}")
    return digest
