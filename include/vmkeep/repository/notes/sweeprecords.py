"""Sweep records: maintenance writes down the packs that it is about to delete before it deletes any.

    plans/<id>               condemned packs: writers do not count on them from now on
    sweeps/<id>/candidates   a sweep has begun; it may delete these packs
    sweeps/<id>/takes        the packs that it deletes; the process that creates this blob has decided
    sweeps/<id>/over         the sweep is over: all these packs are deleted

All are notes: JSON ``{"packs": "<ids in hex, one after another>"}``. ``takes`` can be created only once, so one process
can end another's sweep. A backup that cannot wait, or a later prune, puts an empty ``takes`` (a veto). If ``takes``
exists already, that decision stands, and any process can carry it out. This module decides nothing; see
:mod:`vmkeep.maintenance`.

No record changes after its put, and no id comes back. So a process reads each record once, and then only the listing.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from datetime import datetime

from vmkeep.blobs import BlobInfo, BlobStore, abreast, is_there
from vmkeep.errors import BlobNotFoundError, ConflictError, CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.repository.folders import PLANS, SWEEPS
from vmkeep.repository.frames import ID_SIZE, Framer, Kind

_CANDIDATES = "candidates"
_TAKES = "takes"
_OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """Condemned packs, which a later sweep may delete."""

    id: str
    packs: frozenset[bytes]
    """The ids of the packs. Empty also if the plan's blob is damaged, because such a plan condemns nothing."""
    written_at: datetime
    """The time when the plan was written, by the store's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep and its progress."""

    id: str
    candidates: frozenset[bytes]
    takes: frozenset[bytes] | None
    """The packs that the sweep deletes; ``None``: this is not decided yet."""
    over: bool
    over_at: datetime | None
    """The time when it was over, by the store's clock; ``None``: it is not over."""

    @property
    def off_limits(self) -> frozenset[bytes]:
        """Packs that this sweep has deleted, or may yet delete."""
        return self.candidates if self.takes is None else self.takes


class SweepRecords:
    """The plans and sweeps of one repository. Thread-safe."""

    def __init__(self, store: BlobStore, framer: Framer) -> None:
        self._store = store
        self._framer = framer
        self._lock = threading.Lock()
        self._read: dict[str, frozenset[bytes]] = {}
        """The packs of each record that was read before and is listed still, by the record's key."""

    def condemn(self, packs: Iterable[bytes]) -> str:
        """Write a plan and return its id. Writers that open from now on do not count on these packs."""
        plan = secrets.token_hex(ID_SIZE)
        self._put(f"{PLANS}{plan}", packs)
        return plan

    def plans(self) -> list[SweepPlan]:
        """Return all plans."""
        blobs = list(self._store.list(PLANS))
        self._keep_only(PLANS, {blob.key for blob in blobs})
        return [plan for plan in abreast(self._store, self._plan, blobs) if plan is not None]

    def _plan(self, blob: BlobInfo) -> SweepPlan | None:
        try:
            packs = self._load_listed(blob.key)
        except BlobNotFoundError:
            return None
        except CorruptError:
            packs = frozenset()
        return SweepPlan(id=blob.key.removeprefix(PLANS), packs=packs, written_at=blob.modified)

    def withdraw(self, plan: str) -> None:
        """Remove a plan."""
        self._store.delete(f"{PLANS}{plan}")

    def avoided(self) -> frozenset[bytes]:
        """Return all packs on which nobody should count. Records that cannot be read are skipped.

        Plans are read before sweeps, because a pack is in a sweep's list before it leaves a plan.
        """
        packs = [plan.packs for plan in self.plans()]
        return frozenset().union(*packs, *abreast(self._store, self._off_limits, sorted(self._stages().items())))

    def swept(self) -> frozenset[bytes]:
        """Return the packs of all sweeps that are over. Records that cannot be read are skipped.

        These packs are gone, unless the store locks them.
        """
        over = [(sweep, stages) for sweep, stages in self._stages().items() if _OVER in stages]
        return frozenset().union(*abreast(self._store, self._off_limits, over))

    def _off_limits(self, listed: tuple[str, Container[str]]) -> frozenset[bytes]:
        """Return the packs that a sweep deletes, or may yet delete; none, if its record is gone or cannot be read.

        :param listed: the sweep, and its stages as they are listed.
        """
        sweep, stages = listed
        for stage in (_TAKES, _CANDIDATES):
            key = f"{SWEEPS}{sweep}/{stage}"
            with suppress(BlobNotFoundError, CorruptError):
                return self._load_listed(key) if stage in stages else self._load(key)
        return frozenset()

    def begin_sweep(self, candidates: Iterable[bytes]) -> str:
        """Record that a sweep begins, and return its id. Find the reached packs only after this."""
        sweep = secrets.token_hex(ID_SIZE)
        self._put(f"{SWEEPS}{sweep}/{_CANDIDATES}", candidates)
        return sweep

    def decide(self, sweep: str, takes: Iterable[bytes]) -> frozenset[bytes]:
        """Record which packs a sweep deletes, unless that is decided already; return the packs of the decision.

        A sweep whose record was removed may delete nothing more. Other processes ended it long ago, and a process that
        stood still since then does not know which points were sealed meanwhile.

        :param takes: the packs to delete; empty: a veto.
        """
        key = f"{SWEEPS}{sweep}/{_TAKES}"
        decided = frozenset(takes)
        try:
            self._put(key, decided)
            ours = True
        except ConflictError:
            try:
                decided, ours = self._load(key), False
            except BlobNotFoundError:
                return frozenset()
        if self._stands(sweep):
            return decided
        if ours:
            self._store.delete(key)
        return frozenset()

    def _stands(self, sweep: str) -> bool:
        """Return whether a sweep's record still stands, by its candidates, which are put first and deleted first."""
        return is_there(self._store, f"{SWEEPS}{sweep}/{_CANDIDATES}")

    def finish_sweep(self, sweep: str) -> None:
        """Record that a sweep is over: all packs that it decided to delete are deleted."""
        self._put(f"{SWEEPS}{sweep}/{_OVER}", (), may_exist=True)

    def forget_sweep(self, sweep: str) -> None:
        """Remove a sweep's record. The blob that was written first is removed first."""
        for stage in (_CANDIDATES, _TAKES, _OVER):
            self._store.delete(f"{SWEEPS}{sweep}/{stage}")

    def over(self) -> dict[str, bool]:
        """Return whether each sweep is over, by its id. Reads only the names of blobs."""
        return {sweep: _OVER in stages for sweep, stages in self._stages().items()}

    def sweeps(self) -> list[Sweep]:
        """Return all sweeps.

        :raises CorruptError: the record of a sweep cannot be read, so that it is not known what it may delete.
        """
        found = abreast(self._store, self._sweep, self._stages().items())
        return [sweep for sweep in found if sweep is not None]

    def _sweep(self, listed: tuple[str, Mapping[str, datetime]]) -> Sweep | None:
        sweep, stages = listed
        if not stages.keys() & {_CANDIDATES, _OVER} and not self._stands(sweep):
            return None  # a process that stood still has decided for a record that was removed long ago; ignore it
        takes = self._load_stage(sweep, _TAKES, stages)
        candidates = self._load_stage(sweep, _CANDIDATES, stages) if takes is None else frozenset[bytes]()
        return Sweep(
            id=sweep,
            candidates=candidates or frozenset(),
            takes=takes,
            over=_OVER in stages,
            over_at=stages.get(_OVER),
        )

    def _stages(self) -> dict[str, dict[str, datetime]]:
        stages: dict[str, dict[str, datetime]] = {}
        blobs = list(self._store.list(SWEEPS))
        self._keep_only(SWEEPS, {blob.key for blob in blobs})
        for blob in blobs:
            sweep, _, stage = blob.key.removeprefix(SWEEPS).partition("/")
            stages.setdefault(sweep, {})[stage] = blob.modified
        return stages

    def _load_stage(self, sweep: str, stage: str, listed: Container[str]) -> frozenset[bytes] | None:
        key = f"{SWEEPS}{sweep}/{stage}"
        try:
            return self._load_listed(key) if stage in listed else self._load(key)
        except BlobNotFoundError:
            return None
        except CorruptError as error:
            raise CorruptError(
                f"{key} is damaged ({error}), so it is not known what that sweep may delete: once no "
                "'vmkeep repo prune' runs any more, delete that blob"
            ) from error

    def _put(self, key: str, packs: Iterable[bytes], *, may_exist: bool = False) -> None:
        content = json.dumps({"packs": b"".join(sorted(packs)).hex()}, separators=(",", ":")).encode()
        try:
            self._store.put(key, self._framer.wrap(Kind.NOTE, content, name=key))
        except ConflictError:  # the blob exists; encryption gives it other bytes each time
            if not may_exist:
                raise

    def _keep_only(self, prefix: str, listed: Container[str]) -> None:
        with self._lock:
            gone = [key for key in self._read if key.startswith(prefix) and key not in listed]
            for key in gone:
                del self._read[key]

    def _load_listed(self, key: str) -> frozenset[bytes]:
        """Return the packs of a record that has just been listed."""
        if (packs := self._read.get(key)) is None:
            packs = self._load(key)
            with self._lock:
                self._read[key] = packs
        return packs

    def _load(self, key: str) -> frozenset[bytes]:
        content = self._framer.unwrap(Kind.NOTE, self._store.get(key), name=key)
        try:
            ids = bytes.fromhex(json.loads(bytes(content))["packs"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptError(f"does not parse: {error}") from error
        if len(ids) % ID_SIZE:
            raise CorruptError("does not list whole pack ids")
        return frozenset(ids[at : at + ID_SIZE] for at in range(0, len(ids), ID_SIZE))
