"""Reads a disk with several requests in flight.

The owner thread begins the requests. The library's thread hands each completed piece straight to a waiting worker. Each
piece that a worker takes lets the owner begin one more request. So ``depth`` limits the requests that are in flight or
not yet taken. Buffers exist for these and for the pieces that workers hold.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from vmkeep.errors import DeadlineError, TransferError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.extents import Extent, split
from vmkeep.vddk.buffers import Buffer, BufferPool
from vmkeep.vddk.codes import NOT_SUPPORTED, make_error
from vmkeep.vddk.handle import Handle
from vmkeep.vddk.ownerthread import OwnerThread
from vmkeep.vddk.pendingcalls import Latch, PendingCall, await_all, in_flight
from vmkeep.vddk.structures import SECTOR

_log = logging.getLogger(__name__)


class VddkPiece:
    """A piece of the disk, in one of the reader's buffers."""

    __slots__ = ("_buffer", "_pool", "data", "start")

    def __init__(self, start: int, data: memoryview, buffer: Buffer, pool: BufferPool) -> None:
        self.start = start
        self.data = data
        self._buffer = buffer
        self._pool = pool

    def release(self) -> None:
        """Give the buffer back. Call it exactly once."""
        self._pool.give_back(self._buffer)


@dataclass(frozen=True, slots=True)
class _Failure:
    """A failed request. The worker that takes it words the error, because a callback must not call the library."""

    extent: Extent
    error: int


class ReadRequest(PendingCall):
    """A piece that is being read."""

    def __init__(self, reader: VddkReader, extent: Extent, buffer: Buffer) -> None:
        self.reader = reader
        self.extent = extent
        self.buffer = buffer
        super().__init__(reader, buffer)

    def finish(self, error: int) -> None:
        """Hand the piece, or the error, to a worker."""
        self.reader.completed(self, error)


class VddkReader:
    """A running read, made by :meth:`vmkeep.vddk.opendisk.VddkSource.open_reader`."""

    def __init__(
        self,
        handle: Handle,
        owner: OwnerThread,
        extents: Sequence[Extent],
        pool: BufferPool,
        *,
        depth: int,
        patience: float,
    ) -> None:
        self._handle = handle
        self._extents = extents
        self._pool = pool
        self._depth = depth
        self._patience = patience
        self._places = threading.Semaphore(depth)
        self._ready: SimpleQueue[VddkPiece | _Failure | Exception | None] = SimpleQueue()
        self._stopped = False
        self._last_event = time.monotonic()
        self._feeding = owner.post(self._feed)

    def next_piece(self) -> VddkPiece | None:
        """Return a filled piece, in any order; ``None`` at the end. After a failure, every worker gets its error."""
        item = self._await_item()
        if isinstance(item, VddkPiece):
            self._places.release()
            return item
        if isinstance(item, _Failure):
            item = self._error(item.extent, item.error)
        self._ready.put(item)  # so that the other workers see the end or the error too
        if item is None:
            return None
        raise item

    def _await_item(self) -> VddkPiece | _Failure | Exception | None:
        while True:
            try:
                return self._ready.get(timeout=self._patience)
            except Empty:
                if time.monotonic() - self._last_event >= self._patience:
                    self._stopped = True
                    return self._stall()

    def completed(self, request: ReadRequest, error: int) -> None:
        """Take a finished request. Any thread may call it."""
        now = time.monotonic()
        self._last_event = now
        length = request.extent.length
        self._handle.library.timings.note("ReadAsync to callback", now - request.started, length)
        if error:
            self._stopped = True
            self._ready.put(_Failure(request.extent, error))
        else:
            self._ready.put(self._piece(request.extent, request.buffer))

    def close(self, *, patience: float) -> bool:
        """Stop, and wait for the requests in flight. Return whether the library gave all buffers back.

        :param patience: seconds.
        """
        if not self._stopped:
            self._stopped = True
            self._ready.put(TransferError(f"{self._handle.address.title}: reading was stopped before its end"))
        self._places.release()
        try:
            self._feeding.wait(what=f"the end of reading {self._handle.address.title}", patience=patience)
        except DeadlineError:
            return False
        except VmKeepError as error:
            _log.warning("%s", error)  # an error of Wait does not matter if the requests come back
        return await_all(self, patience)

    def _feed(self) -> None:
        """Keep requests in flight until every piece was taken. The owner thread does this while the reader is open."""
        try:
            for extent in split(self._extents, self._pool.size):
                self._places.acquire()
                if self._stopped:
                    break
                self._begin(extent)
            else:
                self._await_taken()
            if not self._stopped:
                self._stopped = True
                self._ready.put(None)
        except Exception as error:  # noqa: BLE001 - raised in the worker that asks for the next piece
            self._stopped = True
            self._ready.put(error)
        if in_flight(self):
            self._handle.wait()

    def _await_taken(self) -> None:
        for _ in range(self._depth):
            self._places.acquire()
            if self._stopped:
                return

    def _begin(self, extent: Extent) -> None:
        buffer = self._pool.take()
        start, count = extent.start // SECTOR, extent.length // SECTOR
        if self._handle.can_read_async is None:
            self._handle.can_read_async = self._probe()
        if self._handle.can_read_async:
            request = ReadRequest(self, extent, buffer)
            error = self._handle.read_async(start, count, buffer.address, request)
            if error:
                raise self._error(extent, error)
            return
        self._handle.read(start, count, buffer.address)
        self._last_event = time.monotonic()
        self._ready.put(self._piece(extent, buffer))

    def _probe(self) -> bool:
        """Find out by a single request whether the handle reads asynchronously, because the two ways must not mix."""
        buffer = Buffer(SECTOR)
        latch = Latch(self, buffer)
        error = self._handle.read_async(0, 1, buffer.address, latch)
        if not error:
            while not latch.wait(1.0):
                if self._stopped:
                    raise TransferError(f"{self._handle.address.title}: reading was stopped before its end")
            error = latch.error
        if error and error & 0xFFFF != NOT_SUPPORTED:
            raise self._error(Extent(0, SECTOR), error)
        self._last_event = time.monotonic()
        return not error

    def _piece(self, extent: Extent, buffer: Buffer) -> VddkPiece:
        return VddkPiece(extent.start, buffer.view[: extent.length], buffer, self._pool)

    def _error(self, extent: Extent, error: int) -> Exception:
        where = self._handle.where(extent.start // SECTOR, extent.length // SECTOR)
        return make_error(error, self._handle.library.error_text(error), doing=f"reading {where}")

    def _stall(self) -> DeadlineError:
        oldest = next((r for r in in_flight(self) if isinstance(r, ReadRequest)), None)
        at = f"byte {oldest.extent.start} of " if oldest else ""
        return DeadlineError(waiting_for=f"VDDK to read {at}{self._handle.address.title}", seconds=self._patience)
