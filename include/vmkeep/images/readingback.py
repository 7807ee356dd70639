"""Reads the images of a draft back as disks, to compare them with the disks that they should hold."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from vmkeep.errors import VerificationError
from vmkeep.formats import Layout
from vmkeep.images.drafts import Draft
from vmkeep.model.extents import Extent, Extents, split

_AT_ONCE = 1 << 20


class LaidOutSource:
    """An image of a draft as a disk to read, by the layout with which it was written."""

    transport = "file"

    def __init__(self, layout: Layout, draft: Draft, stored: Extents) -> None:
        """:param stored: the parts of the disk from which the layout was planned."""
        self._layout = layout
        self._draft = draft
        self._names = [file.name for file in layout.files]
        self._stored = stored
        self.capacity = layout.capacity

    def allocated(self) -> Extents:
        """Return the parts for which the layout has places."""
        return self._stored

    @contextmanager
    def open_reader(self, extents: Sequence[Extent], *, piece_size: int, depth: int) -> Iterator[_Reader]:
        """Read ``extents``; see :class:`vmkeep.model.blockio.DiskSource`. Each piece is read when it is asked for."""
        del depth
        yield _Reader(split(extents, piece_size), self._read)

    def _read(self, extent: Extent) -> memoryview:
        """Return the bytes of a part of the disk."""
        content = memoryview(bytearray(extent.length))
        for part in _within(self._stored, extent):
            for run in self._layout.place(part.start, part.length):
                at = run.start - extent.start
                self._draft.read_at(self._names[run.file], run.offset, content[at : at + run.length])
        return content


class _Piece:
    def __init__(self, start: int, data: memoryview) -> None:
        self.start = start
        self.data = data

    def release(self) -> None:
        """Do nothing, because no other piece uses this one's memory."""


class _Reader:
    def __init__(self, pieces: Iterator[Extent], read: Callable[[Extent], memoryview]) -> None:
        self._pieces = pieces
        self._read = read

    def next_piece(self) -> _Piece | None:
        """Read the next piece and return it; ``None``: the end."""
        extent = next(self._pieces, None)
        return None if extent is None else _Piece(extent.start, self._read(extent))


def compare_tables(layout: Layout, draft: Draft, *, check: Callable[[], None], what: str) -> None:
    """Compare the image's own bytes, such as headers and tables, with the layout.

    :raises VerificationError: they are others. The message names file and byte.
    """
    names = [file.name for file in layout.files]
    for run in layout.runs():
        if run.data is None:
            continue
        check()
        found = bytearray(run.length)
        draft.read_at(names[run.file], run.offset, memoryview(found))
        if found != run.data:
            raise VerificationError(
                f"{what}: {names[run.file]} reads back something else than was written in the {run.length} bytes from "
                f"{run.offset} on; nothing was exported"
            )


def _within(stored: Extents, extent: Extent) -> Iterator[Extent]:
    """Yield the stored parts of an extent."""
    at = bisect_right(stored, extent.start, key=lambda each: each.stop)
    while at < len(stored) and stored[at].start < extent.stop:
        found = stored[at]
        yield Extent(max(found.start, extent.start), min(found.stop, extent.stop))
        at += 1
