"""Reads a stored disk's blocks in the order of packs, several requests at once, and hands each to a consumer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

from vmkeep.errors import CorruptError
from vmkeep.repository import Batch, BlockReader, DiskMap, ReadBuffers
from vmkeep.transfer.pipeline import Conveyor, Crew
from vmkeep.transfer.progress import OnProgress, ProgressCounter
from vmkeep.transfer.stored_blocks import StoredBlocks

WINDOW = 16384
"""Number of blocks that are put into pack order together: 4 GiB of disk, some 10 MiB of memory."""
_CHECK_SECONDS = 1.0

Consume = Callable[[int, memoryview], None]
"""Takes a block's number and content. Several threads call it."""


class DiskReading:
    """A disk that is being read in full or in part."""

    def __init__(
        self,
        disk: DiskMap,
        blocks: BlockReader,
        *,
        what: str,
        phase: str,
        on_progress: OnProgress,
        check: Callable[[], None],
        select: Callable[[bytes], bool] | None = None,
        chosen: Iterable[tuple[int, bytes]] | None = None,
    ) -> None:
        """Read the whole map and look every block up in the index, so that a loss shows before any content is read.

        :param what: the disk's name in errors.
        :param select: tells by digest whether to read a block; ``None``: read all.
        :param chosen: the numbers and digests of the only blocks to read, in order; ``None``: all stored blocks. It is
            iterated over twice if they are more than :data:`WINDOW`.
        :raises CorruptError: a page is damaged, or a block is in no pack.
        """
        self._blocks = blocks
        self._stored = StoredBlocks(disk, blocks, what=what, select=select, chosen=chosen)
        self._on_progress = on_progress
        self._check = check
        self._checked_at = time.monotonic()
        self.count, self.size = self._stored.count(WINDOW, keep=True)
        self.meter = ProgressCounter(phase, self.size)

    def run(
        self,
        consume: Consume,
        *,
        buffers: Callable[[], ReadBuffers] = ReadBuffers,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """Read the blocks. The first error of any thread ends the read.

        :param buffers: makes the buffers of a thread that reads. Each thread calls it once.
        :param settle: called by each thread after the blocks that one request has read.
        """
        crew = Crew()
        readers = self._blocks.width
        conveyor: Conveyor[Batch] = Conveyor(2 * readers, crew.stop)
        jobs: list[Callable[[], None]] = [partial(self._feed, conveyor)]
        jobs += [partial(self._drain, crew, conveyor, consume, buffers, settle)] * readers
        try:
            crew.run(jobs, self._tick)
        finally:
            crew.join()
        self._on_progress(self.meter.event())

    def _feed(self, conveyor: Conveyor[Batch]) -> None:
        try:
            for frames in self._stored.frames(WINDOW):
                if not all(conveyor.put(batch) for batch in self._blocks.plan(frames)):
                    return
        finally:
            conveyor.end()

    def _drain(
        self,
        crew: Crew,
        conveyor: Conveyor[Batch],
        consume: Consume,
        buffers: Callable[[], ReadBuffers],
        settle: Callable[[], None],
    ) -> None:
        scratch = buffers()
        while (batch := conveyor.take()) is not None:
            delivered = 0
            try:
                for frame, content in self._blocks.read(batch, scratch):
                    for block in frame.places:
                        if crew.stop.is_set():
                            return
                        consume(block, content)
                    self.meter.add(len(content) * len(frame.places))
                    delivered += 1
                settle()
            except CorruptError as error:
                raise self._stored.damage(batch.frames[delivered].places[0], error) from error

    def _tick(self) -> None:
        clock = time.monotonic()
        if clock - self._checked_at >= _CHECK_SECONDS:
            self._checked_at = clock
            self._check()
            self._on_progress(self.meter.event())
