"""A blob store in memory: the smallest store that keeps the contract. Fault tests use it in place of a disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from vmkeep.blobs import BlobInfo, Bytes, check_key, check_prefix
from vmkeep.errors import BlobNotFoundError, ConflictError

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class MemoryStore:
    """A blob store in a dict. Thread-safe."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @property
    def location(self) -> str:
        """The store's name, for messages."""
        return "memory"

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob; never overwrite one."""
        check_key(key)
        with self._lock:
            held = self._blobs.setdefault(key, stored := bytes(data))
        if held != stored:
            raise ConflictError(f"{key}: exists with other content")
        return held is stored

    def replace(self, key: str, data: Bytes) -> None:
        """Create or overwrite a blob."""
        check_key(key)
        with self._lock:
            self._blobs[key] = bytes(data)

    def get(self, key: str) -> bytes:
        """Return a blob's bytes."""
        try:
            return self._blobs[check_key(key)]
        except KeyError:
            raise BlobNotFoundError(f"{key}: no such blob") from None

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` with a blob's bytes from ``start`` on; return their number, which is less at the end."""
        part = self.get_range(key, start, len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on."""
        return self.get(key)[start : start + length]

    def size(self, key: str) -> int:
        """Return a blob's size in bytes."""
        return len(self.get(key))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs below ``prefix``, sorted by key."""
        check_prefix(prefix)
        with self._lock:
            found = sorted((key, len(data)) for key, data in self._blobs.items() if key.startswith(prefix))
        for key, size in found:
            yield BlobInfo(key=key, size=size, modified=_EPOCH)

    def delete(self, key: str) -> None:
        """Remove a blob."""
        with self._lock:
            self._blobs.pop(check_key(key), None)

    def local_path(self, key: str) -> Path | None:
        """Return ``None``, because there is no file."""
        check_key(key)
        return None

    def check_writable(self) -> None:
        """Return, because memory can always be written."""
