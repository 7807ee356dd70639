"""The common base of all wrappers of a store. It passes every call on; a wrapper overrides the calls it changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vmkeep.blobs.store import BlobInfo, BlobStore, Bytes


class WrappingStore:
    """Passes every call on to ``inner``. :class:`BlobStore` describes what each call promises."""

    def __init__(self, inner: BlobStore) -> None:
        self.inner = inner

    @property
    def location(self) -> str:
        """The location of the inner store."""
        return self.inner.location

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob; never overwrite one."""
        return self.inner.put(key, data)

    def replace(self, key: str, data: Bytes) -> None:
        """Create or overwrite a blob."""
        self.inner.replace(key, data)

    def get(self, key: str) -> bytes:
        """Return a blob's bytes."""
        return self.inner.get(key)

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on; return the number of bytes."""
        return self.inner.get_into(key, start, buffer)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on."""
        return self.inner.get_range(key, start, length)

    def size(self, key: str) -> int:
        """Return a blob's size in bytes."""
        return self.inner.size(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs below ``prefix``, sorted by key."""
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        """Remove a blob."""
        self.inner.delete(key)

    def local_path(self, key: str) -> Path | None:
        """Return the blob's file in the inner store; ``None``: it has none."""
        return self.inner.local_path(key)

    def check_writable(self) -> None:
        """Return if a ``put`` could succeed now; else raise."""
        self.inner.check_writable()
