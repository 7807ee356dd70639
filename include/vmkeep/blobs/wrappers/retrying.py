"""Repeats a failed call after growing, random pauses, until a budget of time is spent.

It repeats only calls that may be repeated without harm: reading, removing, and creating if absent. An inner
:class:`SettlingStore` finds out whether a create whose reply was lost succeeded. ``replace`` is not repeated, because a
late repetition could overwrite newer content of another process. Leases, which use ``replace``, repeat by themselves.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from vmkeep.blobs.store import BlobInfo, BlobStore, Bytes
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.errors import Recovery, StoreError

T = TypeVar("T")

_BUDGET = 60.0
"""Seconds after a call's first failure in which it is repeated."""
_FIRST_PAUSE = 0.25
"""Longest pause after the first failure, in seconds. It doubles with each failure."""
_LONGEST_PAUSE = 8.0
"""Longest pause after any failure, in seconds."""
_uniform = secrets.SystemRandom().uniform


class RetryingStore(WrappingStore):
    """Passes every call on to ``inner``, and repeats it after a failure that may pass."""

    def __init__(
        self, inner: BlobStore, *, budget: float = _BUDGET, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """:param budget: seconds in which a failed call is repeated; 0: never repeat one."""
        super().__init__(inner)
        self._budget = budget
        self._sleep = sleep

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob."""
        return self._repeat(lambda: self.inner.put(key, data))

    def get(self, key: str) -> bytes:
        """Return a blob's bytes."""
        return self._repeat(lambda: self.inner.get(key))

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on; return the number of bytes."""
        return self._repeat(lambda: self.inner.get_into(key, start, buffer))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on."""
        return self._repeat(lambda: self.inner.get_range(key, start, length))

    def size(self, key: str) -> int:
        """Return a blob's size in bytes."""
        return self._repeat(lambda: self.inner.size(key))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs below ``prefix``, sorted by key. List them all before the first is yielded."""
        yield from self._repeat(lambda: tuple(self.inner.list(prefix)))

    def delete(self, key: str) -> None:
        """Remove a blob."""
        self._repeat(lambda: self.inner.delete(key))

    def check_writable(self) -> None:
        """Return if a ``put`` could succeed now; else raise."""
        self._repeat(self.inner.check_writable)

    def _repeat(self, call: Callable[[], T]) -> T:
        pause, spent_at = _FIRST_PAUSE, 0.0
        while True:
            try:
                return call()
            except StoreError as error:
                now = time.monotonic()
                spent_at = spent_at or now + self._budget
                wait = _uniform(0, pause)  # from 0 on, because clients that failed together must not return together
                if error.recovery is not Recovery.RETRY or now + wait >= spent_at:
                    raise
                self._sleep(wait)
                pause = min(2 * pause, _LONGEST_PAUSE)
