"""An image of another program as a disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from vmkeep.filereader import PieceReader
from vmkeep.formats.openfiles import OpenFiles
from vmkeep.model.extents import Extent, Extents


class Chain(Protocol):
    """An image over those that it is built on."""

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""

    def allocated(self) -> Extents | None:
        """Return the extents that the image or one below it holds; ``None``: one below it does not tell its own."""

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the disk's bytes from an offset on. Thread-safe."""


class ImageSource:
    """An image as a disk; see :class:`vmkeep.model.blockio.DiskSource`. A context manager."""

    transport = "file"

    def __init__(self, chain: Chain, opened: OpenFiles, *, notes: Sequence[str] = ()) -> None:
        """Take over the open files.

        :param notes: one sentence for each thing in the image that is not read.
        """
        self.capacity = chain.capacity
        self.notes = tuple(notes)
        self.files = opened.files
        """The files of the image and of those that it is built on."""
        self._chain = chain
        self._opened = opened

    def __enter__(self) -> ImageSource:  # noqa: PYI034 - as in images.diskfiles
        """Use as a context manager."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close all files."""
        self._opened.close()

    def allocated(self) -> Extents | None:
        """Return the extents that may hold data; ``None``: this cannot be known."""
        return self._chain.allocated()

    @contextmanager
    def open_reader(self, extents: Sequence[Extent], *, piece_size: int, depth: int) -> Iterator[PieceReader]:
        """Read extents in pieces."""
        buffers = depth + (os.cpu_count() or 1)
        reader = PieceReader(self._fill, extents, piece_size=piece_size, buffers=buffers, room=piece_size)
        try:
            yield reader
        finally:
            reader.close()

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the disk's bytes from an offset on. Thread-safe.

        :raises UsageError: the image is damaged there. The message names the file and the byte.
        """
        self._chain.read_into(start, buffer)

    def _fill(self, extent: Extent, buffer: memoryview) -> memoryview:
        data = buffer[: extent.length]
        self._chain.read_into(extent.start, data)
        return data
