"""Carries out one request on an export's disk, and replies.

A reply is sent in pieces, so that no request makes a thread hold more than one piece in memory.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Final

from vmkeep.errors import VmKeepError
from vmkeep.nbd.channel import Channel, GoneError
from vmkeep.nbd.exports import Export
from vmkeep.nbd.replies import Replies
from vmkeep.nbd.requests import RefusedError, Request, require_allowed
from vmkeep.nbd.wire import MAX_REQUEST, Command, CommandFlag, Errno, Status

PIECE: Final = 1 << 20
"""Most bytes that a thread holds in memory."""
_DESCRIPTORS: Final = 4096
"""Most extents in one reply. A client asks again for the rest."""
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

OnFailure = Callable[[Export, Exception], None]
"""Hears of each request that failed for another reason than the request itself."""


class Scratch:
    """The buffer of one thread. It grows with the requests that the thread meets, up to one piece."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def take(self, length: int) -> memoryview:
        """Return a buffer of a length up to :data:`PIECE`. It is valid until the next call."""
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        return memoryview(self._buffer)[:length]


class _PieceError(Exception):
    """A piece of a request failed."""

    def __init__(self, offset: int, why: Exception) -> None:
        super().__init__(f"byte {offset}: {why}")
        self.offset = offset
        self.why = why


class Performer:
    """Carries out the requests of one client. Thread-safe, if every thread passes its own :class:`Scratch`."""

    def __init__(self, export: Export, channel: Channel, *, structured: bool, allocation: bool,
                 on_failure: OnFailure) -> None:  # fmt: skip
        self._export = export
        self._disk = export.disk
        self._channel = channel
        self._replies = Replies(channel, structured=structured)
        self._able = export.abilities(structured=structured)
        self._allocation = allocation
        self._on_failure = on_failure
        self.bytes_read = 0
        """Bytes that were read for the client, without holes. Threads count without a lock: it is for people."""

    def take_data(self, request: Request, scratch: Scratch) -> Exception | None:
        """Write the data that follow a request, as they arrive. Return the reason if that failed.

        All data are taken off the connection in any case, because the next request comes after them.

        :raises GoneError: the client is gone, or sends more data than a request may carry.
        """
        failure: Exception | None = self._refusal(request)
        if request.length > MAX_REQUEST:
            self._fail(request, failure or RefusedError(Errno.EINVAL, "too much data"))
            raise GoneError(f"the client sent a request with {request.length} bytes of data")
        for start, length in _pieces(request.offset, request.stop):
            data = scratch.take(length)
            self._channel.receive(data)
            if failure is None and self._export.writable is not None:
                try:
                    self._export.writable.write(start, data)
                except Exception as error:  # noqa: BLE001 - the client hears of it
                    failure = error
        return failure

    def perform(self, request: Request, scratch: Scratch, failure: Exception | None = None) -> None:
        """Carry out a request and reply.

        :param failure: the reason for which the request has failed already.
        :raises GoneError: the client is gone.
        """
        try:
            if failure is not None:
                raise failure
            if request.command != Command.WRITE:
                self._require_allowed(request)
            self._carry_out(request, scratch)
        except GoneError:
            raise
        except _PieceError as error:
            self._fail(request, error.why, offset=error.offset)
        except Exception as error:  # noqa: BLE001 - the client hears of it, and the server goes on
            self._fail(request, error)

    def _carry_out(self, request: Request, scratch: Scratch) -> None:
        writable = self._export.writable
        match request.command:
            case Command.READ:
                self._read(request, scratch)
                return
            case Command.BLOCK_STATUS:
                self._replies.status(request, self._descriptors(request))
                return
            case Command.CACHE:
                for start, length in _pieces(request.offset, min(request.stop, request.offset + MAX_REQUEST)):
                    self._disk.read_into(start, scratch.take(length))
            case Command.WRITE_ZEROES if writable is not None:
                writable.write_zeroes(request.offset, request.length)
            case Command.TRIM if writable is not None:
                writable.discard(request.offset, request.length)
            case _:
                pass  # written already; and there is nothing to flush, because the overlay dies with the server
        self._replies.succeed(request)

    def _read(self, request: Request, scratch: Scratch) -> None:
        whole = request.length <= PIECE
        if self._replies.structured and not request.has(CommandFlag.DF):
            self._read_in_chunks(request, scratch)
        elif whole:
            data = self._filled(request.offset, scratch.take(request.length))
            if self._replies.structured:
                self._replies.data(request, request.offset, data, done=True)
            else:
                self._replies.simple(request, data)
        else:
            self._read_at_once(request, scratch)

    def _read_in_chunks(self, request: Request, scratch: Scratch) -> None:
        for start, stop, data in self._runs(request):
            if not data:
                self._replies.hole(request, start, stop - start, done=stop == request.stop)
                continue
            for at, length in _pieces(start, stop):
                view = self._filled(at, scratch.take(length))
                self._replies.data(request, at, view, done=at + length == request.stop)

    def _read_at_once(self, request: Request, scratch: Scratch) -> None:
        """Reply with more than one piece where the reply must be in one.

        The reply begins with the word that all went well. So everything is read once before, which finds damage.
        """
        for start, length in _pieces(request.offset, request.stop):
            self._filled(start, scratch.take(length))
        try:
            self._replies.long(request, self._all_pieces(request, scratch), done=True)
        except _PieceError as error:
            raise GoneError(f"a piece could be read once but not twice: {error}") from error

    def _all_pieces(self, request: Request, scratch: Scratch) -> Iterator[memoryview]:
        for start, length in _pieces(request.offset, request.stop):
            yield self._filled(start, scratch.take(length))

    def _filled(self, start: int, view: memoryview) -> memoryview:
        try:
            self._disk.read_into(start, view)
        except Exception as error:
            raise _PieceError(start, error) from error
        self.bytes_read += len(view)
        return view

    def _runs(self, request: Request) -> Iterator[tuple[int, int, bool]]:
        """Yield the neighbouring parts of a request's range that differ in whether they may hold data."""
        begun, end, state = request.offset, request.offset, True
        for extent, data in self._disk.extents(request.offset, request.stop):
            if data != state and end > begun:
                yield begun, end, state
                begun = end
            end, state = extent.stop, data
        yield begun, end, state

    def _descriptors(self, request: Request) -> list[tuple[int, int]]:
        most = 1 if request.has(CommandFlag.REQ_ONE) else _DESCRIPTORS
        described: list[tuple[int, int]] = []
        for start, stop, data in self._runs(request):
            described.append((stop - start, Status.DATA if data else Status.HOLE | Status.ZERO))
            if len(described) == most:
                break
        return described

    def _refusal(self, request: Request) -> RefusedError | None:
        try:
            self._require_allowed(request)
        except RefusedError as error:
            return error
        return None

    def _require_allowed(self, request: Request) -> None:
        require_allowed(request, able=self._able, capacity=self._disk.capacity, allocation=self._allocation)

    def _fail(self, request: Request, error: Exception, *, offset: int | None = None) -> None:
        if isinstance(error, RefusedError):
            self._replies.fail(request, error.error, str(error))
            return
        self._on_failure(self._export, error)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            self._replies.fail(request, Errno.ENOSPC, str(error.strerror or error))
        else:
            words = str(error) if isinstance(error, VmKeepError) else f"unexpected: {type(error).__name__}"
            self._replies.fail(request, Errno.EIO, words, offset=offset)


def _pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the starts and lengths of the pieces of a range."""
    for at in range(start, stop, PIECE):
        yield at, min(PIECE, stop - at)
