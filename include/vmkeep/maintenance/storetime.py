"""The store's time. Ages are differences between two stamps of the store's clock.

Safety never depends on our own clock agreeing with it. Only rules that people make go by our clock: how long points are
kept, and when a pin ends.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from vmkeep.blobs import BlobStore
from vmkeep.clock import now
from vmkeep.errors import StoreError, UnsupportedError
from vmkeep.repository.folders import PROBES

_AHEAD = timedelta(days=1)
"""A difference between the clocks that is too small to matter for any retention rule."""
_LEFT_FOR = timedelta(hours=1)
"""Age at which a probe is a leftover, because no process takes even a minute to look at its own."""


def time_for_rules(store: BlobStore) -> datetime:
    """Return this machine's time, by which retention rules and the ends of pins go.

    :raises UnsupportedError: this machine's clock is far ahead of the store's, so points and pins would end too early.
    """
    return both_times(store)[0]


def both_times(store: BlobStore) -> tuple[datetime, datetime]:
    """Return this machine's time, by which rules go, and the store's, by which the ages of blobs are judged.

    :raises UnsupportedError: this machine's clock is far ahead of the store's, so points and pins would end too early.
    """
    ours, theirs = now(), store_time(store)
    if ours - theirs > _AHEAD:
        raise UnsupportedError(
            f"this machine's clock says {ours:%Y-%m-%d %H:%M} UTC, and that of {store.location} "
            f"{theirs:%Y-%m-%d %H:%M}: nothing is forgotten by a rule before the one that is wrong is set"
        )
    return ours, theirs


def store_time(store: BlobStore) -> datetime:
    """Return the time by the store's clock: the stamp of a blob that is written for this purpose and then removed.

    The blob is empty, so that it fits on a full disk.
    """
    key = f"{PROBES}{secrets.token_hex(8)}"
    store.put(key, b"")
    try:
        probes = {blob.key: blob.modified for blob in store.list(PROBES)}
    finally:
        store.delete(key)
    if key not in probes:
        raise StoreError(f"{store.location}: does not list {key}, which was just written; try again")
    for other, stamp in probes.items():
        if probes[key] - stamp > _LEFT_FOR:
            store.delete(other)
    return probes[key]
