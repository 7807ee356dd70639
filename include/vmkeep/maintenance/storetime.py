"""The store's time. Ages are differences between two stamps of its clock; nothing is safe because ours agrees with it.

Only rules that people make go by our own clock: how long points are kept, and when a pin ends.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from vmkeep.blobs import BlobStore
from vmkeep.clock import now
from vmkeep.errors import StoreError, UnsupportedError
from vmkeep.repository.folders import PROBES

_AHEAD = timedelta(days=1)
"""Clocks that differ by less are told apart by nobody's retention."""
_LEFT_FOR = timedelta(hours=1)
"""Age from which on a probe is a leftover: nobody needs a minute to look at his own."""


def time_for_rules(store: BlobStore) -> datetime:
    """Return the time by which retention rules and the ends of pins go: this machine's.

    :raises UnsupportedError: it is days ahead of the store's: points and pins would end before their time.
    """
    ours, theirs = now(), store_time(store)
    if ours - theirs > _AHEAD:
        raise UnsupportedError(
            f"this machine's clock says {ours:%Y-%m-%d %H:%M} UTC, and that of {store.location} "
            f"{theirs:%Y-%m-%d %H:%M}: nothing is forgotten by a rule before the one that is wrong is set"
        )
    return ours


def store_time(store: BlobStore) -> datetime:
    """Return the time by the store's clock: the stamp of a blob that is written for it, and removed.

    It is empty, so that a full disk has room for it.
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
