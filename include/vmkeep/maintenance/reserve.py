"""Room that is held back for a prune, which has to write down what it deletes even where nothing is free any more.

A file of random bytes, which no file system can compress, beside the blobs of a folder. A prune that finds no room
deletes it, and puts it back at its end. Other stores are not full to the last byte.
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
"""Bytes by which a pack may make the notes of one prune longer: its id in a plan, and in both stages of a sweep."""


def spend_reserve(store: BlobStore, *, packs: int) -> None:
    """Give back what is held back, unless there is as much room as a prune of some packs needs."""
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
    """Hold back what a prune of some packs needs, if there is room for it; a failure here fails nothing."""
    if (reserve := reserve_of(store)) is not None:
        with suppress(StoreError, PermissionDeniedError):
            reserve.hold_reserve(_size(packs))


def _size(packs: int) -> int:
    return min(_LEAST + _FOR_A_PACK * packs, _MOST)
