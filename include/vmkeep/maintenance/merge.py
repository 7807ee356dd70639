"""Merges the index: the many segments that backups leave become a few, whose digest ranges do not overlap.

A merge locks nothing, and nothing waits for it. It puts new segments before it deletes old ones, and deletes a segment
only after it has put every entry of that segment itself. So at any instant, and after a crash at any point, every entry
is in some segment. A crash, or two merges at once, may list entries twice; the next merge makes them one again. Only
entries of packs that a sweep has deleted are left out, by its record. A merge looks for no other pack, because a pack
that it does not find may be on a disk that is not mounted. This module knows no bytes of a segment; see decision 0009.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from vmkeep.blobs import abreast, confirm_lists
from vmkeep.lateclass import dataclass
from vmkeep.maintenance.index_rewriting import IndexRewriting, rewriting_index
from vmkeep.maintenance.noting import require_points
from vmkeep.model.job import Progress
from vmkeep.repository import Repository, locked_by_age
from vmkeep.repository.folders import INDEX
from vmkeep.repository.index import Segment, without_overlap
from vmkeep.repository.index.columns import Columns
from vmkeep.repository.index.merging import merged, span_of

_PART = 4_000_000
"""Entries in a new segment: about 200 MB. The merge needs three times as much memory for them."""
_WORTH = 2
"""A row of segments is rewritten once all smaller rows together have one entry for this many of its own. So a rewritten
row grows by at least half, and the number of rows stays logarithmic in the number of entries."""
_AT_ONCE_BYTES = 512 << 20
"""Limit for the bytes of segments that one merge reads into memory. The next merge takes the rest."""
_SMALL_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSource:
    """One segment in the store."""

    key: str
    size: int
    entries: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePlan:
    """The segments to be merged; none if a merge is not worth its cost."""

    segments: int
    """All segments of the index."""
    rows: int
    """Number of segments that a look-up asks when the digest is in none."""
    entries: int
    """Entries of all segments."""
    sources: tuple[MergeSource, ...]

    @property
    def parts(self) -> int:
        """Number of segments that the merge makes."""
        return -(-sum(source.entries for source in self.sources) // _PART)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """The outcome of a merge."""

    segments_removed: int = 0
    segments_written: int = 0
    entries: int = 0
    """Entries written."""
    twins: int = 0
    """Entries that had been listed more than once."""
    dangling: int = 0
    """Entries that were left out because a sweep has deleted their pack."""
    bytes_written: int = 0


def plan_merge(repository: Repository) -> MergePlan:
    """Look at the range and size of every segment, and return those that are worth merging. Changes nothing.

    Segments that the store still locks are left out: merged, their entries would only be stored twice.

    :raises CorruptError: points are missing although nobody forgot them. Perhaps a person is moving the repository by
        hand, and part of the index is elsewhere, too.
    """
    confirm_lists(repository.blobs)
    require_points(repository)
    held = locked_by_age(repository.blobs, repository.descriptor.lock, INDEX)
    sources = [
        MergeSource(key=key, size=size, entries=segment.entries, first=segment.first, last=segment.last)
        for key, size, segment in repository.stored_index.stored()
    ]
    free = [source for source in sources if source.key not in held]
    return MergePlan(
        segments=len(sources),
        rows=len(without_overlap(sources)),
        entries=sum(source.entries for source in sources),
        sources=tuple(_within_memory(_worth_merging(free))),
    )


def _worth_merging(sources: Sequence[MergeSource]) -> list[MergeSource]:
    """Return the sources up to the largest row that is worth rewriting for the sake of the smaller ones."""
    small = [source for source in sources if source.entries < _PART // 3]
    rows = [*([source] for source in small), *without_overlap(s for s in sources if s.entries >= _PART // 3)]
    rows.sort(key=lambda row: sum(source.entries for source in row))
    below = taken = 0
    for number, row in enumerate(rows):
        entries = sum(source.entries for source in row)
        if number and entries <= _WORTH * below:
            taken = number + 1
        below += entries
    return [source for row in rows[:taken] for source in row]


def _within_memory(sources: Sequence[MergeSource]) -> list[MergeSource]:
    """Return the sources that one merge can hold in memory: all of them, or the small ones first."""
    small = [source for source in sources if source.size <= _SMALL_BYTES]
    if sum(source.size for source in small) <= _AT_ONCE_BYTES:
        return list(sources)
    return small[: max(2, int(np.searchsorted(np.cumsum([source.size for source in small]), _AT_ONCE_BYTES)))]


def execute_merge(
    repository: Repository, plan: MergePlan, *, on_progress: Callable[[Progress], None] = lambda _progress: None
) -> MergeReport:
    """Merge the segments of a plan. Sources that are damaged, or gone since the plan, are skipped and not touched.

    :raises StaleError: maintenance took this process for dead meanwhile. No segment was deleted.
    """
    with rewriting_index(repository) as rewriting:
        return _merge(repository, plan, rewriting, on_progress)


def _merge(
    repository: Repository, plan: MergePlan, rewriting: IndexRewriting, on_progress: Callable[[Progress], None]
) -> MergeReport:
    index = repository.stored_index
    wanted = [(source.key, source.size) for source in plan.sources]
    opened = {key: segment for key, _, segment in index.open_stored(wanted) if index.is_whole(key, segment)}
    if len(opened) < 2:
        return MergeReport()
    total = sum(segment.entries for segment in opened.values())
    sources = [_columns(segment) for segment in opened.values() if segment.entries]
    written = entries = twins = size = done = 0
    parts = -(-total // _PART)
    for part in range(parts):
        start, stop = (part << 64) // parts, (part + 1 << 64) // parts
        spans = [span for columns in sources if len((span := span_of(columns, start, stop)).prefixes)]
        given = sum(len(span.prefixes) for span in spans)
        done += given
        if spans:
            once = merged(spans)
            twins += given - len(once.prefixes)
            left = rewriting.put(once)
            written += left.entries > 0
            entries += left.entries
            size += left.size
        for segment in opened.values():
            segment.release()
        on_progress(Progress(phase="merge", bytes_done=done, bytes_total=total))
    deque(abreast(repository.blobs, repository.blobs.delete, opened), maxlen=0)
    return MergeReport(
        segments_removed=len(opened),
        segments_written=written,
        entries=entries,
        twins=twins,
        dangling=total - twins - entries,
        bytes_written=size,
    )


def _columns(segment: Segment) -> Columns:
    columns = segment.columns()
    segment.release()
    return columns
