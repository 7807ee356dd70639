"""The reserve of a repository, as a prune or a deletion spends it and puts it back (:mod:`vmkeep.blobs.reserve`)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from vmkeep.blobs import LEAST_RESERVE, BlobStore, hold_reserve, reserve_of, spend_reserve
from vmkeep.errors import StoreFullError
from vmkeep.repository.folders import PROBES

_MOST = 16 << 20
_FOR_A_NAME = 128
"""Bytes that one name may add to the notes of a prune: the id of a pack in a plan and in both stages of a sweep, or a
point in one stage of a forgetting."""


@contextmanager
def spending_reserve(store: BlobStore, *, packs: int = 0, points: int) -> Iterator[None]:
    """Release the reserve for the body, unless there is enough room without it. Hold it back again after the body.

    :param packs: number of packs that the body writes down.
    :param points: number of points that the body writes down. Each is written twice.
    """
    size = min(LEAST_RESERVE + _FOR_A_NAME * (packs + 2 * points), _MOST)
    spent = _make_room(store, size)
    try:
        yield
    finally:
        hold_reserve(store, size, spent=spent)


@contextmanager
def released_reserve(store: BlobStore) -> Iterator[int]:
    """Release the reserve for the body, and hand out the number of its bytes. Hold it back again after the body."""
    spent = spend_reserve(store)
    try:
        yield spent
    finally:
        hold_reserve(store, spent)


def _make_room(store: BlobStore, size: int) -> int:
    """Release the reserve if there is no room for so many bytes; return the bytes released."""
    if reserve_of(store) is None:
        return 0
    probe = f"{PROBES}{secrets.token_hex(8)}"
    try:
        store.put(probe, secrets.token_bytes(size))
    except StoreFullError:
        return spend_reserve(store)
    finally:
        store.delete(probe)
    return 0
