"""Joins neighbouring blocks of a disk to one write, because each write costs a call and a round trip to the host.

Blocks are unpacked side by side into the memory that they are written from, so that joining them copies nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from vmkeep.model.blockio import DiskTarget
from vmkeep.repository import ReadBuffers


class JoinedWrites:
    """Writes blocks that threads unpack, each thread into buffers of its own.

    A thread takes its buffers, gives each block as it is unpacked, and settles when it has no more at hand.
    """

    def __init__(
        self, target: DiskTarget, block_size: int, *, at_most: int | None, on_written: Callable[[int], None]
    ) -> None:
        """Name the target.

        :param at_most: bytes of one write; ``None``: each block is written by itself.
        :param on_written: takes the number of each block that was written.
        """
        self._target = target
        self._size = block_size
        self._room = max(at_most or 0, block_size)
        self._on_written = on_written
        self._of_thread = threading.local()

    def buffers(self) -> ReadBuffers:
        """Return new buffers for this thread. It unpacks into no others."""
        self._of_thread.run = run = _Run(self._room, self._put)
        return run

    def write(self, block: int, content: memoryview) -> None:
        """Take the block that this thread has unpacked last, perhaps for several places of the disk."""
        run: _Run = self._of_thread.run
        start = run.used - len(content)
        if run.blocks and not (run.blocks[-1] + 1 == block and run.stop == start):
            self._put(run)
        if not run.blocks:
            run.start = start
        run.blocks.append(block)
        run.stop = run.used

    def settle(self) -> None:
        """Write all that this thread has given."""
        run: _Run = self._of_thread.run
        self._put(run)
        run.used = 0

    def _put(self, run: _Run) -> None:
        if run.blocks:
            self._target.write(run.blocks[0] * self._size, run.memory[run.start : run.stop])
            for block in run.blocks:
                self._on_written(block)
            run.blocks.clear()


class _Run(ReadBuffers):
    """The buffers of one thread, with the neighbouring blocks in them that are not written yet."""

    def __init__(self, room: int, put: Callable[[_Run], None]) -> None:
        super().__init__()
        self.memory = memoryview(bytearray(room))
        self.used = 0
        """Bytes of the memory that are given out."""
        self.blocks: list[int] = []
        self.start = self.stop = 0
        """Place of these blocks in the memory."""
        self._put = put

    def take(self, which: int, size: int) -> memoryview:
        """Return memory for stored bytes, or for raw ones behind the last. Write first what leaves no room."""
        if which == 0:
            return super().take(which, size)
        if self.used + size > len(self.memory):
            self._put(self)
            self.used = 0
        self.used += size
        return self.memory[self.used - size : self.used]
