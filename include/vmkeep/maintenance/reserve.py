"""The reserve of a repository, as a prune or a deletion spends it and puts it back (:mod:`vmkeep.blobs.reserve`)."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from vmkeep.blobs import (
    LEAST_RESERVE,
    BlobStore,
    hold_reserve,
    is_reserve_in_use,
    reserve_of,
    space_of,
    spend_reserve,
)
from vmkeep.errors import StoreFullError
from vmkeep.repository.folders import PROBES

_MOST = 16 << 20
"""The largest reserve, in bytes."""
_FOR_A_NAME = 128
"""Bytes that one name may add to the notes of a prune: the id of a pack in a plan and in both stages of a sweep, or a
point in one stage of a forgetting."""


class Room:
    """The room of a store for one prune or deletion, which may spend the reserve.

    Another one may have spent it at the same time. No blocks are moved into its room, and it holds the room back again.
    """

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._is_ours = False
        """This prune or deletion has released the reserve, and found no room to hold it back again."""

    @contextmanager
    def spending_reserve(self, *, packs: int = 0, points: int) -> Iterator[None]:
        """Release the reserve for the body, unless there is enough room without it. Hold it back again after the body.

        :param packs: number of packs that the body writes down.
        :param points: number of points that the body writes down. Each is written twice.
        """
        size = min(LEAST_RESERVE + _FOR_A_NAME * (packs + 2 * points), _MOST)
        spent = _make_room(self._store, size)
        self._is_ours |= bool(spent)
        try:
            yield
        finally:
            self._hold(size, spent)

    @contextmanager
    def released_reserve(self) -> Iterator[None]:
        """Release the reserve for the body. Hold it back again after the body."""
        spent = spend_reserve(self._store)
        self._is_ours |= bool(spent)
        try:
            yield
        finally:
            self._hold(spent, spent)

    def free(self) -> int:
        """Return the bytes that are free, as far as the store tells, without those that another one has released."""
        space = space_of(self._store)
        if space is None:
            return sys.maxsize
        return max(0, space.free - _MOST) if self.is_anothers() else space.free

    def is_anothers(self) -> bool:
        """Return whether another prune or deletion works in the room that was held back."""
        return not self._is_ours and is_reserve_in_use(self._store)

    def _hold(self, size: int, spent: int) -> None:
        if not self.is_anothers():
            hold_reserve(self._store, size, spent=spent)
            self._is_ours = self._is_ours and is_reserve_in_use(self._store)


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
