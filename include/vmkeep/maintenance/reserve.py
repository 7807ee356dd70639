"""Space reserved for those who delete, because they have to write down what they delete even on a full disk.

The reserve is a file of random bytes, which no file system can compress, beside the blobs of a folder. A new repository
has one. A prune or a deletion that finds no room deletes the file, and puts it back. Only folders have a reserve,
because other stores do not fill up to the last byte.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vmkeep.blobs import BlobStore, reserve_of
from vmkeep.errors import PermissionDeniedError, StoreError, StoreFullError
from vmkeep.repository.folders import PROBES

_LEAST = 64 << 10
_MOST = 16 << 20
_FOR_A_NAME = 128
"""Bytes that one pack may add to the notes of a prune: its id in a plan, and in both stages of a sweep. A point that a
deletion names adds no more."""


@contextmanager
def spending_reserve(store: BlobStore, *, names: int) -> Iterator[None]:
    """Release the reserve for the body, unless there is enough room without it. Hold it back again after the body.

    :param names: number of packs or points that the body writes down.
    """
    spent = _make_room(store, _size(names))
    try:
        yield
    finally:
        _hold(store, max(spent, _size(names)))


def hold_reserve(store: BlobStore) -> None:
    """Reserve the space that a first prune needs, if there is room. A failure here is ignored."""
    _hold(store, _size(0))


def _make_room(store: BlobStore, size: int) -> int:
    """Release the reserve if there is no room for so many bytes; return the bytes released."""
    if (reserve := reserve_of(store)) is None:
        return 0
    probe = f"{PROBES}{secrets.token_hex(8)}"
    try:
        store.put(probe, secrets.token_bytes(size))
    except StoreFullError:
        return reserve.spend_reserve()
    finally:
        store.delete(probe)
    return 0


def _hold(store: BlobStore, size: int) -> None:
    if (reserve := reserve_of(store)) is not None:
        with suppress(StoreError, PermissionDeniedError):
            reserve.hold_reserve(size)


def _size(names: int) -> int:
    return min(_LEAST + _FOR_A_NAME * names, _MOST)
