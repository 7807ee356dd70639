"""Finds the limits of a repository for which somebody asked, in whatever process, and the work that holds them."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime

from vmkeep.blobs import BlobStore
from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.model.limits import Limit, Usage
from vmkeep.repository.folders import RUNS
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.notes.permitarea import PREFIX
from vmkeep.repository.notes.permits import Permits


def usages(store: BlobStore, framer: Framer) -> list[Usage]:
    """Return the use of every limit for which somebody asked not long ago, by name."""
    limits = _limits(store, framer).values()
    return sorted((Permits(store, framer, limit).usage() for limit in limits), key=lambda use: use.limit.name)


def areas_in_use(store: BlobStore, framer: Framer, at: datetime) -> frozenset[str]:
    """Return the names of the areas whose permits somebody holds who may still be at work.

    :param at: now, by the store's clock.
    """
    limits = _limits(store, framer).items()
    return frozenset(area for area, limit in limits if Permits(store, framer, limit).is_held(at))


def _limits(store: BlobStore, framer: Framer) -> dict[str, Limit]:
    """Return the limits for which somebody asked, by the names of their areas."""
    found: dict[str, tuple[tuple[bool, datetime], Limit]] = {}
    for blob in store.list(RUNS):
        folder, _, rest = blob.key.removeprefix(RUNS).partition("/")
        if folder.startswith(PREFIX) and rest.startswith(("slots/", "waiting/")):
            with suppress(BlobNotFoundError, CorruptError, ValueError, KeyError, TypeError):
                fields = json.loads(bytes(framer.unwrap(Kind.NOTE, store.get(blob.key), name=blob.key)))
                told = (not fields.get("over"), blob.modified), Limit(**fields["limit"])
                # Who asked last, and holds it or waits for it, has the number that an administrator has set since.
                found[folder] = max(found.get(folder, told), told, key=lambda pair: pair[0])
    return {area: limit for area, (_, limit) in found.items()}
