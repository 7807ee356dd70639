"""Names a folder that does not answer, because no program can end its own wait for one.

A mount of NFS waits for its server as long as it takes, unless it was mounted otherwise. The process looks dead then,
and says nothing. So a thread looks at the calls that run, and warns of each that takes too long. It ends when there is
no call.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from typing import Final, Self

from vmkeep.blobs.store import BlobInfo, BlobStore, Bytes
from vmkeep.blobs.wrappers.wrapping import WrappingStore

HANGS: Final = 120.0
"""Seconds after which a call is taken for one that hangs. A disk takes seconds at most, also for a large pack."""
LOOK: Final = 30.0
"""Seconds between two looks."""

_REMEDY: Final = (
    "the file system hangs; look at its server. This goes on as soon as it answers, and a second Ctrl-C ends a command"
)

log = logging.getLogger(__name__)


class Watch:
    """Looks at the calls of some stores. Thread-safe, without a lock that a forked process could find taken."""

    def __init__(self, *, hangs: float = HANGS, look: float = LOOK) -> None:
        """:param hangs: seconds of a call that hangs. :param look: seconds between two looks."""
        self._hangs = hangs
        self._look = look
        self._calls: set[_Call] = set()
        self._thread: threading.Thread | None = None

    def over(self, location: str, doing: str, key: str) -> _Call:
        """Return the context of a call, which is looked at while it runs."""
        return _Call(self, location, doing, key)

    def add(self, call: _Call) -> None:
        """Look at a call from now on."""
        self._calls.add(call)
        if self._thread is None or not self._thread.is_alive():  # none is after a fork
            self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
            self._thread.start()

    def remove(self, call: _Call) -> None:
        """Look at a call no more."""
        self._calls.discard(call)

    def _run(self) -> None:
        me = self._thread
        while True:
            time.sleep(self._look)
            if not self._calls:
                self._thread = None
                if not self._calls:  # whoever adds one from now on starts another thread
                    return
                self._thread = me
            oldest = time.monotonic() - self._hangs
            for call in self._calls.copy():
                if call.began < oldest and not call.is_told:
                    call.is_told = True
                    log.warning("%s: no answer for %.0f seconds: %s", call, time.monotonic() - call.began, _REMEDY)


class _Call:
    """A call that runs."""

    __slots__ = ("_doing", "_key", "_location", "_watch", "began", "is_told")

    def __init__(self, watch: Watch, location: str, doing: str, key: str) -> None:
        self._watch = watch
        self._location = location
        self._doing = doing
        self._key = key
        self.is_told = False

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        self._watch.add(self)
        return self

    def __exit__(self, *_error: object) -> None:
        self._watch.remove(self)
        if self.is_told:
            log.warning("%s: it has ended, after %.0f seconds", self, time.monotonic() - self.began)

    def __str__(self) -> str:
        return f"{self._location}: {self._doing} {self._key}"


_watch = Watch()


class WatchedStore(WrappingStore):
    """Passes every call on to ``inner``, and warns while one hangs."""

    def __init__(self, inner: BlobStore, watch: Watch = _watch) -> None:
        super().__init__(inner)
        self._watch = watch

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob."""
        with self._over("writing", key):
            return self.inner.put(key, data)

    def replace(self, key: str, data: Bytes) -> None:
        """Create or overwrite a blob."""
        with self._over("writing", key):
            self.inner.replace(key, data)

    def get(self, key: str) -> bytes:
        """Return a blob's bytes."""
        with self._over("reading", key):
            return self.inner.get(key)

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on; return the number of bytes."""
        with self._over("reading", key):
            return self.inner.get_into(key, start, buffer)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on."""
        with self._over("reading", key):
            return self.inner.get_range(key, start, length)

    def size(self, key: str) -> int:
        """Return a blob's size in bytes."""
        with self._over("looking for", key):
            return self.inner.size(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs below ``prefix``, sorted by key."""
        with self._over("listing", prefix) as call:
            for blob in self.inner.list(prefix):
                call.began = math.inf  # the caller works, and may take its time
                yield blob
                call.began = time.monotonic()

    def delete(self, key: str) -> None:
        """Remove a blob."""
        with self._over("removing", key):
            self.inner.delete(key)

    def check_writable(self) -> None:
        """Return if a ``put`` could succeed now; else raise."""
        with self._over("writing", "a file"):
            self.inner.check_writable()

    def _over(self, doing: str, key: str) -> _Call:
        return self._watch.over(self.location, doing, key)
