"""Tries of runs: each says when it began, in a blob of its own, before it looks anything up.

    runs/<run>/tries/<try>/begun   the sweeps that were over when the try began: JSON ``{"over": [ids]}``

Several processes may work under one name: two tries of a run, or two copies of one point. So a try's blob has a
random name: nobody writes it twice, and nobody takes it for another's. Anyone may remove it at any time, because its
absence only makes others more careful: a seal walks (:mod:`vmkeep.repository.sealing.handshake`), and a writer gives
up. While it stands, the record of every sweep that the try does not know to be over is kept. Decision 0013 has the
reasoning.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from vmkeep.blobs import BlobStore, is_there
from vmkeep.errors import BlobNotFoundError, CorruptError, StaleError, VmKeepError
from vmkeep.repository.folders import RUNS
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.notes.plans import Plans
from vmkeep.repository.notes.runs import BEGUN, TRIES, RunArea
from vmkeep.repository.points import safe_name


def begin(store: BlobStore, framer: Framer, run: str) -> str:
    """Say that a try of a run begins; return its id, which travels with all that is found and stored for the run."""
    begun = secrets.token_hex(8)
    key = _key(run, begun)
    over = sorted(sweep for sweep, is_over in Plans(store, framer).over().items() if is_over)
    store.put(key, framer.wrap(Kind.NOTE, json.dumps({"over": over}).encode(), name=key))
    return begun


def end(store: BlobStore, run: str, begun: str) -> None:
    """Say that a try is over: it holds off no sweep any more."""
    with suppress(VmKeepError):  # else it goes with the run's area
        store.delete(_key(run, begun))


def stands(store: BlobStore, run: str, begun: str) -> bool:
    """Return whether a try's blob is there."""
    return is_there(store, _key(run, begun))


@contextmanager
def at_work(store: BlobStore, framer: Framer, run: str) -> Iterator[str]:
    """Begin a try that one process carries out alone, and give a sign of life until the context is left.

    What it leaves then is nothing, and it removes nothing else: others may be at work under the same name.
    """
    lease = RunArea(store, framer, run).open_lease(f"try-{secrets.token_hex(8)}", removed=True)
    with lease:  # first: no clean-up takes the area of a run that shows signs of life
        begun = begin(store, framer, run)
        try:
            yield begun
        except BaseException:
            end(store, run, begun)
            raise
        store.delete(_key(run, begun))


def over_at_begin(store: BlobStore, framer: Framer, key: str) -> frozenset[str] | None:
    """Return the sweeps that were over when a try began, by its blob; ``None``: it is gone, or cannot be read."""
    try:
        return frozenset(str(sweep) for sweep in note_fields(store, framer, key).get("over", ()))
    except (BlobNotFoundError, CorruptError):
        return None


def knows_all(store: BlobStore, framer: Framer, run: str, begun: str, sweeps: Collection[str]) -> bool:
    """Return whether all these sweeps were over when a try began, as far as the try knows.

    Call it with sweeps that were listed before: one whose record was forgotten by then shows in the try's blob, which
    is gone too.
    """
    over = over_at_begin(store, framer, _key(run, begun))
    return over is not None and frozenset(sweeps) <= over


def begun_keys(store: BlobStore) -> list[str]:
    """Return the keys by which all tries in the repository said that they began.

    Those of programs that had one for all tries of a run, ``runs/<run>/begun``, are among them.
    """
    return [blob.key for blob in store.list(RUNS) if blob.key.endswith(f"/{BEGUN}")]


class Footing:
    """The try under which a writer stores; it says when it began."""

    def __init__(self, store: BlobStore, framer: Framer, run: str, begun: str | None) -> None:
        """Take a try, or begin one of one's own where there is none, or it was removed."""
        self._store = store
        self._plans = Plans(store, framer)
        self._run = run
        self.begun = begun if begun is not None and stands(store, run, begun) else begin(store, framer, run)
        """The try's id."""

    def require(self, packs: Collection[bytes]) -> None:
        """Return if the index may name some packs that were stored since; call it when it does.

        :raises StaleError: the try was removed meanwhile, and the record of a sweep that took them may be forgotten.
        """
        if not stands(self._store, self._run, self.begun):
            self._plans.condemn(packs)  # so that nobody counts on them
            raise StaleError(
                f"run {self._run} gave no sign of life for too long, and maintenance may have taken what it had "
                "stored: start the run again"
            )


def note_fields(store: BlobStore, framer: Framer, key: str) -> dict[str, Any]:
    """Return the content of a note over JSON.

    :raises BlobNotFoundError: there is none.
    :raises CorruptError: it cannot be read.
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
