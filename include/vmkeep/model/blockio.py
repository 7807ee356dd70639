"""The contract for reading and writing a disk, whatever stands behind it: VDDK, or a local file.

Reading is a pull: worker threads take filled pieces, and the reader keeps requests in flight behind them.
Writing is a call: it returns when the buffer may be used again, so parallel writers mean parallel threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from vmkeep.model.extents import Extent


class Piece(Protocol):
    """Bytes of a disk in a buffer that its reader owns."""

    @property
    def start(self) -> int:
        """Byte offset on the disk; a multiple of the piece size's block."""

    @property
    def data(self) -> memoryview:
        """The bytes; valid until :meth:`release`."""

    def release(self) -> None:
        """Give the buffer back to the reader. Call exactly once."""


class DiskReader(Protocol):
    """A running read over some extents of one disk."""

    def next_piece(self) -> Piece | None:
        """Return the next filled piece, in any order, or ``None`` at the end. Thread-safe; blocks."""


class DiskSource(Protocol):
    """A disk that can be read."""

    @property
    def capacity(self) -> int:
        """Bytes."""

    @property
    def transport(self) -> str:
        """The transport mode that was really used, e.g. ``nbdssl`` or ``file``."""

    def allocated(self) -> Sequence[Extent] | None:
        """Return the extents that may hold data, or ``None`` where that cannot be known."""

    def open_reader(
        self, extents: Sequence[Extent], *, piece_size: int, depth: int
    ) -> AbstractContextManager[DiskReader]:
        """Read ``extents`` (normal, whole sectors) in pieces that never cross a multiple of ``piece_size``.

        At most ``depth`` pieces are in flight or unreleased beyond those being worked on.
        """


class DiskTarget(Protocol):
    """A disk that can be written."""

    @property
    def capacity(self) -> int:
        """Bytes."""

    @property
    def transport(self) -> str:
        """The transport mode that was really used."""

    def allocated(self) -> Sequence[Extent] | None:
        """Return the extents that may hold data now, or ``None`` where that cannot be known."""

    def write(self, start: int, data: memoryview) -> None:
        """Write whole sectors. Thread-safe; returns when ``data`` may be reused, raises if it was not written."""

    def write_zeroes(self, start: int, length: int) -> None:
        """Make whole sectors read as zeros, by whatever is cheapest. Thread-safe."""

    def flush(self) -> None:
        """Return once everything written is durable."""
