"""Copies one disk into the repository: reads, tests for zeros, digests, looks up, compresses and packs in parallel.

Worker threads do all these steps on pieces that they pull from the source. Calls on whole blocks release Python's lock.
The main thread reports progress and looks whether it has to stop. At checkpoints it makes the finished part durable, so
that a retry continues from there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain

from vmkeep.errors import CorruptError, TransferError
from vmkeep.lateclass import dataclass
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
"""For a fast test: ``_ZEROES.startswith(view)`` is one memcmp that ends early.

Comparing a memoryview with ``==`` goes byte by byte, and is 70 times slower.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDisk:
    """A stored disk. It is durable and findable, but not yet part of a restore point."""

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
    """The extents whose content is new in this point, because they changed or are allocated."""
    reading: Extents
    """The part of them that is read, by this try or by an earlier one."""
    cleared: Extents
    """The part of them that is not allocated any more. It is zeros, and is not read."""
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
    also: Sequence[Extent] = (),
    parent_root: str | None,
    cursor: Cursor | None,
    snapshot: str | None,
    piece_size: int,
    depth: int,
    on_progress: OnProgress,
    check: Callable[[], None],
) -> StoredDisk:
    """Store a disk's content.

    :param begun: the try of the run that this copy belongs to. It began before the parent was looked up.
    :param extents: the extents that changed since the parent. All others are taken from the parent's map. A changed
        extent that is not allocated any more is zeros, and is not read. ``None``: read all allocated extents, or the
        whole disk if the source cannot tell them. All others are zeros then, whatever the parent holds.
    :param also: further extents to read, whether they are allocated or not.
    :param parent_root: map root of the parent point's disk. Without it everything outside of ``extents`` is zeros.
    :param cursor: the position of an earlier try. It is used only if that try read the same snapshot.
    :param piece_size: bytes of one read.
    :param depth: number of reads at once.
    :param check: called every second and before each checkpoint. It raises an error when the copy has to stop.
    :raises UsageError: the parent's disk was larger, so that this disk has to be read in full.
    :raises StaleError: the parent was forgotten meanwhile, and maintenance took a part of it.
    """
    started = time.monotonic()
    # The writer is opened before the parent's map is read, so that the seal notices what a sweep takes from now on.
    with (
        repository.open_writer(run=run, begun=begun) as writer,
        _building_on(repository, parent_root, run, begun or writer.begun),
    ):
        plan = _plan(source, repository, extents, also, parent_root, cursor if _fits(cursor, snapshot) else None)
        builder = repository.build_map(writer, capacity=source.capacity, base=plan.base)
        copy = _Copy(plan, repository, writer, builder, snapshot=snapshot, on_progress=on_progress, check=check)
        copy.run(source, piece_size=piece_size, depth=depth)
        check()
        root = builder.store()
        encoded = encode_extents(plan.extents)
        extents_root = repository.write_attachment(writer, encoded)
        writer.flush(check)
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
    """Raise a StaleError instead of damage if a sweep took a part of a parent that was forgotten meanwhile."""
    try:
        yield
    except CorruptError:
        if parent_root is not None:
            repository.require_unswept([parent_root], run=run, begun=begun)
        raise


def _fits(cursor: Cursor | None, snapshot: str | None) -> bool:
    """Return whether the cursor was made from this snapshot. Without a snapshot the disk may have changed since."""
    return cursor is not None and snapshot is not None and cursor.snapshot == snapshot


def _plan(
    source: DiskSource,
    repository: Repository,
    extents: Sequence[Extent] | None,
    also: Sequence[Extent],
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
            # The parent's last block may have been a short one, and the bytes behind it were never part of a query.
            new = coalesce(chain(new, [Extent(base.capacity, capacity)]))
    new = align_out(new, repository.block_size, within=capacity)
    reading = new
    if allocated is not None and extents is not None:
        reading = intersect(new, align_out(allocated, repository.block_size, within=capacity))
    if also:
        unasked = align_out(also, repository.block_size, within=capacity)
        new, reading = coalesce(chain(new, unasked)), coalesce(chain(reading, unasked))
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
    """Return the map of an earlier try; ``None``: its blocks are gone, and everything is read again."""
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
        """Bytes read, including those of earlier tries."""
        before = self._plan.cursor.bytes_read if self._plan.cursor else 0
        return before + self.meter.done - (total(self._plan.reading) - self._left)

    @property
    def stored(self) -> int:
        """Bytes stored, including those of earlier tries."""
        return self._writer.bytes_stored + (self._plan.cursor.bytes_stored if self._plan.cursor else 0)

    def run(self, source: DiskSource, *, piece_size: int, depth: int) -> None:
        """Copy the remaining extents."""
        if not self._plan.remaining:
            self._pass(self._builder.shape.blocks)
            return
        self._builder.expect(self._plan.remaining)
        piece_size = max(piece_size // self._block_size, 1) * self._block_size
        crew = Crew()
        try:
            with source.open_reader(self._plan.remaining, piece_size=piece_size, depth=depth) as reader:
                try:
                    crew.run([partial(self._work, crew, reader)] * (os.cpu_count() or 1), self._tick)
                except BaseException:
                    self._writer.wait_for_nobody()  # a worker may wait for room, and that for another writer
                    raise
        finally:
            crew.join()
        if (
            low := self._position.low
        ) < self._builder.shape.capacity:  # because the map would hold zeros or old content there
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
            # Add it even if the parent's map has this digest, because the parent's block may be damaged or about to go.
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
        """Finish the map below a block: clear the extents that are zeros there, and store the map's pages.

        This goes in small steps, because each cleared area may open pages of its own.
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
        """Make the finished part durable, while the workers go on. Return its cursor."""
        self._durable, self._durable_at = self.meter.done, time.monotonic()
        offset = self._position.low
        read = self.read
        self._pass(offset // self._block_size)
        root = self._builder.store()
        self._writer.flush(self._check)
        return Cursor(snapshot=self._snapshot, offset=offset, root=root, bytes_read=read, bytes_stored=self.stored)
