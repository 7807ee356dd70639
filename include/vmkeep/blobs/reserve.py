"""Room that a store holds back for those who delete, because they have to write down what they delete on a full disk.

The reserve is a file of random bytes, which no file system can compress, beside the blobs of a folder. A deletion that
spends it leaves an empty file, whose time tells since when. Whoever opens the repository to write looks for the file,
and holds room back where there is none: a deletion that died may have spent it. If that fails, no work stops. Only
folders have a reserve, because other stores do not fill up to the last byte.

Of several deletions at once, one gets the room. Until it is done, no other one holds room back or moves blocks there.
Another one may still write its own small records there, so one of the two may end for lack of room.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final, Protocol, cast

from vmkeep.blobs.store import BlobStore, backend
from vmkeep.errors import StoreFullError, VmKeepError

log = logging.getLogger(__name__)

LEAST_RESERVE: Final = 64 << 10
"""Bytes that every repository in a folder holds back, if there is room for them."""
SPENT_FOR: Final = timedelta(minutes=15)
"""Time after which a deletion no longer needs the room that it has released: what it deletes has made some by then."""
_NOT_WORTH_IT: Final = 4 << 10
"""A smaller reserve would not even hold a record."""


class Reserve(Protocol):
    """A store in a folder that can hold room back in a file, :data:`~vmkeep.blobs.store.RESERVE`."""

    def reserved(self) -> int:
        """Return how many bytes are held back."""

    def is_spent_lately(self, within: timedelta) -> bool:
        """Return whether the room was released not long ago, by the store's clock, and is not held back again."""

    def hold_reserve(self, size: int) -> None:
        """Hold back ``size`` bytes, unless as many are held back already.

        :raises StoreFullError: there is no room for them.
        """

    def spend_reserve(self) -> int:
        """Free the space that is held back; return its bytes. Of several callers at once, one gets it."""


def reserve_of(store: BlobStore) -> Reserve | None:
    """Return the store below all wrappers if it can hold room back; ``None``: it cannot."""
    inner = backend(store)
    return cast("Reserve", inner) if hasattr(inner, "hold_reserve") else None


def hold_reserve(store: BlobStore, size: int = LEAST_RESERVE, *, spent: int = 0) -> None:
    """Hold back so many bytes, or as many as were spent if these are more. Do nothing if as many are held back.

    Where there is no room for them, hold back those that were spent, and if need be as many as there is room for. Any
    other failure is only told.
    """
    size = max(size, spent)
    while size >= _NOT_WORTH_IT and not _is_held(store, size):
        size = spent if size > spent > 0 else size - size // 16


def keep_reserve(store: BlobStore) -> None:
    """Hold back the least, for a caller that is about to write, unless a deletion may work in that room now."""
    try:
        reserve = reserve_of(store)
        if reserve is None or reserve.reserved() >= LEAST_RESERVE or reserve.is_spent_lately(SPENT_FOR):
            return
    except VmKeepError as error:
        log.warning("the room that %s holds back is not known: %s", store.location, error)
        return
    hold_reserve(store)


def is_reserve_in_use(store: BlobStore) -> bool:
    """Return whether a deletion may work in the room that was held back."""
    try:
        return (reserve := reserve_of(store)) is not None and reserve.is_spent_lately(SPENT_FOR)
    except VmKeepError as error:
        log.warning("the room that %s holds back is not known: %s", store.location, error)
        return False


def spend_reserve(store: BlobStore) -> int:
    """Release the reserve, and return its bytes; 0: there is none, or it cannot be removed."""
    try:
        return 0 if (reserve := reserve_of(store)) is None else reserve.spend_reserve()
    except VmKeepError as error:
        log.warning("the room that %s holds back cannot be used: %s", store.location, error)
        return 0


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
