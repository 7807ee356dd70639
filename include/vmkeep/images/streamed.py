"""Writes a disk of a point as a stream-optimised VMDK, whose size is not known before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from vmkeep.formats import PlannedFile, StreamVmdk, VmdkFacts
from vmkeep.model.extents import Extents, total
from vmkeep.model.sinks import Sink
from vmkeep.repository import Repository
from vmkeep.transfer import read_in_order
from vmkeep.transfer.progress import OnProgress, ProgressCounter

_GRAIN: Final = 64 << 10


class StreamedImage:
    """A stream-optimised VMDK of one disk; see :class:`vmkeep.images.imageplans.ImagePlan`."""

    known = False

    def __init__(self, facts: VmdkFacts, capacity: int, stored: Extents) -> None:
        """Plan the image.

        :raises UsageError: the name cannot stand in a descriptor, or the capacity is not a whole number of sectors.
        """
        self.stream = StreamVmdk(facts, capacity=capacity)
        # Each grain takes up to two sectors more than its bytes, with marker and table. Tables follow the capacity.
        most = total(stored) + (total(stored) // _GRAIN + 1) * 2048 + capacity // 4096 + (4 << 20)
        self.files: Sequence[PlannedFile] = (PlannedFile(name=f"{facts.name}.vmdk", size=most),)

    def needed(self) -> int:
        """Return 0, because nobody knows how well the disk compresses."""
        return 0

    def write(
        self,
        repository: Repository,
        root: str,
        sinks: Sequence[Sink],
        *,
        on_progress: OnProgress,
        check: Callable[[], None],
        what: str,
    ) -> int:
        """Write the image. Return the bytes of data that were read."""
        with read_in_order(repository, root, what=what, check=check) as reading:
            meter = ProgressCounter("export", reading.size)

            def counted() -> Iterator[tuple[int, memoryview]]:
                for start, content in reading:
                    yield start, content
                    meter.add(len(content))
                    on_progress(meter.event())

            at = 0
            for part in self.stream.parts(counted()):
                sinks[0].write_at(at, part)
                at += len(part)
            sinks[0].finish(at)
        return meter.done
