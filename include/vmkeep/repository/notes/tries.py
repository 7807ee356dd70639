"""Tries of runs. Before a try looks anything up, it puts a blob that says when it began.

    runs/<run>/tries/<try>/begun   the sweeps that were over when the try began: JSON ``{"over": [ids]}``

Several processes may work under one name: two tries of a run, or two copies of one point. So a try's blob has a random
name, and no process takes it for its own by mistake. Any process may remove it at any time, because without it others
only take more care: a seal walks the whole map (:mod:`vmkeep.repository.sealing.handshake`), and a writer gives up.
While the blob stands, maintenance keeps the record of every sweep that was not over when the try began. Decision 0013
has the reasoning.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Container, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from vmkeep.blobs import BlobStore, is_there
from vmkeep.errors import BlobNotFoundError, CorruptError, StaleError, VmKeepError
from vmkeep.repository.folders import RUNS
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.notes.runs import BEGUN, TRIES, RunArea
from vmkeep.repository.notes.sweeprecords import SweepRecords
from vmkeep.repository.points import safe_name


def begin(store: BlobStore, framer: Framer, run: str) -> str:
    """Record that a try of a run begins; return its id. Each step of the try passes the id on to the next."""
    begun = secrets.token_hex(8)
    key = _key(run, begun)
    over = sorted(sweep for sweep, is_over in SweepRecords(store, framer).over().items() if is_over)
    store.put(key, framer.wrap(Kind.NOTE, json.dumps({"over": over}).encode(), name=key))
    return begun


def end(store: BlobStore, run: str, begun: str) -> bool:
    """Remove a try's blob, because the try is over, and return whether it is gone.

    Maintenance need not keep sweep records for the try any more.
    """
    with suppress(VmKeepError):  # a blob that stays is removed with the run's area
        store.delete(_key(run, begun))
        return True
    return False


def is_standing(store: BlobStore, run: str, begun: str) -> bool:
    """Return whether a try's blob is there."""
    return is_there(store, _key(run, begun))


@contextmanager
def at_work(store: BlobStore, framer: Framer, run: str, *, ended: Container[str] = ()) -> Iterator[str]:
    """Begin a try that one process carries out alone, and hold a lease until the context is left.

    At the end, remove the try's blob and the lease. Remove nothing else, because other processes may be at work under
    the same name.

    :param ended: the ids of tries whose blob the caller has removed meanwhile.
    """
    lease = RunArea(store, framer, run).open_lease(f"try-{secrets.token_hex(8)}", removed=True)
    with lease:  # first the lease, because no clean-up removes the area of a run that shows signs of life
        begun = begin(store, framer, run)
        try:
            yield begun
        except BaseException:
            end(store, run, begun)
            raise
        if begun not in ended:
            store.delete(_key(run, begun))


def over_at_begin(store: BlobStore, framer: Framer, key: str) -> frozenset[str] | None:
    """Return the sweeps that were over when a try began; ``None``: its blob is gone or cannot be read.

    :param key: the key of the try's blob.
    """
    try:
        return frozenset(str(sweep) for sweep in note_fields(store, framer, key).get("over", ()))
    except (BlobNotFoundError, CorruptError):
        return None


def knows_all(store: BlobStore, framer: Framer, run: str, begun: str, sweeps: Collection[str]) -> bool:
    """Return whether all these sweeps were over when a try began, according to the try's blob.

    :param sweeps: the ids of all sweeps, listed before this call. If a sweep's record was removed before the listing,
        the try's blob was removed even earlier, and the answer is no.
    """
    over = over_at_begin(store, framer, _key(run, begun))
    return over is not None and frozenset(sweeps) <= over


def begun_keys(store: BlobStore) -> list[str]:
    """Return the keys of the blobs of all tries in the repository.

    Earlier programs had one blob for all tries of a run, ``runs/<run>/begun``. Those keys are included.
    """
    return [blob.key for blob in store.list(RUNS) if blob.key.endswith(f"/{BEGUN}")]


class BegunTry:
    """The try under which a writer stores. Its blob says which sweeps were over when it began."""

    def __init__(self, store: BlobStore, framer: Framer, run: str, begun: str | None, *, stands: bool = False) -> None:
        """Continue a try; begin a new one if there is none or it was removed.

        :param begun: the id of the try to continue.
        :param stands: this process has just put the try's blob, so that nobody need look for it.
        """
        self._store = store
        self._sweep_records = SweepRecords(store, framer)
        self._run = run
        if begun is None or not (stands or is_standing(store, run, begun)):
            begun = begin(store, framer, run)
        self.id = begun
        """The try's id."""

    def require(self, packs: Collection[bytes]) -> None:
        """Return if the try still stands, so that the index may name packs stored under it. Call it once it does.

        :raises StaleError: the try was removed. The record of a sweep that took these packs may be gone with it.
        """
        if not is_standing(self._store, self._run, self.id):
            self._sweep_records.condemn(packs)  # so that no other writer counts on them
            raise StaleError(
                f"run {self._run} gave no sign of life for too long, and maintenance may have deleted data that it had "
                "stored: start the run again"
            )


def note_fields(store: BlobStore, framer: Framer, key: str) -> dict[str, Any]:
    """Return the fields of a note that holds JSON.

    :raises BlobNotFoundError: there is no such note.
    :raises CorruptError: the note cannot be read.
    """
    try:
        fields = json.loads(bytes(framer.unwrap(Kind.NOTE, store.get(key), name=key)))
    except ValueError as error:
        raise CorruptError(f"does not parse: {error}") from error
    if not isinstance(fields, dict):
        raise CorruptError("does not parse")
    return fields


def _key(run: str, begun: str) -> str:
    return f"{RUNS}{safe_name(run)}/{TRIES}{begun}/{BEGUN}"
