"""Writes a disk of a point as an image whose layout is known before the disk is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from vmkeep.formats import Layout, PlannedFile, Run
from vmkeep.model.extents import Extents
from vmkeep.model.sinks import Sink
from vmkeep.repository import Repository
from vmkeep.transfer import read_in_order, restore_disk
from vmkeep.transfer.progress import OnProgress, ProgressCounter


class LaidOutTarget:
    """The files of an image as a disk to write to. Its parts may be written in any order, by any thread."""

    transport = "file"

    def __init__(self, layout: Layout, sinks: Sequence[Sink]) -> None:
        """:param sinks: one for each file of the layout, in order."""
        self._layout = layout
        self._sinks = sinks
        self.capacity = layout.capacity

    def allocated(self) -> Extents:
        """Return nothing, because new files hold only zeros."""
        return Extents()

    def write(self, start: int, data: memoryview) -> None:
        """Write a part of the disk to its places in the files."""
        for run in self._layout.place(start, len(data)):
            at = run.start - start
            self._sinks[run.file].write_at(run.offset, data[at : at + run.length])

    def write_zeroes(self, start: int, length: int) -> None:
        """Do nothing, because new files hold only zeros."""

    def flush(self) -> None:
        """Do nothing, because the files are flushed when they are finished."""


class LaidOutImage:
    """An image whose files are planned whole; see :class:`vmkeep.images.imageplans.ImagePlan`."""

    known = True

    def __init__(self, layout: Layout) -> None:
        """Take the plan."""
        self.layout = layout
        self.files: Sequence[PlannedFile] = layout.files

    def needed(self) -> int:
        """Return the bytes of the image that are not holes."""
        return sum(run.length for run in self.layout.runs())

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
        """Write a stored disk into the files of its image. Return the bytes of data that were written.

        If the files take bytes in any order, the data is read in the order of packs and written by several threads.

        :raises CorruptError: a stored block is damaged. The message names the byte of the disk.
        """
        layout = self.layout
        if any(sink.in_order for sink in sinks):
            return _write_in_order(repository, root, layout, sinks, on_progress=on_progress, check=check, what=what)
        for run in layout.runs():
            if run.data is not None:
                check()
                sinks[run.file].write_at(run.offset, run.data)
        written, _ = restore_disk(
            repository, root, LaidOutTarget(layout, sinks), fresh=True, on_progress=on_progress, check=check, what=what
        )
        for file, sink in zip(layout.files, sinks, strict=True):
            sink.finish(file.size)
        return written


def _write_in_order(
    repository: Repository,
    root: str,
    layout: Layout,
    sinks: Sequence[Sink],
    *,
    on_progress: OnProgress,
    check: Callable[[], None],
    what: str,
) -> int:
    """Write file after file, each from its first byte to its last."""
    at = 0
    with read_in_order(repository, root, what=what, check=check) as reading:
        data = _InOrder(reading, ProgressCounter("export", reading.size), on_progress)
        for run in layout.runs():
            while at < run.file:
                sinks[at].finish(layout.files[at].size)
                at += 1
            if run.data is not None:
                check()
                sinks[run.file].write_at(run.offset, run.data)
            else:
                data.copy(run, sinks[run.file])
        data.require_end()
        for file, sink in zip(layout.files[at:], sinks[at:], strict=True):
            sink.finish(file.size)
        return reading.size


class _InOrder:
    """The stored blocks of a disk in the disk's order, cut to the runs of a layout."""

    def __init__(
        self, blocks: Iterable[tuple[int, memoryview]], meter: ProgressCounter, on_progress: OnProgress
    ) -> None:
        self._blocks = iter(blocks)
        self._meter = meter
        self._on_progress = on_progress
        self._start = 0
        self._left = memoryview(b"")
        """Bytes of the block at hand that are not written yet; they begin at this start."""

    def copy(self, run: Run, sink: Sink) -> None:
        """Write the data of a run. Parts of it that are not stored are zeros, which need not be written.

        :raises ValueError: the runs leave out a part of the disk that holds data.
        """
        stop = run.start + run.length
        while self._at_hand() and self._start < stop:
            if self._start < run.start:
                raise ValueError(f"byte {self._start} of the disk has no place in its image")
            count = min(stop - self._start, len(self._left))
            sink.write_at(run.offset + self._start - run.start, self._left[:count])
            self._start += count
            self._left = self._left[count:]

    def require_end(self) -> None:
        """Return if every block was written.

        :raises ValueError: the runs leave out a part of the disk that holds data.
        """
        if self._at_hand():
            raise ValueError(f"byte {self._start} of the disk has no place in its image")

    def _at_hand(self) -> bool:
        """Return whether there is a block to write, after taking the next one if the last is written."""
        if not self._left and (block := next(self._blocks, None)) is not None:
            self._start, self._left = block
            self._meter.add(len(self._left))
            self._on_progress(self._meter.event())
        return bool(self._left)
