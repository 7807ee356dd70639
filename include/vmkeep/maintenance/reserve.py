"""Space reserved for a prune, which has to write down what it deletes even on a full disk.

The reserve is a file of random bytes, which no file system can compress, beside the blobs of a folder. A prune that
finds no room deletes the file, and puts it back at its end. Only folders have a reserve, because other stores do not
fill up to the last byte.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

from vmkeep.blobs import BlobStore, reserve_of
from vmkeep.errors import PermissionDeniedError, StoreError, StoreFullError
from vmkeep.repository.folders import PROBES

_LEAST = 64 << 10
_MOST = 16 << 20
_FOR_A_PACK = 128
"""Bytes that one pack may add to the notes of a prune: its id in a plan, and in both stages of a sweep."""


def spend_reserve(store: BlobStore, *, packs: int) -> None:
    """Release the reserve, unless a prune of this many packs has enough room without it."""
    if (reserve := reserve_of(store)) is None:
        return
    probe = f"{PROBES}{secrets.token_hex(8)}"
    try:
        store.put(probe, secrets.token_bytes(_size(packs)))
    except StoreFullError:
        reserve.spend_reserve()
    finally:
        store.delete(probe)


def hold_reserve(store: BlobStore, *, packs: int) -> None:
    """Reserve the space that a prune of this many packs needs, if there is room. A failure here is ignored."""
    if (reserve := reserve_of(store)) is not None:
        with suppress(StoreError, PermissionDeniedError):
            reserve.hold_reserve(_size(packs))


def _size(packs: int) -> int:
    return min(_LEAST + _FOR_A_PACK * packs, _MOST)
