"""Reads a stored disk's blocks in the order of packs, several requests at once, and hands each to a consumer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from vmkeep.errors import CorruptError
from vmkeep.repository import Batch, BlockReader, DiskMap, Kind, Location, ReadBuffers, Wanted
from vmkeep.transfer.pipeline import Conveyor, Crew
from vmkeep.transfer.progress import OnProgress, ProgressCounter

_WINDOW = 16384
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
            iterated over twice.
        :raises CorruptError: a page is damaged, or a block is in no pack.
        """
        self._disk = disk
        self._blocks = blocks
        self._what = what
        self._select = select
        self._chosen = chosen
        self._on_progress = on_progress
        self._check = check
        self._checked_at = time.monotonic()
        self.count = self.size = 0
        for window in self._windows():
            for frame in self._located(window):
                self.count += len(frame.places)
                self.size += sum(map(disk.shape.block_length, frame.places))
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

    def _selected(self) -> Iterator[tuple[int, bytes]]:
        try:
            for block, digest in self._disk.blocks() if self._chosen is None else self._chosen:
                if self._select is None or self._select(digest):
                    yield block, digest
        except CorruptError as error:
            raise CorruptError(f"{self._what}, {error}") from error

    def _windows(self) -> Iterator[dict[bytes, list[int]]]:
        """Yield windows of blocks to read, as block numbers by digest. Each window is put into the order of packs."""
        window: dict[bytes, list[int]] = {}
        held = 0
        for block, digest in self._selected():
            window.setdefault(digest, []).append(block)
            held += 1
            if held == _WINDOW:
                yield window
                window, held = {}, 0
        yield window

    def _located(self, window: dict[bytes, list[int]]) -> list[Wanted]:
        try:
            locations = self._blocks.locate_many(Kind.BLOCK, list(window))
        except CorruptError:
            locations = [self._locate(digest, blocks[0]) for digest, blocks in window.items()]
        length = self._disk.shape.block_length
        return [
            Wanted(digest, location, length(blocks[0]), tuple(blocks))
            for (digest, blocks), location in zip(window.items(), locations, strict=True)
        ]

    def _locate(self, digest: bytes, block: int) -> Location:
        try:
            return self._blocks.locate(Kind.BLOCK, digest)
        except CorruptError as error:
            raise self._damage(block, error) from error

    def _damage(self, block: int, error: CorruptError) -> CorruptError:
        return CorruptError(f"{self._what}, byte {block * self._disk.block_size}: {error}")

    def _feed(self, conveyor: Conveyor[Batch]) -> None:
        try:
            for window in self._windows():
                if not all(conveyor.put(batch) for batch in self._blocks.plan(self._located(window))):
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
                raise self._damage(batch.frames[delivered].places[0], error) from error

    def _tick(self) -> None:
        clock = time.monotonic()
        if clock - self._checked_at >= _CHECK_SECONDS:
            self._checked_at = clock
            self._check()
            self._on_progress(self.meter.event())
