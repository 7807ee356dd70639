"""Checks vSphere's word on what did not change on a disk, before an increment is built on it.

Two things are looked at. A sample of the blocks that are called unchanged is read, and compared with the last point's
map by digest. And the last point's data in areas that are not allocated any more is found without reading: the guest
has trimmed them, and not every vSphere calls that a change.

Memory is bounded: extents are packed, and a map's pages are read as they are needed.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from functools import partial

from vmkeep.errors import CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.model.audit import Audit, AuditPlan
from vmkeep.model.blockio import DiskReader, DiskSource, Piece
from vmkeep.model.extents import Extent, Extents, align_out, complement, intersect, subtract, total
from vmkeep.model.fullreason import FullRead, FullReason
from vmkeep.repository import ZERO, DiskMap, Kind, Repository
from vmkeep.transfer.pipeline import Crew
from vmkeep.transfer.progress import OnProgress, ProgressCounter

log = logging.getLogger(__name__)

_ZEROES = bytes(4 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The outcome of the check of one increment."""

    audit: Audit | None = None
    """The outcome of the audit; ``None``: none was asked for, or it could not be done."""
    trimmed: Extents = field(default_factory=Extents)
    """Areas that hold data in the last point, are not allocated now, and are not called changed. Read them, too."""
    full: FullRead | None = None
    """The reason to read the whole disk; ``None``: the increment may be built."""


class OnceAllocated:
    """A source that asks for its allocated extents once, because the question may take minutes."""

    def __init__(self, source: DiskSource) -> None:
        self._source = source
        self._allocated = source.allocated()

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""
        return self._source.capacity

    @property
    def transport(self) -> str:
        """The transport mode that was really used."""
        return self._source.transport

    def allocated(self) -> Sequence[Extent] | None:
        """Return the extents that may hold data, as they were told first."""
        return self._allocated

    def open_reader(
        self, extents: Sequence[Extent], *, piece_size: int, depth: int
    ) -> AbstractContextManager[DiskReader]:
        """Read extents."""
        return self._source.open_reader(extents, piece_size=piece_size, depth=depth)


def check_increment(
    source: DiskSource,
    repository: Repository,
    *,
    plan: AuditPlan | None,
    done: Audit | None,
    changed: Sequence[Extent],
    parent: str,
    parent_root: str,
    piece_size: int,
    depth: int,
    on_progress: OnProgress,
    check: Callable[[], None],
) -> Checked:
    """Compare what vSphere calls unchanged with the last point.

    :param plan: the sample to read; ``None``: none.
    :param done: the outcome of an earlier try on the same snapshot, which need not be found again.
    :param changed: the extents that vSphere calls changed.
    :param parent: ref of the last point, for messages.
    :param parent_root: root of the map of the last point's disk.
    """
    try:
        base = repository.open_map(parent_root)
        size = repository.block_size
        new = align_out(changed, size, within=source.capacity)
        allocated = source.allocated()
        held = None if allocated is None else align_out(allocated, size, within=source.capacity)
        if done is None and plan is not None:
            sample = subtract(Extents(plan.sample(source.capacity, size)), new)
            sample = sample if held is None else intersect(sample, held)
            reading = _Comparison(base, repository, sample, on_progress=on_progress, check=check)
            reading.run(source, piece_size=piece_size, depth=depth)
            done = reading.outcome(plan)
        if done is not None and done.lies:
            return Checked(audit=done, full=_lied(done, parent))
        return Checked(audit=done, trimmed=Extents() if held is None else _trimmed(base, held, new))
    except CorruptError as error:
        why = f"the map of {parent}, the last restore point, cannot be read: {error}"
        return Checked(full=FullRead(reason=FullReason.POINT_DAMAGED, text=why))


def _lied(audit: Audit, parent: str) -> FullRead:
    why = (
        f"change tracking left out a change: {audit.lies} of {audit.blocks} audited blocks differ from {parent}, "
        f"though vSphere says that they did not change since; the first at byte {audit.first_lie}"
    )
    return FullRead(reason=FullReason.TRACKING_LIED, text=why)


def _trimmed(base: DiskMap, allocated: Sequence[Extent], new: Sequence[Extent]) -> Extents:
    """Return the areas for which a map holds data, of those that are neither allocated nor called changed."""
    gone = subtract(complement(allocated, base.capacity), new)
    return Extents(_held(base, gone))


def _held(base: DiskMap, extents: Sequence[Extent]) -> Iterator[Extent]:
    size = base.block_size
    for extent in extents:
        for block, _ in base.blocks(extent.start // size, -(-extent.stop // size)):
            yield base.shape.extent(block, block + 1)


class _Comparison:
    """A running comparison of a disk's extents with a map."""

    def __init__(
        self,
        base: DiskMap,
        repository: Repository,
        extents: Extents,
        *,
        on_progress: OnProgress,
        check: Callable[[], None],
    ) -> None:
        self._base = base
        self._digest = partial(repository.framer.digester.of, Kind.BLOCK)
        self._extents = extents
        self._on_progress = on_progress
        self._check = check
        self._lock = threading.Lock()
        self._meter = ProgressCounter("audit", total(extents))
        self._blocks = self._lies = 0
        self._first: int | None = None

    def run(self, source: DiskSource, *, piece_size: int, depth: int) -> None:
        """Read and compare all extents."""
        if not self._extents:
            return
        piece_size = max(piece_size // self._base.block_size, 1) * self._base.block_size
        crew = Crew()
        try:
            with source.open_reader(self._extents, piece_size=piece_size, depth=depth) as reader:
                crew.run([partial(self._work, crew, reader)] * (os.cpu_count() or 1), self._tick)
        finally:
            crew.join()

    def outcome(self, plan: AuditPlan) -> Audit:
        """Return the counts."""
        return Audit(
            phase=plan.phase,
            of=plan.of,
            blocks=self._blocks,
            bytes_read=self._meter.done,
            lies=self._lies,
            first_lie=self._first,
        )

    def _work(self, crew: Crew, reader: DiskReader) -> None:
        while not crew.stop.is_set() and (piece := reader.next_piece()) is not None:
            try:
                self._compare(piece)
            finally:
                piece.release()

    def _compare(self, piece: Piece) -> None:
        size, data, first = self._base.block_size, piece.data, piece.start // self._base.block_size
        found = []
        for start in range(0, len(data), size):
            raw = data[start : start + size]
            found.append(ZERO if _ZEROES.startswith(raw) else self._digest(raw))
        with self._lock:
            for block, digest in enumerate(found, first):
                if self._base.lookup(block) != digest:
                    self._lies += 1
                    self._first = min(block * size, self._first if self._first is not None else block * size)
            self._blocks += len(found)
        self._meter.add(len(data))

    def _tick(self) -> None:
        self._check()
        self._on_progress(self._meter.event())
