"""The store's time. Ages are differences between two stamps of the store's clock.

Safety never depends on our own clock agreeing with it. Only rules that people make go by our clock: how long points are
kept, and when a pin ends. Where nothing can be written, a plan that is only shown goes by our clock alone.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from vmkeep.blobs import BlobStore, hold_reserve, spend_reserve
from vmkeep.clock import now
from vmkeep.errors import StoreError, StoreFullError, StoreReadOnlyError, UnsupportedError
from vmkeep.repository.folders import PROBES

_AHEAD = timedelta(days=1)
"""A difference between the clocks that is too small to matter for any retention rule."""
_LEFT_FOR = timedelta(hours=1)
"""Age at which a probe is a leftover, because no process takes even a minute to look at its own."""


def time_for_rules(store: BlobStore, *, shown: bool = False) -> datetime:
    """Return this machine's time, by which retention rules and the ends of pins go.

    :param shown: the plan is only shown, see :func:`time_for_plans`.
    :raises UnsupportedError: this machine's clock is far ahead of the store's, so points and pins would end too early.
    """
    return both_times(store, shown=shown)[0]


def both_times(store: BlobStore, *, shown: bool = False) -> tuple[datetime, datetime]:
    """Return this machine's time, by which rules go, and the store's, by which the ages of blobs are judged.

    :param shown: the plan is only shown, see :func:`time_for_plans`.
    :raises UnsupportedError: this machine's clock is far ahead of the store's, so points and pins would end too early.
    """
    ours, theirs = now(), time_for_plans(store, shown=shown)
    if ours - theirs > _AHEAD:
        raise UnsupportedError(
            f"this machine's clock says {ours:%Y-%m-%d %H:%M} UTC, and that of {store.location} "
            f"{theirs:%Y-%m-%d %H:%M}: nothing is forgotten by a rule before the one that is wrong is set"
        )
    return ours, theirs


def time_for_plans(store: BlobStore, *, shown: bool) -> datetime:
    """Return the time by the store's clock, or by ours for a plan that is only shown of a store that takes no probe.

    :param shown: nobody carries the plan out.
    :raises StoreReadOnlyError: nothing can be written, and the plan is not only shown.
    """
    try:
        return store_time(store)
    except StoreReadOnlyError:
        if not shown:
            raise
        return now()


def age(stamp: datetime, *, time: datetime) -> timedelta:
    """Return the age of a blob, also if it bears a time of the future, because the store's clock was put back.

    Otherwise such a blob would count as young until that time comes. To take a young one for old is safe: margins only
    make collisions rare, and a living process writes its blobs anew.
    """
    return abs(time - stamp)


def store_time(store: BlobStore) -> datetime:
    """Return the time by the store's clock: the stamp of a blob that is written for this purpose and then removed.

    The blob is empty, so that it fits on a full disk. Only its folder may need room there, see :func:`_put_probe`.
    """
    key = f"{PROBES}{secrets.token_hex(8)}"
    _put_probe(store, key)
    try:
        probes = {blob.key: blob.modified for blob in store.list(PROBES)}
    finally:
        store.delete(key)
    if key not in probes:
        raise StoreError(f"{store.location}: does not list {key}, which was just written; try again")
    for other, stamp in probes.items():
        if age(stamp, time=probes[key]) > _LEFT_FOR:
            store.delete(other)
    return probes[key]


def _put_probe(store: BlobStore, key: str) -> None:
    """Create the empty blob. Where its folder has no room, make the folder in the room held back; the folder stays."""
    try:
        store.put(key, b"")
    except StoreFullError:
        if not (spent := spend_reserve(store)):
            raise
        try:
            store.put(key, b"")
        finally:
            hold_reserve(store, spent=spent)
