"""Room that is held back for a prune, which has to write down what it deletes even where nothing is free any more.

A blob of random bytes, ``reserve``, which no file system can compress. A prune that finds no room deletes it, and puts
it back at its end.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

from vmkeep.blobs import BlobStore
from vmkeep.errors import BlobNotFoundError, StoreError, StoreFullError

KEY = "reserve"
_PROBES = "probes/"
_LEAST = 64 << 10
_MOST = 16 << 20
_FOR_A_PACK = 128
"""Bytes by which a pack may make the notes of one prune longer: its id in a plan, and in both stages of a sweep."""


def spend_reserve(store: BlobStore, *, packs: int) -> None:
    """Give back what is held back, unless there is as much room as a prune of some packs needs."""
    probe = f"{_PROBES}{secrets.token_hex(8)}"
    try:
        store.put(probe, secrets.token_bytes(_size(packs)))
    except StoreFullError:
        store.delete(KEY)
    finally:
        store.delete(probe)


def hold_reserve(store: BlobStore, *, packs: int) -> None:
    """Hold back what a prune of some packs needs, if there is room for it; a failure here fails nothing."""
    size = _size(packs)
    with suppress(StoreError):
        if _held(store) < size:
            store.replace(KEY, secrets.token_bytes(size))


def _held(store: BlobStore) -> int:
    try:
        return store.size(KEY)
    except BlobNotFoundError:
        return 0


def _size(packs: int) -> int:
    return min(_LEAST + _FOR_A_PACK * packs, _MOST)
