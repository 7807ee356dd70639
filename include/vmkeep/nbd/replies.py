"""The server's replies to requests, simple or in chunks, as the handshake has settled."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from struct import Struct
from typing import Final

from vmkeep.nbd.channel import Buffer, Channel
from vmkeep.nbd.requests import Request
from vmkeep.nbd.wire import (
    ALLOCATION_ID,
    CHUNK,
    CHUNK_DONE,
    CHUNK_MAGIC,
    MAX_STRING,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    Chunk,
    Command,
    Errno,
)

_U32: Final = Struct(">I")
_U64: Final = Struct(">Q")
_HOLE: Final = Struct(">QI")
_ERROR: Final = Struct(">IH")
_DESCRIPTOR: Final = Struct(">II")


class Replies:
    """Sends the replies to the requests of one client. Thread-safe."""

    def __init__(self, channel: Channel, *, structured: bool) -> None:
        self._channel = channel
        self.structured = structured

    def succeed(self, request: Request) -> None:
        """Say that a request without data is carried out, or that all chunks of a reply are sent."""
        if self.structured:
            self._chunk(request, Chunk.NONE, done=True)
        else:
            self.simple(request)

    def fail(self, request: Request, error: Errno, why: str, *, offset: int | None = None) -> None:
        """Say that a request failed.

        :param offset: the first byte that could not be read; chunks before it stay valid.
        """
        if not self.structured:
            self._channel.send(SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, error, request.cookie))
            return
        words = why.encode()[: MAX_STRING - 1].decode(errors="ignore").encode()
        head = _ERROR.pack(error, len(words))
        if offset is None or request.command != Command.READ:
            self._chunk(request, Chunk.ERROR, head, words, done=True)
        else:
            self._chunk(request, Chunk.ERROR_OFFSET, head, words, _U64.pack(offset), done=True)

    def simple(self, request: Request, *data: Buffer) -> None:
        """Say that a request succeeded, with its bytes if it reads."""
        self._channel.send(SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, request.cookie), *data)

    def long(self, request: Request, pieces: Iterable[Buffer], *, done: bool) -> None:
        """Send all bytes of a request that reads, as a simple reply or in one chunk.

        :param pieces: the bytes. They are read while the reply is sent, so they must come without an error.
        :param done: nothing follows; for a chunk.
        """
        head: Buffer = SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, request.cookie)
        if self.structured:
            size = _U64.size + request.length
            head = _head(request, Chunk.OFFSET_DATA, size, done=done) + _U64.pack(request.offset)
        self._channel.stream(chain((head,), pieces))

    def data(self, request: Request, offset: int, data: memoryview, *, done: bool) -> None:
        """Send bytes of the disk in a chunk."""
        self._chunk(request, Chunk.OFFSET_DATA, _U64.pack(offset), data, done=done)

    def hole(self, request: Request, offset: int, length: int, *, done: bool) -> None:
        """Say in a chunk that a range reads as zeros."""
        self._chunk(request, Chunk.OFFSET_HOLE, _HOLE.pack(offset, length), done=done)

    def status(self, request: Request, descriptors: list[tuple[int, int]]) -> None:
        """Send the lengths and flags of extents, the first of which begins where the request does."""
        listed = b"".join(_DESCRIPTOR.pack(length, flags) for length, flags in descriptors)
        self._chunk(request, Chunk.BLOCK_STATUS, _U32.pack(ALLOCATION_ID), listed, done=True)

    def _chunk(self, request: Request, kind: Chunk, *parts: Buffer, done: bool) -> None:
        self._channel.send(_head(request, kind, sum(map(len, parts)), done=done), *parts)


def _head(request: Request, kind: Chunk, size: int, *, done: bool) -> bytes:
    return CHUNK.pack(CHUNK_MAGIC, CHUNK_DONE if done else 0, kind, request.cookie, size)
