"""The store's time. Ages are differences between two stamps of its clock; ours is never compared with it."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from vmkeep.blobs import BlobStore
from vmkeep.errors import StoreError

_PROBES = "probes/"
_LEFT_FOR = timedelta(hours=1)
"""Age from which on a probe is a leftover: nobody needs a minute to look at his own."""


def store_time(store: BlobStore) -> datetime:
    """Return the time by the store's clock: the stamp of a blob that is written for it, and removed.

    It is empty, so that a full disk has room for it.
    """
    key = f"{_PROBES}{secrets.token_hex(8)}"
    store.put(key, b"")
    try:
        probes = {blob.key: blob.modified for blob in store.list(_PROBES)}
    finally:
        store.delete(key)
    if key not in probes:
        raise StoreError(f"{store.location}: does not list {key}, which was just written; try again")
    for other, stamp in probes.items():
        if probes[key] - stamp > _LEFT_FOR:
            store.delete(other)
    return probes[key]
