"""Compares the index with the footers of the packs: same entries, and no pack that does not exist.

Several segments may list the same entry, and a pack's entries may be spread over many segments. So the check sums up
all entries of a pack, and compares the result with a multiple of the sum over the pack's footer. Only if these differ,
because a merge was cut short or an entry is wrong, are the entries gathered one by one. Memory: some numbers for every
pack and for every pack that a small segment names, and all entries of a few packs at a time.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vmkeep.blobs import BlobInfo, BlobStore, Bytes, abreast, is_there, opened
from vmkeep.errors import BlobNotFoundError, CorruptError, TransientError
from vmkeep.lateclass import dataclass
from vmkeep.repository.folders import INDEX
from vmkeep.repository.frames import DIGEST_SIZE, Framer, Kind, PackContents
from vmkeep.repository.index import MAX_BLOB, Segment
from vmkeep.repository.index.columns import U64, Columns, columns_in, columns_of

_TRIES = 10
"""Number of listings after which vanishing segments cannot be explained by maintenance any more."""
_SMALL = 4 << 20
"""Segments up to this size, in bytes, are read several at a time."""
_GATHERED = 1 << 22
"""Entries gathered at a time."""
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)

Sum = tuple[int, int]
"""The number of entries, and a sum that differs between different sets of that many entries, whatever their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFaults:
    """The faults of an index."""

    damaged: dict[str, str]
    """Segment → why it cannot be used."""
    listed: frozenset[bytes]
    """The packs that good segments name."""
    wrong: frozenset[bytes]
    """Those of the listed packs whose entries are not those of the footer."""


class _VanishedError(Exception):
    """A segment vanished while it was being read, so the segments have to be listed again."""


class IndexCheck:
    """Reads all segments of an index, and trusts none of them."""

    def __init__(self, store: BlobStore, framer: Framer, *, read: Callable[[int], None]) -> None:
        """Prepare the comparison.

        :param read: called with the size of each segment after it was read.
        """
        self._store = store
        self._framer = framer
        self._read = read
        self._sums: dict[str, list[tuple[bytes, Sum]] | CorruptError] = {}
        """The findings of each small segment. Runs merge those, so each is read once, however often it is
        listed. Large ones are few, and name so many packs that their sums would take much memory."""

    def run(self, packs: Mapping[bytes, Sum]) -> IndexFaults:
        """Compare the segments with the sums over the packs' footers.

        :raises TransientError: at each try maintenance or a run had merged segments that were being read.
        """
        for _ in range(_TRIES):
            segments = list(self._store.list(INDEX))
            try:
                return self._run(segments, packs)
            except _VanishedError:
                continue  # merged meanwhile: the merged segment may not be in our listing
        missing = {blob.key for blob in segments if not is_there(self._store, blob.key)}
        segments = list(self._store.list(INDEX))
        damaged = {blob.key: "is listed, but not there" for blob in segments if blob.key in missing}
        try:
            return self._run([blob for blob in segments if blob.key not in damaged], packs, damaged)
        except _VanishedError as error:
            raise TransientError(
                "segments of the index were merged again and again while they were checked: check once more, at a time "
                "with fewer backups"
            ) from error

    def _run(
        self, segments: Sequence[BlobInfo], packs: Mapping[bytes, Sum], damaged: dict[str, str] | None = None
    ) -> IndexFaults:
        bad = dict(damaged or {})
        tally: dict[bytes, Sum] = {}
        for blob, sums in self._summed(segments):
            if isinstance(sums, CorruptError):
                bad[blob.key] = str(sums)
                continue
            for pack, (count, total) in sums:
                before = tally.get(pack, (0, 0))
                tally[pack] = (before[0] + count, before[1] + total & 0xFFFFFFFFFFFFFFFF)
        doubtful = [pack for pack, found in tally.items() if pack in packs and not _is_multiple(found, packs[pack])]
        good = [blob for blob in segments if blob.key not in bad]
        wrong = frozenset(pack for part in _parts(doubtful, tally) for pack in self._compare(good, part, packs))
        return IndexFaults(damaged=bad, listed=frozenset(tally), wrong=wrong)

    def _summed(
        self, segments: Sequence[BlobInfo]
    ) -> Iterator[tuple[BlobInfo, Iterable[tuple[bytes, Sum]] | CorruptError]]:
        """Yield what is in each segment. Read the small ones that were not read yet, and then each large one."""
        small = [blob for blob in segments if blob.size <= _SMALL]
        unread = [blob for blob in small if blob.key not in self._sums]
        for blob, columns in abreast(self._store, self._look, unread, computes=True):
            self._sums[blob.key] = columns if isinstance(columns, CorruptError) else list(_sums(columns))
            self._read(blob.size)
        yield from ((blob, self._sums[blob.key]) for blob in small)
        for blob, columns in map(self._look, (blob for blob in segments if blob.size > _SMALL)):
            yield blob, columns if isinstance(columns, CorruptError) else _sums(columns)
            self._read(blob.size)

    def _look(self, blob: BlobInfo) -> tuple[BlobInfo, Columns | CorruptError]:
        try:
            return blob, self._columns(blob)
        except CorruptError as error:
            return blob, error

    def _compare(
        self, segments: Sequence[BlobInfo], doubtful: Sequence[bytes], packs: Mapping[bytes, Sum]
    ) -> Iterator[bytes]:
        """Yield the packs whose listed entries, each counted once, differ from those of the footer."""
        entries: dict[bytes, list[U64]] = {pack: [] for pack in doubtful}
        for blob in segments:
            columns = self._columns(blob)
            rows = [row for row, pack in enumerate(_ids(columns)) if pack in entries]
            some = columns.where(np.isin(columns.packs, np.array(rows, np.uint32)))
            order, bounds = _by_pack(some)
            sorted_marks = marks(some)[order]
            for row, pack in enumerate(_ids(some)):
                entries[pack].append(sorted_marks[bounds[row] : bounds[row + 1]])
        for pack, listed in entries.items():
            found = np.unique(np.concatenate(listed))
            if (len(found), _total(found)) != packs[pack]:
                yield pack

    def _columns(self, blob: BlobInfo) -> Columns:
        try:
            path = self._store.local_path(blob.key)
            content: Bytes
            if path is None:
                content = self._store.get(blob.key)
            else:
                with opened(path) as file:
                    content = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ)) if blob.size else b""
        except (BlobNotFoundError, FileNotFoundError) as error:
            raise _VanishedError from error
        segment = Segment(self._framer.unwrap(Kind.INDEX, content, name=blob.key, limit=MAX_BLOB))
        columns = columns_in(segment)
        if segment.entries and int(columns.packs.max()) >= len(columns.kinds):
            raise CorruptError("index segment: an entry is in no pack")
        return columns


def sum_of(contents: PackContents) -> Sum:
    """Return the sum that the index entries of a pack should have."""
    return contents.count, _total(marks(columns_of([contents])))


def marks(columns: Columns) -> U64:
    """Return a number for each entry that depends on every field of the entry, except for its pack."""
    rests = np.ascontiguousarray(columns.rests).view(np.uint64).reshape(-1, (DIGEST_SIZE - 8) // 8)
    parts = columns.prefixes * _MIX[0]
    for column in range(3):
        parts = (parts ^ rests[:, column]) * _MIX[column + 1]
    places = columns.offsets.astype(np.uint64) << np.uint64(32) | columns.lengths.astype(np.uint64)
    mixed = (parts ^ places) * _MIX[0]
    result: U64 = (mixed ^ mixed >> np.uint64(29)) * _MIX[1]
    return result


def _total(values: U64) -> int:
    return int(values.sum(dtype=np.uint64))


def _ids(columns: Columns) -> Iterator[bytes]:
    return (row.tobytes() for row in columns.pack_ids)


def _sums(columns: Columns) -> Iterator[tuple[bytes, Sum]]:
    """Yield the sum over the entries of each pack."""
    order, bounds = _by_pack(columns)
    running = np.concatenate((np.zeros(1, np.uint64), np.cumsum(marks(columns)[order], dtype=np.uint64)))
    counts, totals = np.diff(bounds).tolist(), np.diff(running[bounds]).tolist()
    yield from zip(_ids(columns), zip(counts, totals, strict=True), strict=True)


def _by_pack(columns: Columns) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the order of entries by the rows of their packs, and the position in it at which each pack begins."""
    order = np.argsort(columns.packs, kind="stable")
    return order, np.searchsorted(columns.packs[order], np.arange(len(columns.kinds) + 1))


def _is_multiple(found: Sum, expected: Sum) -> bool:
    """Return whether the found sum is that of the expected entries, each listed equally often."""
    times, rest = divmod(found[0], expected[0]) if expected[0] else (0, found[0])
    return not rest and times * expected[1] & 0xFFFFFFFFFFFFFFFF == found[1]


def _parts(packs: Sequence[bytes], tally: Mapping[bytes, Sum]) -> Iterator[list[bytes]]:
    """Cut a list of packs so that the entries of each part fit into memory."""
    part: list[bytes] = []
    held = 0
    for pack in packs:
        if part and held + tally[pack][0] > _GATHERED:
            yield part
            part, held = [], 0
        part.append(pack)
        held += tally[pack][0]
    if part:
        yield part
