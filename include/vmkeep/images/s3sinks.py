"""A file on S3 that is sent in parts, while it is being written."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from vmkeep.errors import VerificationError

if TYPE_CHECKING:
    from vmkeep.blobs.s3 import S3Uploads, SentPart

_MIB: Final = 1 << 20
_PART: Final = 8 * _MIB
"""Bytes of a part of a file that has room for enough of them."""
_MOST_PARTS: Final = 10_000
"""Parts of a file, by the section "Multipart upload limits" of the Amazon S3 User Guide."""
_IN_FLIGHT: Final = 64 * _MIB
"""Bytes of a file that are being sent at a time, besides the part that is being filled."""
_TICK: Final = 0.25


class S3Sink:
    """A file that is sent in parts of equal size. One thread writes it, in ascending order."""

    in_order = True

    def __init__(
        self, uploads: S3Uploads, name: str, *, size: int, threads: ThreadPoolExecutor, on_sent: Callable[[], None]
    ) -> None:
        """Begin the upload.

        :param size: bytes that the file has at most.
        :param threads: send the parts.
        :param on_sent: called when a part is sent, by any thread.
        """
        self.size = 0
        self.sha256: str | None = None
        """Hex digest of the finished file; ``None``: it was not written in order."""
        self._uploads = uploads
        self._name = name
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
        self._sent: dict[int, Future[SentPart]] = {}
        self._digests: dict[int, bytes] = {}
        self._hash = hashlib.sha256()
        self._hashed = 0
        self.upload = uploads.begin(name)

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
            raise ValueError(f"{self._name}: reserved bytes were never written")
        self.size = size
        last = max(0, size - 1) // self._part
        self._reach(last)
        del self._buffer(last)[size - last * self._part :]
        self._send(last)
        for future in self._sent.values():
            future.result()
        if self._hashed == last + 1:
            self.sha256 = self._hash.hexdigest()

    def complete(self, *, overwrite: bool) -> None:
        """Make the object."""
        parts = [self._sent[number].result() for number in sorted(self._sent)]
        self._uploads.complete(self._name, self.upload, parts, overwrite=overwrite)

    def compare(self, chosen: Callable[[int, bytes], bool], on_compared: Callable[[int], None]) -> None:
        """Read parts of the object back, and compare their digests with those of what was sent.

        :param chosen: takes a part's number from 0 and its digest; tells whether to read it.
        :param on_compared: takes the bytes of each part that was read.
        :raises VerificationError: a part has other bytes.
        """
        for number, digest in sorted(self._digests.items()):
            start = number * self._part
            length = min(self._part, self.size - start)
            if not length or not chosen(number, digest):
                continue
            if blake3(self._uploads.get_range(self._name, start, length)).digest() != digest:
                raise VerificationError(
                    f"{self._uploads.location}/{self._name}: reads back something else than was sent, in the {length} "
                    f"bytes from {start} on; nothing was exported"
                )
            on_compared(length)

    def _buffer(self, number: int) -> bytearray:
        if number in self._sent:
            raise ValueError(f"{self._name}: part {number} was sent already")
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
        """Begin to send a part. Wait first until there is room for it."""
        while not self._room.acquire(timeout=_TICK):
            for future in self._sent.values():
                if future.done():
                    future.result()
        content = self._filling.pop(number)
        if self._hashed == number:
            self._hash.update(content)
            self._hashed += 1
        self._digests[number] = blake3(content).digest()
        self._sent[number] = self._threads.submit(self._send_now, number, content)

    def _send_now(self, number: int, content: bytearray) -> SentPart:
        try:
            sent = self._uploads.send(self._name, self.upload, number + 1, content)
        finally:
            self._room.release()
        self._on_sent()
        return sent
