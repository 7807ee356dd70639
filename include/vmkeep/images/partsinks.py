"""A file that is written in parts of equal size, one after the other, and can be compared with what was written.

S3 takes parts only. A file in a folder is written so if its format compresses, because its bytes come in order then.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from blake3 import blake3

from vmkeep.errors import VerificationError

_MIB: Final = 1 << 20
_PART: Final = 8 * _MIB
"""Bytes of a part of a file that has room for enough of them."""
_MOST_PARTS: Final = 10_000
"""Parts of a file, by the section "Multipart upload limits" of the Amazon S3 User Guide."""
_IN_FLIGHT: Final = 64 * _MIB
"""Bytes of a file that are on their way at a time, besides the part that is being filled."""
_TICK: Final = 0.25


class Parts(Protocol):
    """Takes the parts of one file."""

    @property
    def what(self) -> str:
        """The file's name in errors."""

    def send(self, number: int, start: int, content: bytearray) -> None:
        """Write a part. Several threads call it.

        :param number: from 0.
        :param start: its first byte in the file.
        """

    def end(self, size: int) -> None:
        """Return when all parts are durable. Nothing is sent after it."""

    def read(self, start: int, length: int) -> bytes:
        """Return bytes of the complete file."""


class PartSink:
    """A file in parts. One thread writes it, in ascending order."""

    in_order = True

    def __init__(
        self, parts: Parts, *, size: int, threads: ThreadPoolExecutor, on_sent: Callable[[], None] = lambda: None
    ) -> None:
        """Name the file.

        :param size: bytes that the file has at most.
        :param threads: send the parts.
        :param on_sent: called when a part is sent, by any thread.
        """
        self.size = 0
        self.sha256: str | None = None
        """Hex digest of the finished file; ``None``: it was not written in order."""
        self._parts = parts
        self._part = max(_PART, -(-size // _MOST_PARTS // _MIB) * _MIB)
        self._threads = threads
        self._on_sent = on_sent
        self._room = threading.BoundedSemaphore(max(1, min(4, _IN_FLIGHT // self._part)))
        self._filling: dict[int, bytearray] = {}
        """The parts that are not sent yet, by their number from 0."""
        self._reserved: dict[int, int] = {}
        """Bytes of a part that are written later than those behind them."""
        self._late: list[range] = []
        self._reached = 0
        """Number of the part that is being filled."""
        self._sent: dict[int, Future[None]] = {}
        self._failed: BaseException | None = None
        self._digests: dict[int, bytes] = {}
        self._hash = hashlib.sha256()
        self._hashed = 0

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes; see :class:`vmkeep.model.sinks.Sink`."""
        view = memoryview(data)
        while view:
            number, at = divmod(offset, self._part)
            count = min(self._part - at, len(view))
            self._reach(number)
            self._buffer(number)[at : at + count] = view[:count]
            self._note_late(number, offset, count)
            offset, view = offset + count, view[count:]

    def reserve(self, offset: int, length: int) -> None:
        """Keep the parts with some bytes until these are written."""
        self._late.append(range(offset, offset + length))
        for number in range(offset // self._part, -(-(offset + length) // self._part)):
            begin = max(offset, number * self._part)
            stop = min(offset + length, (number + 1) * self._part)
            self._reserved[number] = self._reserved.get(number, 0) + stop - begin

    def finish(self, size: int) -> None:
        """Send the rest, and wait until the server has every part."""
        if self._reserved:
            raise ValueError(f"{self._parts.what}: reserved bytes were never written")
        self.size = size
        last = max(0, size - 1) // self._part
        self._reach(last)
        del self._buffer(last)[size - last * self._part :]
        self._send(last)
        for future in self._sent.values():
            future.result()
        self._parts.end(size)
        if self._hashed == last + 1:
            self.sha256 = self._hash.hexdigest()

    def compare(self, chosen: Callable[[int, bytes], bool], on_compared: Callable[[int], None]) -> None:
        """Read parts of the complete file back, and compare their digests with those of what was written.

        :param chosen: takes a part's number from 0 and its digest; tells whether to read it.
        :param on_compared: takes the bytes of each part that was read.
        :raises VerificationError: a part has other bytes.
        """
        for number, digest in sorted(self._digests.items()):
            start = number * self._part
            length = min(self._part, self.size - start)
            if not length or not chosen(number, digest):
                continue
            if blake3(self._parts.read(start, length)).digest() != digest:
                raise VerificationError(
                    f"{self._parts.what}: reads back something else than was written, in the {length} "
                    f"bytes from {start} on; nothing was exported"
                )
            on_compared(length)

    def _buffer(self, number: int) -> bytearray:
        if number in self._sent:
            raise ValueError(f"{self._parts.what}: part {number} was sent already")
        if number not in self._filling:
            self._filling[number] = bytearray(self._part)
        return self._filling[number]

    def _note_late(self, number: int, offset: int, count: int) -> None:
        """Count down reserved bytes, and send a part whose last one was written late."""
        if number not in self._reserved:
            return
        written = sum(len(range(max(each.start, offset), min(each.stop, offset + count))) for each in self._late)
        self._reserved[number] -= written
        if self._reserved[number] <= 0:
            del self._reserved[number]
            if number < self._reached:
                self._send(number)

    def _reach(self, number: int) -> None:
        """Send the parts before one, but those with reserved bytes."""
        while self._reached < number:
            self._buffer(self._reached)  # a part that nobody wrote to holds zeros
            if self._reached not in self._reserved:
                self._send(self._reached)
            self._reached += 1

    def _send(self, number: int) -> None:
        """Begin to send a part. Wait first until there is room for it. One part that failed ends the whole file."""
        while not self._room.acquire(timeout=_TICK):
            pass  # a part that is being sent gives its room back, whatever becomes of it
        if self._failed is not None:
            raise self._failed
        content = self._filling.pop(number)
        if self._hashed == number:
            self._hash.update(content)
            self._hashed += 1
        self._digests[number] = blake3(content).digest()
        self._sent[number] = self._threads.submit(self._send_now, number, content)

    def _send_now(self, number: int, content: bytearray) -> None:
        try:
            self._parts.send(number, number * self._part, content)
        except BaseException as error:
            self._failed = error
            raise
        finally:
            self._room.release()
        self._on_sent()
