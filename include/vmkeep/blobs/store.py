"""The one storage contract: named byte strings, almost all of which never change.

It has few verbs, because every backend (a local folder, S3, SFTP) has to keep its promises. The promises are tests in
``vmkeep.testing.blob_contract``, and ``tests/contract`` runs them against each backend and each wrapper.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeAlias, cast

from vmkeep.errors import BlobNotFoundError, UsageError
from vmkeep.lateclass import dataclass

Bytes: TypeAlias = bytes | bytearray | memoryview

_KEY = re.compile(
    r"(?:[A-Za-z0-9_%~=+@,:-][A-Za-z0-9._%~=+@,:-]{0,199}/)*[A-Za-z0-9_%~=+@,:-][A-Za-z0-9._%~=+@,:-]{0,199}"
)

TEMPORARY = ".tmp"
"""Name of the folder for temporary files, in a store that is a folder."""
RESERVE = ".reserve"
"""Name of the file that holds room back, in a store that is a folder; see :mod:`~vmkeep.blobs.reserve`."""
TAKEN_RESERVE = f"{TEMPORARY}/reserve"
"""Name of that file while a deletion takes it. One that died then has left it, and the next deletion takes it."""
_TEMPORARY_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """One blob in a listing."""

    key: str
    size: int
    modified: datetime
    """The time of the last change, by the store's clock, which may differ from this machine's.

    Decisions rest only on differences between such times. A blob's age is the difference to a blob that was written
    just now (:mod:`vmkeep.maintenance.storetime`).
    """


class BlobStore(Protocol):
    """A store of named byte strings. Thread-safe. A blob is visible whole or not at all, and durable after the call."""

    @property
    def location(self) -> str:
        """The store's location, for messages."""

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob; never overwrite one.

        :returns: whether this call created the blob; ``False``: the same bytes were there already, which is a success.
        :raises ConflictError: other bytes are there under that key.
        :raises StoreFullError: the store has no space. Nothing half-written is visible.
        """

    def replace(self, key: str, data: Bytes) -> None:
        """Create or overwrite a blob, atomically for readers.

        Use it only for notes, because no restore needs them: notes and leases of runs, marks of points, and damage.
        """

    def get(self, key: str) -> bytes:
        """Return a blob's bytes.

        :raises BlobNotFoundError: there is no such blob.
        """

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on; return the number of bytes, which is less only at the blob's end."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return ``length`` bytes from byte ``start`` on; fewer only at the blob's end."""

    def size(self, key: str) -> int:
        """Return a blob's size in bytes.

        :raises BlobNotFoundError: there is no such blob.
        """

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs whose key starts with ``prefix`` (empty, or ending in ``/``), sorted by key.

        A server is asked for the whole list before the first blob is yielded.
        """

    def delete(self, key: str) -> None:
        """Remove a blob. It is no error if the blob is not there."""

    def local_path(self, key: str) -> Path | None:
        """Return the blob's file, which can be mapped into memory; ``None``: the store has no such files."""

    def check_writable(self) -> None:
        """Return if a ``put`` could succeed now. Change nothing.

        :raises StoreError: a ``put`` would fail.
        """


def is_remote(store: BlobStore) -> bool:
    """Return whether every call to the store is a round trip, so that several calls at a time save time."""
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
    """Close the connections of a store, if it has any. Later calls open new connections."""
    if (close := getattr(backend(store), "close", None)) is not None:
        close()


def confirm_lists(store: BlobStore) -> None:
    """Have the store make sure from now on that each of its lists is whole, for callers that decide by what is in none.

    It costs a store on S3 one more request for each list. Other stores know an error from a list anyway.
    """
    if (confirm := getattr(backend(store), "confirm_lists", None)) is not None:
        confirm()


def remove_leftovers(store: BlobStore, *, left_for: timedelta) -> int:
    """Remove temporary files that dead processes left beside the blobs; return their number.

    :param left_for: the least age of a file that is removed.
    """
    remove = getattr(backend(store), "remove_leftovers", None)
    return 0 if remove is None else int(remove(left_for=left_for))


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The room of the place where a store keeps its blobs, in bytes."""

    free: int
    capacity: int | None
    """``None``: not known."""


def space_of(store: BlobStore) -> Space | None:
    """Return the room of a store; ``None``: this kind of store does not tell it, as S3 does not."""
    ask = getattr(backend(store), "space", None)
    return None if ask is None else cast("Space | None", ask())


def top_names(store: BlobStore) -> set[str]:
    """Return the names at the first level of a store: first parts of keys, and names of foreign files.

    If a bucket holds a thousand objects or more, only some of the names may be returned.
    """
    if (names := getattr(backend(store), "top_names", None)) is not None:
        return set(names())
    return {blob.key.partition("/")[0] for blob in store.list("")}


def room_needed(size: int) -> str:
    """Return how much room the content of a blob needs. An empty one needs some, too, for its name or its folder."""
    return f"{size} bytes more are needed" if size else "not even for an empty file or a folder"


def is_temporary(name: str) -> bool:
    """Return whether vmkeep gives such a name to files in :data:`TEMPORARY`."""
    return _TEMPORARY_NAME.fullmatch(name) is not None


def is_key(key: str) -> bool:
    """Return whether a blob can have a key; see :func:`check_key`."""
    return _KEY.fullmatch(key) is not None


def check_key(key: str) -> str:
    """Return ``key`` if every backend can hold it.

    :raises UsageError: a part is empty, starts with a dot, has over 200 characters, or has a character other than
        letters, digits and ``._%~=+@,:-``.
    """
    if not is_key(key):
        raise UsageError(
            f"not a blob key: {key!r}; it has parts of up to 200 letters (a to z), digits and '._%~=+@,:-', none of "
            "which begins with a dot, and one '/' between them"
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is empty or names a folder of keys.

    :raises UsageError: it does neither.
    """
    if prefix:
        if not prefix.endswith("/"):
            raise UsageError(f"not a prefix of blob keys (it has to end in '/'): {prefix!r}")
        check_key(prefix[:-1])
    return prefix
