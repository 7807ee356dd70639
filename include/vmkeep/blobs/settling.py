"""Settles a create-if-absent whose reply was lost: read back, compare, and only then believe the error.

A server may have stored the blob although the call failed. Every blob carries an id that was drawn for this one
write (a pack's id, a manifest's write id), so equal bytes mean that it was ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vmkeep.blobs.store import BlobInfo, BlobStore, Bytes
from vmkeep.errors import BlobNotFoundError, StoreError, StoreFullError, UnlockedError

_COMPARED = 1 << 20


class SettlingStore:
    """Passes every call on to ``inner``; a failed ``put`` is settled by reading back."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner

    @property
    def inner(self) -> BlobStore:
        """What is wrapped."""
        return self._inner

    @property
    def location(self) -> str:
        """Where the inner store is."""
        return self._inner.location

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob; an error counts only if our bytes are not there afterwards."""
        try:
            return self._inner.put(key, data)
        except (StoreFullError, UnlockedError):
            raise
        except StoreError:
            if self._landed(key, memoryview(data)):
                return True
            raise

    def _landed(self, key: str, data: memoryview) -> bool:
        """Compare size, beginning and end: a store shows a blob whole or not at all."""
        try:
            if self._inner.size(key) != len(data):
                return False
            head = self._inner.get_range(key, 0, _COMPARED)
            tail_at = max(0, len(data) - _COMPARED)
            tail = self._inner.get_range(key, tail_at, _COMPARED)
        except BlobNotFoundError:
            return False
        return head == bytes(data[:_COMPARED]) and tail == bytes(data[tail_at:])

    def replace(self, key: str, data: Bytes) -> None:
        """Pass on."""
        self._inner.replace(key, data)

    def get(self, key: str) -> bytes:
        """Pass on."""
        return self._inner.get(key)

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Pass on."""
        return self._inner.get_into(key, start, buffer)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Pass on."""
        return self._inner.get_range(key, start, length)

    def size(self, key: str) -> int:
        """Pass on."""
        return self._inner.size(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Pass on."""
        return self._inner.list(prefix)

    def delete(self, key: str) -> None:
        """Pass on."""
        self._inner.delete(key)

    def local_path(self, key: str) -> Path | None:
        """Pass on."""
        return self._inner.local_path(key)

    def check_writable(self) -> None:
        """Pass on."""
        self._inner.check_writable()
