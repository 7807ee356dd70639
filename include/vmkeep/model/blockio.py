"""The contract for reading and writing a disk, by VDDK or in a local file.

To read, worker threads take filled pieces, while the reader keeps requests in flight. To write, a thread calls
:meth:`DiskTarget.write`, which returns when the buffer may be reused. So parallel writes need several threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from vmkeep.model.extents import Extent


class Piece(Protocol):
    """Bytes of a disk in a buffer that its reader owns."""

    @property
    def start(self) -> int:
        """Byte offset on the disk."""

    @property
    def data(self) -> memoryview:
        """The piece's bytes, valid until :meth:`release`."""

    def release(self) -> None:
        """Give the buffer back to the reader. Call exactly once."""


class DiskReader(Protocol):
    """A running read over some extents of one disk."""

    def next_piece(self) -> Piece | None:
        """Wait for the next filled piece and return it; ``None``: the end. Pieces come in any order. Thread-safe."""


class DiskSource(Protocol):
    """A disk that can be read."""

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""

    @property
    def transport(self) -> str:
        """The transport mode that was really used, e.g. ``nbdssl`` or ``file``."""

    def allocated(self) -> Sequence[Extent] | None:
        """Return the extents that may hold data; ``None``: this cannot be known."""

    def open_reader(
        self, extents: Sequence[Extent], *, piece_size: int, depth: int
    ) -> AbstractContextManager[DiskReader]:
        """Read extents in pieces that never cross a multiple of ``piece_size``.

        :param extents: a normal sequence of whole sectors.
        :param piece_size: largest piece, in bytes.
        :param depth: number of pieces that may be in flight or unreleased, besides those that workers hold.
        """


class DiskTarget(Protocol):
    """A disk that can be written."""

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""

    @property
    def transport(self) -> str:
        """The transport mode that was really used."""

    def allocated(self) -> Sequence[Extent] | None:
        """Return the extents that may hold data now; ``None``: this cannot be known."""

    def write(self, start: int, data: memoryview) -> None:
        """Write whole sectors, or raise an error. Thread-safe. ``data`` may be reused when this returns."""

    def write_zeroes(self, start: int, length: int) -> None:
        """Make whole sectors read as zeros, in the cheapest way that the target has. Thread-safe."""

    def flush(self) -> None:
        """Return once everything written is durable."""


class RandomDisk(Protocol):
    """A disk that can be read anywhere, in any order, by many threads."""

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from an offset on. Thread-safe.

        :raises CorruptError: a stored block is damaged. The buffer's content is then undefined.
        :raises ValueError: the range reaches beyond the disk.
        """

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        """Yield the neighbouring extents that cover a range, in order; true: it may hold data, false: only zeros."""
