"""Tests whether a store creates a blob only if it is absent, for successive writers and for many at the same time.

In a store that breaks this promise, two backups could overwrite each other, and a prune could delete data that a backup
has just sealed. Some servers keep it only in one kind of bucket, or only as long as writers come one by one.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from vmkeep.blobs.store import BlobStore, backend
from vmkeep.errors import ConflictError, Recovery, RepositoryError, StoreError, VmKeepError

log = logging.getLogger(__name__)

PROBES = "probes/"
_CREATORS = 3
"""Number of writers that try to create one probe at the same time."""
_RACES = 3
"""Number of probes with such writers. They run side by side, because a server may delay each loser by a second."""
_SIZE = 64 << 10
"""Bytes of a probe. A larger request takes longer, which makes a fault of the server more likely to show."""


def require_creates(store: BlobStore) -> None:
    """Return if a store creates only absent blobs. Test only stores that are not known to do so.

    :raises RepositoryError: the store does not keep the promise. A bucket that once kept it may not do so any more, for
        example because it keeps versions now.
    """
    if (check := getattr(backend(store), "check_creates", None)) is not None:
        check()


def warn_unless_creates(store: BlobStore) -> None:
    """Warn if a new store may overwrite blobs. Backups and restores work there, but a prune will refuse."""
    try:
        require_creates(store)
    except RepositoryError as error:
        log.warning("%s", error)


def fault_of_creating(store: BlobStore) -> str:
    """Return the way in which a store breaks the promise, in words; empty: it keeps the promise.

    :raises VmKeepError: a probe could not be put; or the store keeps the promise, but a probe could not be removed.
    """
    alone, *raced = (f"{PROBES}{secrets.token_hex(8)}" for _ in range(1 + _RACES))
    with _removed_afterwards(store, alone) as faults:
        store.put(alone, b"first")
        if _creates(store, alone, b"second") or store.get(alone) != b"first":
            faults.append("overwrites objects it was asked to create only if absent")
            return faults[0]
    with _removed_afterwards(store, *raced) as faults, ThreadPoolExecutor(_RACES) as threads:
        if not all(list(threads.map(lambda key: _one_wins(store, key), raced))):
            faults.append("lets several writers at once create an object that only one of them may")
            return faults[0]
    return ""


@contextmanager
def _removed_afterwards(store: BlobStore, *keys: str) -> Iterator[list[str]]:
    """Remove probes at the end, also after an error. Raise the error of a removal only if there is no other fault."""
    faults: list[str] = []
    try:
        yield faults
    except VmKeepError:
        _remove(store, keys)
        raise
    errors = _remove(store, keys)
    if errors and not faults:
        raise errors[0]


def _remove(store: BlobStore, keys: Sequence[str]) -> list[VmKeepError]:
    errors = []
    for key in keys:
        try:
            store.delete(key)
        except VmKeepError as error:
            log.warning("%s: a probe could not be removed: %s", store.location, error)
            errors.append(error)
    return errors


def _one_wins(store: BlobStore, key: str) -> bool:
    """Let several writers create one blob at once; return whether exactly one succeeds and its bytes are there."""
    start = threading.Barrier(_CREATORS)
    contents = [bytes([number]) * _SIZE for number in range(_CREATORS)]

    def create(content: bytes) -> bool | StoreError:
        start.wait()
        try:
            return _creates(store, key, content)
        except StoreError as error:
            if error.recovery is not Recovery.RETRY:
                raise
            return error  # a single request may fail without saying anything about the promise

    with ThreadPoolExecutor(_CREATORS) as threads:
        told = list(threads.map(create, contents))
    won = [content for content, answer in zip(contents, told, strict=True) if answer is True]
    if not won and (errors := [answer for answer in told if isinstance(answer, StoreError)]):
        raise errors[0]
    return len(won) == 1 and store.get(key) == won[0]


def _creates(store: BlobStore, key: str, content: bytes) -> bool:
    """Create a blob; return whether this succeeded, also if a lost reply hid it, because rivals put other bytes."""
    try:
        store.put(key, content)
    except ConflictError:
        return False
    return True
