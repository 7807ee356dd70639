"""Loads the index of an open repository, with the packs and frames that it must avoid."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from vmkeep.blobs import BlobStore, together
from vmkeep.repository.frames import Framer
from vmkeep.repository.index import Index
from vmkeep.repository.notes import DamageNotes, KnownDamage, SweepRecords


class LoadedIndex:
    """The index of one repository, which is loaded at its first use. Thread-safe.

    :param cache: folder of this machine for the repository's segments; ``None``: nothing is kept.
    :param fetched: blobs of segments that were fetched already, by key.
    """

    def __init__(
        self,
        store: BlobStore,
        framer: Framer,
        *,
        cache: Path | None,
        damage: DamageNotes,
        sweep_records: SweepRecords,
        fetched: Mapping[str, bytes] | None = None,
    ) -> None:
        self.held = Index(store, framer, cache=cache, fetched=fetched)
        """The index, which may not be loaded yet."""
        self._store = store
        self._framer = framer
        self._cache = cache
        self._damage = damage
        self._sweep_records = sweep_records
        self._loading = threading.Lock()
        self._is_loaded = False

    def get(self) -> Index:
        """Return the index. Only the first call loads it, and none waits for a refresh after that."""
        if not self._is_loaded:
            with self._loading:
                if not self._is_loaded:
                    self._load()
        return self.held

    def refresh(self) -> None:
        """Load what is new in the store."""
        with self._loading:
            self._load()

    def fresh(self) -> Index:
        """Return another index that is loaded anew, for callers that need its state as of now."""
        index = Index(self._store, self._framer, cache=self._cache)
        _load(index, *together(self._store, self._damage.load, self._sweep_records.avoided))
        return index

    def _load(self) -> None:
        reached = self.held.listed_until
        damage = partial(self._damage.load_new, reached=reached)
        _load(self.held, *together(self._store, damage, self._sweep_records.avoided))
        self._is_loaded = True


def _load(index: Index, damage: KnownDamage, condemned: frozenset[bytes]) -> None:
    """Refresh an index. Writers may look in it meanwhile.

    Until the segments are fresh, the packs of before are avoided, too. A pack that maintenance has deleted may be named
    by an old segment here, and by no record any more.
    """
    packs, frames = damage.whole_packs | condemned, damage.bad_frames
    old_packs, old_frames = index.avoided
    index.avoid(packs | old_packs, frames | old_frames)
    index.distrust(damage.segments)
    index.refresh()
    index.avoid(packs, frames)
