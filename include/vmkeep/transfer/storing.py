"""Copies one disk into the repository: read, zero test, digest, known already?, compress, pack; in parallel.

Worker threads do all of it on pieces that they pull from the source; calls on whole blocks let go of Python's lock.
The main thread reports, looks whether it has to stop, and makes what was done durable every now and then, so that
a retry goes on there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain

from vmkeep.errors import CorruptError, TransferError
from vmkeep.model.blockio import DiskReader, DiskSource, Piece
from vmkeep.model.extents import Extent, Extents, align_out, coalesce, complement, intersect, subtract, total
from vmkeep.model.job import Cursor
from vmkeep.repository import ZERO, BlockWriter, DiskMap, Kind, MapBuilder, Repository, encode_extents
from vmkeep.transfer.pipeline import Crew
from vmkeep.transfer.position import Position
from vmkeep.transfer.progress import OnProgress, ProgressCounter

_CHECKPOINT_BYTES = 2 << 30
_CHECKPOINT_SECONDS = 30.0
_CHECK_SECONDS = 1.0
_CLEARED_AT_ONCE = 1024
_ZEROES = bytes(4 << 20)
"""``_ZEROES.startswith(view)`` is the fast zero test: one memcmp with an early end. Comparing a memoryview with ``==``
takes it apart byte by byte and is 70 times slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDisk:
    """A stored disk: durable and findable, but part of no restore point yet."""

    root: str
    extents_root: str
    extents_size: int
    bytes_read: int
    bytes_stored: int
    seconds: float
    resumed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadPlan:
    """The extents to read, and the map to start from."""

    extents: Extents
    """The extents that the point holds anew: changed, or allocated."""
    reading: Extents
    """The part of them that is read, including the part that an earlier try has read."""
    cleared: Extents
    """The part of them that is not allocated any more; it is zeros and is not read."""
    remaining: Extents
    base: DiskMap | None
    cursor: Cursor | None


def back_up_disk(
    source: DiskSource,
    repository: Repository,
    *,
    run: str,
    begun: str | None = None,
    extents: Sequence[Extent] | None,
    parent_root: str | None,
    cursor: Cursor | None,
    snapshot: str | None,
    piece_size: int,
    depth: int,
    on_progress: OnProgress,
    check: Callable[[], None],
) -> StoredDisk:
    """Store a disk's content.

    :param begun: the try of the run that this copy is part of: it began before the parent was looked up.
    :param extents: what has changed since the parent: everything else is taken from its map. What of it the source
        says is not allocated is zeros, and not read. ``None``: read whatever the source says is allocated, or all;
        what is not read is zeros then, whatever the parent holds.
    :param parent_root: map root of the parent point's disk. Needed with ``extents``; without it what is outside of
        them is zeros.
    :param cursor: where an earlier try of the same snapshot stood; one of another snapshot, or of none, is not used.
    :param check: called every second and before each checkpoint; raises when the copy has to stop.
    :raises UsageError: the parent's disk was larger: read this one in full.
    :raises StaleError: maintenance took something of the parent, which was forgotten meanwhile.
    """
    started = time.monotonic()
    # The writer is opened before the parent's map is read: what a sweep takes from now on shows at the seal.
    with (
        repository.open_writer(run=run, begun=begun) as writer,
        _building_on(repository, parent_root, run, begun or writer.begun),
    ):
        plan = _plan(source, repository, extents, parent_root, cursor if _fits(cursor, snapshot) else None)
        builder = repository.build_map(writer, capacity=source.capacity, base=plan.base)
        copy = _Copy(plan, repository, writer, builder, snapshot=snapshot, on_progress=on_progress, check=check)
        copy.run(source, piece_size=piece_size, depth=depth)
        check()
        root = builder.store()
        encoded = encode_extents(plan.extents)
        extents_root = repository.write_attachment(writer, encoded)
        writer.flush()
        stored = copy.stored
    on_progress(copy.meter.event(stored=stored))
    return StoredDisk(
        root=root,
        extents_root=extents_root,
        extents_size=len(encoded),
        bytes_read=copy.read,
        bytes_stored=stored,
        seconds=time.monotonic() - started,
        resumed_at=plan.cursor.offset if plan.cursor else 0,
    )


@contextmanager
def _building_on(repository: Repository, parent_root: str | None, run: str, begun: str) -> Iterator[None]:
    """Tell what is gone of a parent that was forgotten meanwhile from what is damaged."""
    try:
        yield
    except CorruptError:
        if parent_root is not None:
            repository.require_unswept([parent_root], run=run, begun=begun)
        raise


def _fits(cursor: Cursor | None, snapshot: str | None) -> bool:
    """Whether the disk is still what the cursor was made from. Without a snapshot it may have been written to since."""
    return cursor is not None and snapshot is not None and cursor.snapshot == snapshot


def _plan(
    source: DiskSource,
    repository: Repository,
    extents: Sequence[Extent] | None,
    parent_root: str | None,
    cursor: Cursor | None,
) -> _ReadPlan:
    capacity = source.capacity
    base = None
    allocated = source.allocated()
    new: Sequence[Extent]
    if extents is None:
        new = allocated if allocated is not None else complement((), capacity)
    else:
        base = repository.open_map(parent_root) if parent_root else None
        new = extents
        if base is not None and base.capacity < capacity:
            # The parent's last block may have been a short one, and what follows was never asked for.
            new = coalesce(chain(new, [Extent(base.capacity, capacity)]))
    new = align_out(new, repository.block_size, within=capacity)
    reading = new
    if allocated is not None and extents is not None:
        reading = intersect(new, align_out(allocated, repository.block_size, within=capacity))
    resumed = _resume(repository, cursor, capacity)
    offset = cursor.offset if cursor is not None and resumed is not None else 0
    return _ReadPlan(
        extents=new,
        reading=reading,
        cleared=subtract(new, reading) if reading is not new else Extents(),
        remaining=_from(reading, offset, capacity),
        base=base if resumed is None else resumed,
        cursor=cursor if resumed is not None else None,
    )


def _from(extents: Extents, offset: int, capacity: int) -> Extents:
    if not offset:
        return extents
    return intersect(extents, (Extent(offset, capacity),)) if offset < capacity else Extents()


def _resume(repository: Repository, cursor: Cursor | None, capacity: int) -> DiskMap | None:
    """Return the map of an earlier try; ``None`` where its blocks are gone, and everything is read again."""
    if cursor is None:
        return None
    try:
        resumed = repository.open_map(cursor.root)
    except CorruptError:
        return None
    return resumed if resumed.capacity == capacity else None


class _Copy:
    """A running copy."""

    def __init__(
        self,
        plan: _ReadPlan,
        repository: Repository,
        writer: BlockWriter,
        builder: MapBuilder,
        *,
        snapshot: str | None,
        on_progress: OnProgress,
        check: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._block_size = repository.block_size
        self._digest = repository.framer.digester.of
        self._writer = writer
        self._builder = builder
        self._snapshot = snapshot
        self._on_progress = on_progress
        self._check = check
        self._cleared = 0
        self._position = Position(plan.remaining, end=builder.shape.capacity)
        everything = total(plan.reading)
        self._left = total(plan.remaining)
        self.meter = ProgressCounter("backup", everything, done=everything - self._left)
        self._checked_at = self._durable_at = time.monotonic()
        self._durable = self.meter.done

    @property
    def read(self) -> int:
        """Bytes read, by earlier tries too."""
        before = self._plan.cursor.bytes_read if self._plan.cursor else 0
        return before + self.meter.done - (total(self._plan.reading) - self._left)

    @property
    def stored(self) -> int:
        """Bytes stored, by earlier tries too."""
        return self._writer.bytes_stored + (self._plan.cursor.bytes_stored if self._plan.cursor else 0)

    def run(self, source: DiskSource, *, piece_size: int, depth: int) -> None:
        """Copy what remains."""
        if not self._plan.remaining:
            self._pass(self._builder.shape.blocks)
            return
        self._builder.expect(self._plan.remaining)
        piece_size = max(piece_size // self._block_size, 1) * self._block_size
        crew = Crew()
        try:
            with source.open_reader(self._plan.remaining, piece_size=piece_size, depth=depth) as reader:
                crew.run([partial(self._work, crew, reader)] * (os.cpu_count() or 1), self._tick)
        finally:
            crew.join()
        if (low := self._position.low) < self._builder.shape.capacity:  # else the map would say zeros, or what was
            raise TransferError(f"the source gave nothing from byte {low} on, though it was asked to")
        self._pass(self._builder.shape.blocks)

    def _work(self, crew: Crew, reader: DiskReader) -> None:
        while not crew.stop.is_set() and (piece := reader.next_piece()) is not None:
            try:
                length = len(piece.data)
                start = piece.start
                self._store(piece)
            finally:
                piece.release()
            self._position.done(start, start + length)
            self.meter.add(length)

    def _store(self, piece: Piece) -> None:
        size, data = self._block_size, piece.data
        if piece.start % size or (len(data) % size and piece.start + len(data) != self._builder.shape.capacity):
            raise TransferError(f"the source gave {len(data)} bytes at {piece.start}, which are not whole blocks")
        first = piece.start // size
        digests = []
        for row in range(-(-len(data) // size)):
            raw = data[row * size : (row + 1) * size]
            if _ZEROES.startswith(raw):
                digests.append(ZERO)
                continue
            digest = self._digest(Kind.BLOCK, raw)
            # Also what the parent's map says already: its block may be damaged or about to go, and this one is good.
            self._writer.add(Kind.BLOCK, digest, raw)
            digests.append(digest)
        self._builder.set(first, digests)

    def _tick(self) -> None:
        clock = time.monotonic()
        if clock - self._checked_at < _CHECK_SECONDS:
            return
        self._checked_at = clock
        self._check()
        self._pass(self._position.low // self._block_size)
        due = self.meter.done - self._durable >= _CHECKPOINT_BYTES or clock - self._durable_at >= _CHECKPOINT_SECONDS
        cursor = self._checkpoint() if due and self.meter.done > self._durable else None
        self._on_progress(self.meter.event(stored=self.stored, cursor=cursor))

    def _pass(self, block: int) -> None:
        """Leave behind what is done below a block: clear what is to be zeros there, then store the map's pages.

        A little at a time, for each area that is cleared may open pages of its own.
        """
        size, cleared = self._block_size, self._plan.cleared
        while self._cleared < len(cleared) and cleared[self._cleared].start < block * size:
            some = cleared[self._cleared : self._cleared + _CLEARED_AT_ONCE]
            batch = [area for area in some if area.start < block * size]
            self._builder.clear(batch)
            self._builder.close_below(batch[-1].start // size)
            self._cleared += len(batch)
        self._builder.close_below(block)

    def _checkpoint(self) -> Cursor:
        """Make durable what is done; the workers go on meanwhile."""
        self._durable, self._durable_at = self.meter.done, time.monotonic()
        offset = self._position.low
        read = self.read
        self._pass(offset // self._block_size)
        root = self._builder.store()
        self._writer.flush()
        return Cursor(snapshot=self._snapshot, offset=offset, root=root, bytes_read=read, bytes_stored=self.stored)
