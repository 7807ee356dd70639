"""A store whose calls wait for each other: it counts how many are under way at once, whatever the time they take."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vmkeep.blobs import BlobStore
from vmkeep.blobs.wrappers.wrapping import WrappingStore

_PATIENCE = 30.0
"""Seconds after which nobody else is coming; waited for once, and by tests that fail only."""


class CrowdedStore(WrappingStore):
    """Reads below ``prefix`` wait until ``wanted`` of them are under way at the same time, and pass from then on."""

    def __init__(self, inner: BlobStore, prefix: str, *, wanted: int, ahead: int = 0) -> None:
        """:param ahead: so many calls go before the others and wait for nobody."""
        super().__init__(inner)
        self._prefix = prefix
        self._wanted = wanted
        self._ahead = ahead
        self._under_way = 0
        self._enough = threading.Event()
        self._lock = threading.Lock()
        self.most = 0
        """The most that were under way at once."""
        self.calls = 0

    def get(self, key: str) -> bytes:
        with self._crowd(key):
            return super().get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._crowd(key):
            return super().get_range(key, start, length)

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        with self._crowd(key):
            return super().get_into(key, start, buffer)

    @contextmanager
    def _crowd(self, key: str) -> Iterator[None]:
        if not key.startswith(self._prefix):
            yield
            return
        with self._lock:
            self.calls = number = self.calls + 1
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            if self._under_way >= self._wanted:
                self._enough.set()
        try:
            if number > self._ahead and not self._enough.wait(_PATIENCE):
                self._enough.set()
            yield
        finally:
            with self._lock:
                self._under_way -= 1


def most_at_once(
    inner: BlobStore, prefix: str, use: Callable[[BlobStore], object], *, wanted: int, ahead: int = 0
) -> int:
    """Return how many reads below a prefix were under way at once while a store was used."""
    store = CrowdedStore(inner, prefix, wanted=wanted, ahead=ahead)
    use(store)
    return store.most
