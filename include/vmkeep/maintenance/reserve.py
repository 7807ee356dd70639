"""Space reserved for those who delete, because they have to write down what they delete even on a full disk.

The reserve is a file of random bytes, which no file system can compress, beside the blobs of a folder. A new repository
has one. A prune or a deletion that finds no room deletes the file, and puts it back. If that fails, no work stops. Only
folders have a reserve, because other stores do not fill up to the last byte.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from vmkeep.blobs import BlobStore, reserve_of
from vmkeep.errors import StoreFullError, VmKeepError
from vmkeep.repository.folders import PROBES

log = logging.getLogger(__name__)

_LEAST = 64 << 10
_MOST = 16 << 20
_FOR_A_NAME = 128
"""Bytes that one name may add to the notes of a prune: the id of a pack in a plan and in both stages of a sweep, or a
point in one stage of a forgetting."""
_NOT_WORTH_IT = 4 << 10
"""A smaller reserve would not even hold a record."""


@contextmanager
def spending_reserve(store: BlobStore, *, packs: int = 0, points: int) -> Iterator[None]:
    """Release the reserve for the body, unless there is enough room without it. Hold it back again after the body.

    :param packs: number of packs that the body writes down.
    :param points: number of points that the body writes down. Each is written twice.
    """
    size = _size(packs + 2 * points)
    spent = _make_room(store, size)
    try:
        yield
    finally:
        _hold(store, size, spent=spent)


@contextmanager
def released_reserve(store: BlobStore) -> Iterator[int]:
    """Release the reserve for the body, and hand out the number of its bytes. Hold it back again after the body."""
    spent = _spend(store)
    try:
        yield spent
    finally:
        _hold(store, spent, spent=spent)


def hold_reserve(store: BlobStore) -> None:
    """Reserve the space that a first prune needs, if there is room. A failure here is ignored."""
    _hold(store, _size(0), spent=0)


def _make_room(store: BlobStore, size: int) -> int:
    """Release the reserve if there is no room for so many bytes; return the bytes released."""
    if reserve_of(store) is None:
        return 0
    probe = f"{PROBES}{secrets.token_hex(8)}"
    try:
        store.put(probe, secrets.token_bytes(size))
    except StoreFullError:
        return _spend(store)
    finally:
        store.delete(probe)
    return 0


def _spend(store: BlobStore) -> int:
    """Release the reserve, and return its bytes; 0: there is none, or it cannot be removed."""
    try:
        return 0 if (reserve := reserve_of(store)) is None else reserve.spend_reserve()
    except VmKeepError as error:
        log.warning("the room that %s holds back cannot be used: %s", store.location, error)
        return 0


def _hold(store: BlobStore, size: int, *, spent: int) -> None:
    """Hold back so many bytes, or as many as were spent if these are more.

    Where there is no room for them, hold back those that were spent, and if need be as many as there is room for.
    """
    size = max(size, spent)
    while size >= _NOT_WORTH_IT and not _is_held(store, size):
        size = spent if size > spent else size - size // 16


def _is_held(store: BlobStore, size: int) -> bool:
    """Hold back so many bytes; return whether there was room for them. Any other failure is only told."""
    try:
        if (reserve := reserve_of(store)) is not None:
            reserve.hold_reserve(size)
    except StoreFullError:
        return False
    except VmKeepError as error:
        log.warning("%s can hold back no room for a time when its disk is full: %s", store.location, error)
    return True


def _size(names: int) -> int:
    return min(_LEAST + _FOR_A_NAME * names, _MOST)
