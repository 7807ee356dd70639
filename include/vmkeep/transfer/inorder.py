"""Reads a stored disk's blocks in the order of the disk, for files that are written from their first byte to the last.

A *window* is some neighbouring stored blocks, as many as fit in its memory. A feeder thread plans one window after the
other, and reading threads fetch their blocks in the order of packs, straight into the windows' memory. The consumer
takes the windows in turn, each as soon as it is whole, and gives its memory back. Few windows are in memory, so a slow
consumer stops the reading, and memory does not depend on the disk.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.model.extents import Extent
from vmkeep.repository import Batch, BlockReader, ReadBuffers, Repository, Wanted
from vmkeep.transfer.pipeline import TICK, Conveyor, Crew
from vmkeep.transfer.reading import WINDOW
from vmkeep.transfer.stored_blocks import BlocksWithin, StoredBlocks

_WINDOWS: Final = 8
_WINDOW_SIZE: Final = 8 << 20
"""Bytes of a window: with all windows, 64 MiB."""
_CHECK_SECONDS: Final = 1.0


@contextmanager
def read_in_order(
    repository: Repository,
    root: str,
    *,
    what: str,
    only: Sequence[Extent] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[BlocksInOrder]:
    """Read the stored blocks of a disk in the order of the disk, ahead of the one who iterates over the result.

    The whole map is read and every block looked up first, so that a loss shows before any content is read.

    :param root: root of the disk's map.
    :param what: the disk's name in errors, e.g. ``point vm/…: scsi0:0``.
    :param only: read the blocks that overlap these extents (a normal sequence), each in full; ``None``: all.
    :param check: called about once a second while blocks are read; its error ends the read.
    :raises CorruptError: a page is damaged, or a block is in no pack.
    """
    disk = repository.open_map(root, what=what)
    blocks = repository.open_blocks()
    chosen = None if only is None else BlocksWithin(disk, only)
    reading = BlocksInOrder(StoredBlocks(disk, blocks, what=what, chosen=chosen), blocks, check)
    try:
        reading.start()
        yield reading
    finally:
        reading.stop()


class _Window:
    """Neighbouring stored blocks and the memory for them."""

    def __init__(self, memory: memoryview, slots: dict[bytes, int], places: list[tuple[int, int, int]]) -> None:
        self.memory = memory
        self.slots = slots
        """Offset in the memory, by digest."""
        self.places = places
        """Byte on the disk, offset in the memory, and length of each block, in the order of the disk."""
        self.whole = threading.Event()
        self._missing = 0
        self._lock = threading.Lock()

    def expect(self, batches: int) -> None:
        """Set the number of reads by which the window becomes whole."""
        self._missing = batches

    def filled(self) -> None:
        """Note that one read has ended."""
        with self._lock:
            self._missing -= 1
            if not self._missing:
                self.whole.set()


class _WindowBuffers(ReadBuffers):
    """The buffers of one reading thread. It unpacks into the window that it reads for."""

    window: _Window

    def room_for(self, frame: Wanted) -> memoryview:
        """Return the frame's place in the window."""
        at = self.window.slots[frame.digest]
        return self.window.memory[at : at + frame.raw_length]


class BlocksInOrder:
    """The stored blocks of a disk, to be iterated over once, in the context that :func:`read_in_order` opens."""

    def __init__(self, stored: StoredBlocks, blocks: BlockReader, check: Callable[[], None]) -> None:
        """Count the blocks; see :func:`read_in_order`."""
        self._stored = stored
        self._blocks = blocks
        self._check = check
        self._checked_at = time.monotonic()
        self.count, self.size = stored.count(WINDOW)
        """Number of blocks, and of their bytes."""
        self._per_window = max(1, _WINDOW_SIZE // stored.disk.block_size)
        self._crew = Crew()
        self._order: queue.SimpleQueue[_Window | None] = queue.SimpleQueue()
        self._free: Conveyor[memoryview] = Conveyor(_WINDOWS, self._crew.stop)
        self._reads: Conveyor[tuple[_Window, Batch]] = Conveyor(2 * self._blocks.width, self._crew.stop)

    def start(self) -> None:
        """Start to read ahead."""
        for _ in range(min(_WINDOWS, -(-self.count // self._per_window))):
            self._free.put(memoryview(bytearray(self._per_window * self._stored.disk.block_size)))
        fetchers = [partial(self._fetch, _WindowBuffers()) for _ in range(self._blocks.width)]
        self._crew.start([self._feed, *fetchers])

    def stop(self) -> None:
        """Stop the threads, also in the middle of the disk."""
        self._crew.join()

    def __iter__(self) -> Iterator[tuple[int, memoryview]]:
        """Yield the first byte on the disk and the content of each block. The content is valid for one step.

        :raises CorruptError: a block is damaged. All blocks before it may have been yielded, or some of them.
        """
        while (window := self._next()) is not None:
            while not window.whole.wait(TICK):
                self._tick()
            for start, at, length in window.places:
                self._tick()
                yield start, window.memory[at : at + length]
            self._free.put(window.memory)

    def _next(self) -> _Window | None:
        while True:
            try:
                return self._order.get(timeout=TICK)
            except queue.Empty:
                self._tick()

    def _feed(self) -> None:
        try:
            for window in self._stored.windows(self._per_window):
                if not self._plan(self._stored.located(window)):
                    return
            self._order.put(None)  # only here, because no error may look like the end of the disk
        finally:
            self._reads.end()

    def _plan(self, frames: list[Wanted]) -> bool:
        """Queue the reads of one window. Return ``False`` if the reading stops."""
        if (memory := self._free.take()) is None:
            return False
        size = self._stored.disk.block_size
        slots = {frame.digest: number * size for number, frame in enumerate(frames)}
        places = sorted(
            (block * size, slots[frame.digest], frame.raw_length) for frame in frames for block in frame.places
        )
        window = _Window(memory, slots, places)
        batches = self._blocks.plan(frames)
        window.expect(len(batches))
        self._order.put(window)
        return all(self._reads.put((window, batch)) for batch in batches)

    def _fetch(self, buffers: _WindowBuffers) -> None:
        while (read := self._reads.take()) is not None:
            buffers.window, batch = read
            delivered = 0
            try:
                for _ in self._blocks.read(batch, buffers):
                    delivered += 1
            except CorruptError as error:
                raise self._stored.damage(batch.frames[delivered].places[0], error) from error
            buffers.window.filled()

    def _tick(self) -> None:
        stopped = self._crew.stop.is_set()
        self._crew.raise_error()
        if stopped:
            raise RuntimeError("the reading was stopped")
        clock = time.monotonic()
        if clock - self._checked_at >= _CHECK_SECONDS:
            self._checked_at = clock
            self._check()
