"""Writes a disk of a point as an image whose layout is known before the disk is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vmkeep.formats import Layout
from vmkeep.model.extents import Extent, Extents
from vmkeep.model.sinks import Sink
from vmkeep.repository import Repository
from vmkeep.transfer import restore_disk
from vmkeep.transfer.progress import OnProgress


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


def write_in_any_order(
    repository: Repository,
    root: str,
    layout: Layout,
    sinks: Sequence[Sink],
    *,
    on_progress: OnProgress,
    check: Callable[[], None],
    what: str,
) -> int:
    """Write a stored disk into files that take bytes in any order. Return the bytes of data that were written.

    The data is read in the order of packs, by several threads. The image's own tables are written before it.

    :raises CorruptError: a stored block is damaged. The message names the byte of the disk.
    """
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


def stored_parts(repository: Repository, root: str, *, what: str) -> Sequence[Extent]:
    """Return the parts of a stored disk that hold data."""
    return Extents(repository.open_map(root, what=what).stored_extents())
