"""Notes how far the write of one disk has come, so that a try after a crash writes only the rest.

A block counts as written once a flush that began after its write has returned. Blocks are written in the order of
packs, and by several threads. So a note names the first block that is missing, and the finished blocks behind it.

A note is bound to one restore point, one target disk and one part of it. If it is about anything else, cannot be read,
or a sample of the blocks that it names differs from the point, nothing counts and everything is written again.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Final

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import DiskTarget
from vmkeep.model.extents import Extent, Extents, overlaps
from vmkeep.model.job import WriteJob, from_json, to_json
from vmkeep.repository import RunArea, encode_extents, note_begun
from vmkeep.transfer.overwriting import Part

log = logging.getLogger(__name__)

_EVERY: Final = 20.0
"""Seconds between two notes. A crash costs the writes of this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenPart:
    """The note: the part of a disk that is written and flushed."""

    of: str
    """Digest of the write that this is a part of."""
    zeroed: int = 0
    """Offset below which everything that has to be zeros is zeros."""
    below: int = 0
    """Number of a block. Every block to write below it is written."""
    ahead: tuple[tuple[int, int], ...] = ()
    """Runs of further blocks that are written: the first one, and the one after the last."""

    @property
    def is_begun(self) -> bool:
        """Whether any part is written."""
        return bool(self.zeroed or self.below or self.ahead)

    def blocks_ahead(self) -> frozenset[int]:
        """Return the blocks that are written behind the first missing one."""
        return frozenset(block for first, stop in self.ahead for block in range(first, stop))

    def extents(self, part: Part, *, block_size: int, capacity: int) -> Extents:
        """Return the extents that are written, as whole blocks."""
        runs = [(0, self.below), *self.ahead] if self.below else [*self.ahead]
        done = Extents(Extent(first * block_size, min(stop * block_size, capacity)) for first, stop in runs)
        return done if part.only is None else Extents(overlaps(done, part.only))


class Unlogged:
    """No notes, for writes that nobody goes on with."""

    before = WrittenPart(of="")
    """The part that earlier tries have written."""

    def begin(self, target: DiskTarget, blocks: Iterable[int]) -> None:
        """Start to keep notes of a write.

        :param blocks: the numbers of the blocks that this try writes, in order.
        """

    def note_zeros(self, offset: int) -> None:
        """Take that every zero below an offset is written. Only the thread that looks after the write calls this."""

    def note_block(self, block: int) -> None:
        """Take that a block was written. Several threads call this."""

    def tick(self) -> None:
        """Flush the disk and put a note, if it is time. Only the thread that looks after the write calls this."""

    def finish(self) -> None:
        """Put the last note, after the disk was flushed."""


class WriteLog(Unlogged):
    """The notes of one write."""

    def __init__(self, area: RunArea, job: WriteJob, root: str, part: Part) -> None:
        self._area = area
        self._name = f"written-{job.device_key}"
        self._title = job.target_file
        self.before = self._so_far = WrittenPart(of=_digest(job, root, part))
        self._written: deque[int] = deque()
        self._ahead: set[int] = set()
        self._blocks: Iterator[int] = iter(())
        self._missing: int | None = None
        self._target: DiskTarget | None = None
        self._noted_at = time.monotonic()

    def load(self) -> None:
        """Go on with what earlier tries have written, if their note is about this very write; else forget it."""
        try:
            found = from_json(WrittenPart, self._area.load(self._name))
            if found.of == self.before.of:
                self.before = self._so_far = found
                return
            why = "an earlier try wrote something else, or elsewhere"
        except NotFoundError:
            return
        except (CorruptError, ValueError) as error:
            why = f"the note of an earlier try cannot be read: {error}"
        log.warning("%s: written from its beginning, because %s", self._title, why)
        self.forget()

    def forget(self) -> None:
        """Discard the note, so that no later try relies on it."""
        self._area.discard(self._name)
        self.before = self._so_far = WrittenPart(of=self.before.of)

    def begin(self, target: DiskTarget, blocks: Iterable[int]) -> None:
        """Start to keep notes, and note in the run's area that the first write has begun."""
        note_begun(self._area)
        self._target = target
        self._blocks = iter(blocks)
        self._missing = next(self._blocks, None)
        self._ahead = set(self.before.blocks_ahead())
        self._noted_at = time.monotonic()

    def note_zeros(self, offset: int) -> None:
        """Take the offset below which zeros are written."""
        self._so_far = replace(self._so_far, zeroed=offset)
        self.tick()

    def note_block(self, block: int) -> None:
        """Take a block that was written."""
        self._written.append(block)

    def tick(self) -> None:
        """Flush the disk and put a note, if it is time."""
        if self._target is None or time.monotonic() - self._noted_at < _EVERY:
            return
        so_far = self._taken()  # before the flush, which holds only for writes that have returned before it
        self._target.flush()
        self._put(so_far)

    def finish(self) -> None:
        """Put the last note."""
        self._put(self._taken())

    def _put(self, so_far: WrittenPart) -> None:
        self._so_far = so_far
        self._area.store(self._name, to_json(so_far))
        self._noted_at = time.monotonic()

    def _taken(self) -> WrittenPart:
        while self._written:
            self._ahead.add(self._written.popleft())
        below = self._so_far.below
        while self._missing is not None and self._missing in self._ahead:
            self._ahead.discard(self._missing)
            below = self._missing + 1
            self._missing = next(self._blocks, None)
        return replace(self._so_far, below=below, ahead=tuple(_runs(sorted(self._ahead))))


def _runs(blocks: list[int]) -> Iterator[tuple[int, int]]:
    """Yield runs of neighbours among sorted block numbers."""
    for _, run in groupby(enumerate(blocks), lambda pair: pair[1] - pair[0]):
        numbers = [block for _, block in run]
        yield numbers[0], numbers[-1] + 1


def _digest(job: WriteJob, root: str, part: Part) -> str:
    """Return the digest of everything that makes one write differ from another."""
    where = (job.vcenter, job.vm.moref, job.target_key, job.target_uuid, job.target_file, job.capacity)
    found = hashlib.sha256(repr((job.run, job.point, job.device_key, root, *where, job.fresh)).encode())
    found.update(b"all" if part.only is None else encode_extents(part.only))
    return found.hexdigest()
