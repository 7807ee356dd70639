"""The handshake between sealing a restore point and sweeping packs. Neither waits, and at least one sees the other.

    runs/<run>/sealing/<vm>/<random>  the roots of a point that is about to be sealed: JSON ``{"roots": [hex]}``

Before a try looks anything up, it records that it begins (:mod:`vmkeep.repository.notes.tries`). The sealer puts its
intent first and then looks for sweeps. The sweep puts its record first, then looks for intents, and then for manifests.
So either the sweep keeps the packs that the point needs, or the sealer knows of the sweep. If every sweep that the
sealer finds was over when the try began, everything that the try found is still there. If not, or if it is not known
when the try began, the sealer walks the whole new point: each page and block has to be in a pack that is there and that
no sweep deletes. Decisions 0008 and 0013 have the reasoning.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from vmkeep.blobs import BlobStore, abreast, confirm_lists, is_there
from vmkeep.errors import BlobNotFoundError, CorruptError, StaleError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import counted
from vmkeep.repository.blocks import BlockReader
from vmkeep.repository.folders import RUNS
from vmkeep.repository.frames import DIGEST_SIZE, ZERO, Framer, Kind, pack_key
from vmkeep.repository.index import Index, Location
from vmkeep.repository.maps import FAN_OUT, PAGE_SIZE, ROOT_SIZE, parse_root
from vmkeep.repository.notes import SEALING, SweepRecords, note_fields, tries
from vmkeep.repository.points import safe_name

_PAGES = 256
"""Number of pages that a walk reads together."""
_WALKS = 3
"""Number of walks over a point before the seal gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The roots of a point that a process is about to seal."""

    key: str
    roots: tuple[str, ...]


def intents(store: BlobStore, framer: Framer) -> Iterator[Intent]:
    """Yield the intents of all points that are about to be sealed. A sweep calls this before it lists manifests.

    :raises CorruptError: an intent cannot be read.
    """
    for blob in list(store.list(RUNS)):
        if f"/{SEALING}" not in blob.key:
            continue
        try:
            roots = note_fields(store, framer, blob.key).get("roots", ())
        except BlobNotFoundError:
            continue  # the point was sealed meanwhile, or its seal was given up
        except CorruptError as error:
            run = blob.key.removeprefix(RUNS).partition("/")[0]
            raise CorruptError(
                f"run {run}: {blob.key} is damaged ({error}); once that run is over, delete it"
            ) from error
        yield Intent(key=blob.key, roots=tuple(str(root) for root in roots))


class StandingIntent:
    """The intent of a point that is being sealed."""

    def __init__(self, store: BlobStore, key: str) -> None:
        self._store = store
        self._key = key

    @property
    def stands(self) -> bool:
        """Return whether the intent is still there. If so, every sweep that began after it was put has seen it."""
        return is_there(self._store, self._key)


@contextmanager
def intent(store: BlobStore, framer: Framer, run: str, vm_key: str, roots: Iterable[str]) -> Iterator[StandingIntent]:
    """Put the intent to seal a point, and remove it when the context is left.

    If the process dies, the intent stays. Until the run's area is removed, sweeps then keep the blocks of the point.
    Each intent has a random name, so that two tries of one step do not remove each other's.
    """
    key = f"{RUNS}{safe_name(run)}/{SEALING}{safe_name(vm_key)}/{secrets.token_hex(8)}"
    store.put(key, framer.wrap(Kind.NOTE, json.dumps({"roots": list(roots)}).encode(), name=key))
    try:
        yield StandingIntent(store, key)
    finally:
        with suppress(VmKeepError):  # an intent that stays only makes sweeps keep more than is needed, for a while
            store.delete(key)


def is_unswept(store: BlobStore, framer: Framer, run: str, begun: str | None) -> bool:
    """Return whether everything that a try found is certainly still there, by the records of sweeps alone.

    :param begun: the try's id; ``None``: it is not known.
    """
    if begun is None:
        return False
    confirm_lists(store)  # a sweep that is missing in a list looks like none, and the point would be sealed
    sweeps = SweepRecords(store, framer).over().keys()  # list them before the call; see knows_all
    return tries.knows_all(store, framer, run, begun, sweeps)


def walk(store: BlobStore, framer: Framer, roots: Sequence[str], load: Callable[[], Index]) -> None:
    """Return if all pages and blocks of a point are there and safe from every sweep. Call this while its intent stands.

    If the walk fails, it is tried again with the index loaded anew. A sweep that began after the first loading may
    delete one of two copies of a block, and the other copy is as good.

    :param load: returns the index as it is now.
    :raises StaleError: a page or block is gone or about to be deleted; the run has to start again.
    """
    confirm_lists(store)
    for _ in range(_WALKS - 1):
        with suppress(StaleError):
            return _Walk(store, framer, SweepRecords(store, framer), load()).require(roots)
    return _Walk(store, framer, SweepRecords(store, framer), load()).require(roots)


class _Walk:
    """A walk over all pages and blocks of a point, with one state of the index."""

    def __init__(self, store: BlobStore, framer: Framer, sweep_records: SweepRecords, index: Index) -> None:
        self._store = store
        self._sweep_records = sweep_records
        sweeps = sweep_records.sweeps()
        self._sweeps = {sweep.id: sweep.off_limits for sweep in sweeps}
        self._undecided = {sweep.id for sweep in sweeps if sweep.takes is None}
        self._index = index
        self._blocks = BlockReader(store, framer, index)
        self._packs: set[bytes] = set()
        self._there: set[bytes] = set()
        self._seen: set[bytes] = set()

    def require(self, roots: Sequence[str]) -> None:
        """Walk from the roots and require that every pack on the way exists. Check a page's pack before reading it."""
        for root in roots:
            digest = bytes.fromhex(root)
            self._require([digest])
            self._see_packs()
            shape, top = parse_root(self._blocks.get_pages([digest], size=ROOT_SIZE)[digest])
            self._descend([top] if top != ZERO else [], shape.levels)
        self._see_packs()

    def _see_packs(self) -> None:
        """Require that every pack found so far exists."""
        if not self._packs:
            return
        lost = frozenset(pack for pack in abreast(self._store, self._lost, self._packs) if pack is not None)
        if lost:
            # If they were not condemned, the next try would find the same entries of the index, and fail again.
            self._sweep_records.condemn(lost)
            raise _stale(f"{counted(len(lost), 'pack')} gone, {next(iter(lost)).hex()} among them")
        self._there |= self._packs
        self._packs = set()

    def _descend(self, digests: list[bytes], level: int) -> None:
        fresh = [digest for digest in dict.fromkeys(digests) if digest not in self._seen]
        self._require(fresh)
        if not level:
            return
        self._see_packs()
        self._seen.update(fresh)
        for at in range(0, len(fresh), _PAGES):
            pages = self._blocks.get_pages(fresh[at : at + _PAGES], size=PAGE_SIZE)
            children = (page[row * DIGEST_SIZE : (row + 1) * DIGEST_SIZE] for page in pages.values() for row in _ROWS)
            self._descend([child for child in children if child != ZERO], level - 1)

    def _require(self, digests: list[bytes]) -> None:
        for digest, location in zip(digests, self._index.find_many(digests), strict=True):
            if location is None:
                raise _stale(f"{digest.hex()[:16]}… is not in the index")
            if (pack := self._safe(location)) not in self._there:
                self._packs.add(pack)

    def _safe(self, location: Location) -> bytes:
        """Return a place's pack if no sweep deletes it. Decide an undecided sweep now, so that it deletes nothing."""
        for sweep, packs in self._sweeps.items():
            if location.pack in packs and sweep in self._undecided:
                self._sweeps[sweep] = self._sweep_records.decide(sweep, ())
                self._undecided.discard(sweep)
            if location.pack in self._sweeps[sweep]:
                raise _stale(f"pack {location.pack.hex()} is being deleted")
        return location.pack

    def _lost(self, pack: bytes) -> bytes | None:
        return None if is_there(self._store, pack_key(pack)) else pack


_ROWS = range(FAN_OUT)


def _stale(why: str) -> StaleError:
    return StaleError(
        f"maintenance deleted data that this run had found: {why}; nothing is sealed: start the run again"
    )
