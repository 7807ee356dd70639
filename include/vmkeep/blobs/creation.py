"""Proves that a store creates only what is absent: one writer after another, and many at the same time.

Two backups could overwrite each other where it does not, and a prune could delete what a backup has just sealed.
Servers are known that keep the promise only in a bucket of one kind, or only while writers come one by one.
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
_RACES = 3
"""Run side by side: a server may let each loser wait for a second or more."""
_SIZE = 64 << 10
"""Bytes of each rival: what takes a while to receive leaves a careless server more time to be so."""


def require_creates(store: BlobStore) -> None:
    """Prove it of a store that is not known to keep the promise; costs nothing with one that is.

    :raises RepositoryError: it does not keep it, now: a bucket may have been given versions since the repository was
        made.
    """
    if (check := getattr(backend(store), "check_creates", None)) is not None:
        check()


def warn_unless_creates(store: BlobStore) -> None:
    """Say it while there is nothing in a store yet: backups and restores work there, and a prune will refuse."""
    try:
        require_creates(store)
    except RepositoryError as error:
        log.warning("%s", error)


def fault_of_creating(store: BlobStore) -> str:
    """Return how a store breaks the promise; empty: it keeps it.

    :raises VmKeepError: the probe could not be made, or not be removed by a store that keeps the promise.
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
    """Remove probes whatever happens; a failure to do so counts only where nothing else is wrong."""
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
    """Let several create one object at once; tell whether one alone was told that it has, and its bytes are there."""
    start = threading.Barrier(_CREATORS)
    contents = [bytes([number]) * _SIZE for number in range(_CREATORS)]

    def create(content: bytes) -> bool | StoreError:
        start.wait()
        try:
            return _creates(store, key, content)
        except StoreError as error:
            if error.recovery is not Recovery.RETRY:
                raise
            return error  # one request of many may fail: it has created nothing that it knows of

    with ThreadPoolExecutor(_CREATORS) as threads:
        told = list(threads.map(create, contents))
    won = [content for content, answer in zip(contents, told, strict=True) if answer is True]
    if not won and (errors := [answer for answer in told if isinstance(answer, StoreError)]):
        raise errors[0]
    return len(won) == 1 and store.get(key) == won[0]


def _creates(store: BlobStore, key: str, content: bytes) -> bool:
    """Create; content that is there already is ours, by a request whose answer was lost: rivals have others."""
    try:
        store.put(key, content)
    except ConflictError:
        return False
    return True
