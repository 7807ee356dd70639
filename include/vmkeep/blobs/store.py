"""The one storage contract: named byte strings, of which almost all are never changed.

Few verbs, because every backend has to be able to promise them: a local folder, S3, SFTP. The rules are executable:
``vmkeep.testing.blob_contract`` holds them, and ``tests/contract`` runs them against each backend and each wrapper.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeAlias, cast

from vmkeep.errors import BlobNotFoundError, UsageError

Bytes: TypeAlias = bytes | bytearray | memoryview

_KEY = re.compile(
    r"(?:[A-Za-z0-9_%~=+@,:-][A-Za-z0-9._%~=+@,:-]{0,199}/)*[A-Za-z0-9_%~=+@,:-][A-Za-z0-9._%~=+@,:-]{0,199}"
)

TEMPORARY = ".tmp"
"""Folder, in a store that is one, of files that have no name yet."""
RESERVE = ".reserve"
_TEMPORARY_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """One blob in a listing."""

    key: str
    size: int
    modified: datetime
    """By the clock of the store, which may differ from ours.

    Decisions rest on differences of such times only: the age of a blob is measured against one that was written just
    now (:mod:`vmkeep.maintenance.storetime`).
    """


class BlobStore(Protocol):
    """Named byte strings. Thread-safe. A blob is visible whole or not at all, and durable once a call returned."""

    @property
    def location(self) -> str:
        """The store's location, for messages."""

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob; never overwrite one.

        :returns: whether this call created it; ``False``: the same bytes were there already, which is success too.
        :raises ConflictError: other bytes are there under that key.
        :raises StoreFullError: no space; nothing half-written is visible.
        """

    def replace(self, key: str, data: Bytes) -> None:
        """Create or overwrite a blob, atomically for readers.

        Only for notes, which no restore needs: those of runs with their leases, marks of points, and notes of damage.
        """

    def get(self, key: str) -> bytes:
        """Return a blob's bytes.

        :raises BlobNotFoundError: there is none.
        """

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on; return how much there was (less only at the blob's end)."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on; fewer only at the blob's end."""

    def size(self, key: str) -> int:
        """Return a blob's size in bytes.

        :raises BlobNotFoundError: there is none.
        """

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs whose key starts with ``prefix`` (empty, or ending in ``/``), sorted by key."""

    def delete(self, key: str) -> None:
        """Remove a blob; one that is not there is removed already."""

    def local_path(self, key: str) -> Path | None:
        """Return a file to map into memory, where the store has one."""

    def check_writable(self) -> None:
        """Raise :class:`StoreError` unless a ``put`` could succeed now. Changes nothing."""


def is_remote(store: BlobStore) -> bool:
    """Return whether every call to the store is a round trip, so that several at once pay."""
    return store.local_path("descriptor") is None


def backend(store: BlobStore) -> BlobStore:
    """Return the store below all wrappers."""
    while (inner := getattr(store, "inner", None)) is not None:
        store = inner
    return store


def is_there(store: BlobStore, key: str) -> bool:
    """Return whether a blob is there now."""
    try:
        store.size(key)
    except BlobNotFoundError:
        return False
    return True


def close_store(store: BlobStore) -> None:
    """End the connections of a store that holds any; it may be used again, which makes new ones."""
    if (close := getattr(backend(store), "close", None)) is not None:
        close()


def remove_leftovers(store: BlobStore, *, left_for: timedelta) -> int:
    """Remove what processes that died while writing left beside the blobs, once it is that old; return how many."""
    remove = getattr(backend(store), "remove_leftovers", None)
    return 0 if remove is None else int(remove(left_for=left_for))


class Reserve(Protocol):
    """A service of a store in a folder beside blobs: it holds room back in a file, :data:`RESERVE`."""

    def hold_reserve(self, size: int) -> None:
        """Hold back so many bytes, unless as many are held already.

        :raises StoreFullError: there is no room for them.
        """

    def spend_reserve(self) -> None:
        """Give back the space that is held."""


def reserve_of(store: BlobStore) -> Reserve | None:
    """Return the means of a store to hold room back, where it has any."""
    inner = backend(store)
    return cast("Reserve", inner) if hasattr(inner, "hold_reserve") else None


def top_names(store: BlobStore) -> set[str]:
    """Return names at the first level of where a store is, whatever they are: parts of keys, and other files.

    In a bucket that holds a thousand or more it may be only some of them.
    """
    if (names := getattr(backend(store), "top_names", None)) is not None:
        return set(names())
    return {blob.key.partition("/")[0] for blob in store.list("")}


def is_temporary(name: str) -> bool:
    """Return whether a file of that name in :data:`TEMPORARY` is one of ours."""
    return _TEMPORARY_NAME.fullmatch(name) is not None


def is_key(key: str) -> bool:
    """Return whether a blob can have that key: see :func:`check_key`."""
    return _KEY.fullmatch(key) is not None


def check_key(key: str) -> str:
    """Return ``key`` if every backend can hold it.

    :raises UsageError: empty parts, parts that start with a dot or are over 200 characters, other characters than
        letters, digits and ``._%~=+@,:-``.
    """
    if not is_key(key):
        raise UsageError(
            f"not a blob key: {key!r}; it has parts of up to 200 letters (a to z), digits and '._%~=+@,:-', none of "
            "which begins with a dot, and one '/' between them"
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is empty or names a folder of keys."""
    if prefix:
        if not prefix.endswith("/"):
            raise UsageError(f"not a prefix of blob keys (it has to end in '/'): {prefix!r}")
        check_key(prefix[:-1])
    return prefix
