"""Finds the limits of a repository for which somebody asked, in whatever process, and the work that holds them."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime

from vmkeep.blobs import BlobInfo, BlobStore, abreast
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
    notes: dict[str, list[BlobInfo]] = {}
    for blob in store.list(RUNS):
        folder, _, rest = blob.key.removeprefix(RUNS).partition("/")
        if folder.startswith(PREFIX) and rest.startswith(("slots/", "waiting/")):
            notes.setdefault(folder, []).append(blob)
    told = abreast(store, lambda blobs: _told_last(store, framer, blobs), notes.values())
    return {area: limit for area, limit in zip(notes, told, strict=True) if limit is not None}


def _told_last(store: BlobStore, framer: Framer, notes: list[BlobInfo]) -> Limit | None:
    """Return the limit that the newest note of an area tells, of those that are not over if there are any.

    Who asked last, and holds it or waits for it, has the number that an administrator has set since. So the notes are
    read from the newest, and of a long queue one is read.
    """
    over = None
    for blob in sorted(notes, key=lambda note: note.modified, reverse=True):
        with suppress(BlobNotFoundError, CorruptError, ValueError, KeyError, TypeError):
            fields = json.loads(bytes(framer.unwrap(Kind.NOTE, store.get(blob.key), name=blob.key)))
            limit = Limit(**fields["limit"])
            if not fields.get("over"):
                return limit
            over = over or limit
    return over
