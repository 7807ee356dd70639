"""Announcements: a writer tells other writers which blocks it is storing, so that they need not store them, too.

    storing/<writer>/<random>   for a pack, from before it is put until the index names it

The content is a note over the first 8 bytes of each digest in the pack. Nothing rests on an announcement: who reads one
may wait a little for that pack, and then looks into the index. So a writer that died does no harm by what it left here.
An announcement counts for ten minutes by the store's clock, and a prune removes those that are older.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from vmkeep.blobs import BlobInfo, BlobStore, abreast
from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.repository.folders import STORING
from vmkeep.repository.frames import DIGEST_SIZE, Framer, Kind

COUNTS_FOR: Final = timedelta(minutes=10)
"""Time for which an announcement counts. A pack that takes longer to be named is not waited for."""
NEWEST: Final = 32
"""Announcements of others that a writer looks at. Where more stand, the older ones are not waited for."""
_PREFIX = 8
"""Bytes of a digest that are announced. Two digests that share them cost a wait, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A pack that another writer is storing, or has stored without naming it in the index yet."""

    key: str
    prefixes: frozenset[bytes]

    @property
    def writer(self) -> str:
        """The writer's id."""
        return self.key.removeprefix(STORING).partition("/")[0]


def prefixes_of(digests: bytes) -> frozenset[bytes]:
    """Return what is announced of some digests, which are given one after another."""
    return frozenset(digests[at : at + _PREFIX] for at in range(0, len(digests), DIGEST_SIZE))


class Announcements:
    """The announcements of one writer, and its view of those of others. Thread-safe."""

    def __init__(self, store: BlobStore, framer: Framer) -> None:
        self._store = store
        self._framer = framer
        self._own = f"{STORING}{secrets.token_hex(8)}/"
        self._standing: dict[bytes, str] = {}
        self._read: dict[str, frozenset[bytes]] = {}

    def announce(self, pack_id: bytes, prefixes: frozenset[bytes]) -> str:
        """Tell others that this writer is about to store a pack. Return the announcement's blob key.

        The name is drawn anew each time, because a pack that was withdrawn may come again with other blocks.
        """
        key = self._standing[pack_id] = f"{self._own}{secrets.token_hex(8)}"
        self._store.put(key, self._framer.wrap(Kind.NOTE, b"".join(sorted(prefixes)), name=key))
        return key

    @property
    def standing(self) -> list[bytes]:
        """The packs that this writer has announced and not withdrawn."""
        return list(self._standing)

    def withdraw(self, packs: Iterable[bytes]) -> None:
        """Remove this writer's announcements of some packs. Call it once the index names them, or they are given up."""
        for pack_id in packs:
            if (key := self._standing.pop(pack_id, None)) is not None:
                self._store.delete(key)

    def listed(self) -> list[BlobInfo]:
        """Return the announcements of all writers, as listed."""
        return list(self._store.list(STORING))

    def others(self, listed: Iterable[BlobInfo]) -> list[Announcement]:
        """Return the newest announcements of other writers that count, out of a listing. Each is read once.

        Ages are differences to this writer's youngest one, or else to the youngest one that is listed. So one that
        bears a time of the future, because the store's clock was wrong, hides no other from a writer that has its own.
        """
        blobs = sorted(listed, key=lambda blob: (blob.modified, blob.key), reverse=True)
        theirs = [blob for blob in blobs if not blob.key.startswith(self._own)]
        youngest = next((blob for blob in blobs if blob.key.startswith(self._own)), blobs[0] if blobs else None)
        counting = [blob.key for blob in theirs if youngest and abs(youngest.modified - blob.modified) < COUNTS_FOR]
        counting = counting[:NEWEST]
        before = self._read
        new = [key for key in counting if key not in before]
        loaded = dict(zip(new, abreast(self._store, self._load, new), strict=True))
        read = self._read = {key: loaded[key] if key in loaded else before[key] for key in counting}
        return [Announcement(key=key, prefixes=prefixes) for key, prefixes in read.items()]

    def _load(self, key: str) -> frozenset[bytes]:
        """Return what an announcement says; nothing if it is gone or cannot be read."""
        try:
            content = bytes(self._framer.unwrap(Kind.NOTE, self._store.get(key), name=key))
        except (BlobNotFoundError, CorruptError):
            return frozenset()
        return frozenset(content[at : at + _PREFIX] for at in range(0, len(content), _PREFIX))


def remove_dead_announcements(store: BlobStore, *, time: datetime) -> None:
    """Remove the announcements that do not count any more.

    :param time: now, by the store's clock.
    """
    for blob in list(store.list(STORING)):
        if abs(time - blob.modified) >= 2 * COUNTS_FOR:  # also of the future, which comes from a wrong clock
            store.delete(blob.key)
