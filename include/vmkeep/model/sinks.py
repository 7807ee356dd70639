"""The contract for writing a file of an export, in a folder or on S3.

The data of an image is written in whatever order it is read; on S3 it has to come in order. Some formats put a header
before data whose size is not known yet, such as an OVA. They *reserve* the header's place, write the data, and then
write the header.
"""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """A new file that is being written. Bytes that nobody writes are zeros."""

    @property
    def in_order(self) -> bool:
        """Whether bytes must be written in ascending order, by one thread. Otherwise any thread may write anywhere."""

    @property
    def size(self) -> int:
        """The finished file's size in bytes."""

    @property
    def sha256(self) -> str | None:
        """Hex digest of the finished file; ``None``: the bytes were not written in order, so that none was made."""

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes. ``data`` may be reused when this returns. No byte is written twice.

        :raises StoreFullError: there is no space left.
        """

    def reserve(self, offset: int, length: int) -> None:
        """Promise bytes that are written later than bytes behind them. Call it before those are written.

        The reserved bytes, and some MiB around them, are kept in memory until then if bytes must come in order.
        """

    def finish(self, size: int) -> None:
        """Give the file its size, and return when all bytes are durable. Nothing may be written after it."""
