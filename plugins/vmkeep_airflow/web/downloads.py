"""Hands files out of points to browsers, piece by piece, so that no download is kept in memory or holds a thread.

A thread of the download's own reads and checks the blocks. A small file or archive is read whole before the answer
begins, so that an error becomes a page. The answer of a larger one ends at an error, and the reason is in the log of
the API server. The browser calls a file failed that is shorter than its length; an archive lacks its end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from queue import Empty, Full, Queue
from threading import BoundedSemaphore, Event, Thread
from typing import Final

import anyio
import anyio.to_thread

from vmkeep.errors import CancelledError, UnreachableError, VmKeepError
from vmkeep.flows.point_file_stream import StreamHead, StreamRequest, stream_files
from vmkeep.flows.repositories import open_site_repository
from vmkeep_airflow.site import repository_site

log = logging.getLogger(__name__)

SMALL: Final = 16 << 20
"""Bytes up to which a download is read whole before its answer begins."""
STALL: Final = 60.0
"""Seconds after which a download ends whose browser takes nothing, or whose repository gives nothing."""
LONGEST: Final = 12 * 3600.0
"""Seconds of a whole download."""
_PATIENCE: Final = 10.0
"""Seconds that an answer waits for more of a small download."""
_AT_ONCE: Final = 4
_PIECE: Final = 256 << 10
_AHEAD: Final = 8
"""Pieces that are read before the browser takes them."""

_slots = BoundedSemaphore(_AT_ONCE)
_waiting: Final = anyio.CapacityLimiter(_AT_ONCE)
"""Threads that wait for pieces. They are none of the forty that answer all other calls."""

_Item = StreamHead | bytes | BaseException | None
"""``None`` is the end."""


class Download:
    """One download. Whoever made it calls :meth:`stop`, or goes through :meth:`pieces`, which does so."""

    def __init__(self, find_connection: Callable[[], str], request: StreamRequest, *, what: str) -> None:
        """:param find_connection: it returns the Airflow connection to the repository. It is called once there is room.

        :param what: the file and the point, for messages.
        :raises UnreachableError: too many downloads are under way.
        """
        if not _slots.acquire(blocking=False):
            raise UnreachableError(f"{_AT_ONCE} downloads are under way already: try again when one has ended")
        self.what = what
        self.begun: list[bytes] = []
        """The first pieces, as :meth:`start` has taken them."""
        self.is_whole = False
        """Whether these are all."""
        self._find_connection = find_connection
        self._request = request
        self._queue: Queue[_Item] = Queue(_AHEAD)
        self._stopped = Event()
        self._end = time.monotonic() + LONGEST
        self._held = bytearray()
        Thread(target=self._run, name=f"web: download of {what}", daemon=True).start()

    def start(self) -> StreamHead:
        """Wait until the download is whole, or too large for that; return its head.

        :raises VmKeepError: it cannot be read, or the repository gives no answer in time.
        """
        try:
            head = self._next()
            assert isinstance(head, StreamHead)
            size, end = 0, time.monotonic() + _PATIENCE
            while size < SMALL and not self.is_whole and time.monotonic() < end:
                piece = self._next()
                if isinstance(piece, bytes):
                    self.begun.append(piece)
                    size += len(piece)
                else:
                    self.is_whole = True
            return head
        except BaseException:
            self.stop()
            raise

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield all pieces.

        :raises VmKeepError: it cannot be read on. What was yielded is not whole.
        """
        try:
            for piece in self.begun:
                yield piece
            while not self.is_whole:
                got = await anyio.to_thread.run_sync(self._next, limiter=_waiting, abandon_on_cancel=True)
                if not isinstance(got, bytes):
                    break
                yield got
        except VmKeepError as error:
            log.error("the download of %s was cut off: %s", self.what, error)
            raise
        finally:
            self.stop()

    def stop(self) -> None:
        """End the reading, if it has not ended. Callable again."""
        self._stopped.set()

    def _next(self) -> _Item:
        try:
            item = self._queue.get(timeout=STALL)
        except Empty:
            raise UnreachableError(f"{self.what}: the repository gave nothing for {STALL:.0f} s") from None
        if isinstance(item, BaseException):
            raise item
        return item

    def _run(self) -> None:
        """Read everything, in a thread of its own."""
        try:
            with open_site_repository(repository_site(self._find_connection())) as repository:
                stream_files(repository, self._request, begin=self._put, write=self._write, check=self._check)
            if self._held:
                self._put(bytes(self._held))
            self._put(None)
        except CancelledError:
            log.info("the download of %s was given up", self.what)
        except BaseException as error:  # noqa: BLE001 - it is raised where the pieces are taken
            self._tell(error)
        finally:
            _slots.release()

    def _tell(self, error: BaseException) -> None:
        try:
            self._put(error)
        except CancelledError:
            log.warning("the download of %s was given up, and failed: %s", self.what, error)

    def _write(self, data: bytes | memoryview) -> None:
        self._held += data
        if len(self._held) >= _PIECE:
            self._put(bytes(self._held))
            self._held.clear()

    def _put(self, item: _Item) -> None:
        end = time.monotonic() + STALL
        while True:
            self._check()
            try:
                self._queue.put(item, timeout=0.5)
                return
            except Full:
                if time.monotonic() > end:
                    raise CancelledError(f"nobody took anything of {self.what} for {STALL:.0f} s") from None

    def _check(self) -> None:
        if self._stopped.is_set() or time.monotonic() > self._end:
            raise CancelledError(f"the download of {self.what} has ended")
