"""Plans and sweeps: maintenance writes down the packs that it is about to delete before it deletes any.

    plans/<id>               packs that are condemned: writers do not count on them from now on
    sweeps/<id>/candidates   a sweep has begun; it may take these packs
    sweeps/<id>/takes        what it takes, decided once and for all: whoever creates this blob has decided
    sweeps/<id>/over         every one of them is deleted

All are notes: JSON ``{"packs": "<ids in hex, one after another>"}``. ``takes`` can be created only once, so one
process can end another's sweep: a backup that cannot wait, or a later prune, puts a ``takes`` that takes nothing (a
veto). Or it finds the decision that stands, and can finish it. This module decides nothing; see
:mod:`vmkeep.maintenance`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from vmkeep.blobs import BlobStore, is_there
from vmkeep.errors import BlobNotFoundError, ConflictError, CorruptError
from vmkeep.repository.folders import PLANS, SWEEPS
from vmkeep.repository.frames import ID_SIZE, Framer, Kind

_CANDIDATES = "candidates"
_TAKES = "takes"
_OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Condemned packs."""

    id: str
    packs: frozenset[bytes]
    """Empty also where the plan's blob is damaged: such a plan condemns nothing."""
    written_at: datetime
    """By the store's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep and its progress."""

    id: str
    candidates: frozenset[bytes]
    takes: frozenset[bytes] | None
    """``None``: not decided yet."""
    over: bool
    over_at: datetime | None
    """By the store's clock."""

    @property
    def off_limits(self) -> frozenset[bytes]:
        """Packs that this sweep has deleted, or may yet delete."""
        return self.candidates if self.takes is None else self.takes


class Plans:
    """The plans and sweeps of one repository. Thread-safe."""

    def __init__(self, store: BlobStore, framer: Framer) -> None:
        self._store = store
        self._framer = framer

    def condemn(self, packs: Iterable[bytes]) -> str:
        """Write a plan and return its id: writers that open from now on do not count on these packs."""
        plan = secrets.token_hex(ID_SIZE)
        self._put(f"{PLANS}{plan}", packs)
        return plan

    def plans(self) -> list[Plan]:
        """Return all plans."""
        found = []
        for blob in self._store.list(PLANS):
            try:
                packs = self._load(blob.key)
            except BlobNotFoundError:
                continue
            except CorruptError:
                packs = frozenset()
            found.append(Plan(id=blob.key.removeprefix(PLANS), packs=packs, written_at=blob.modified))
        return found

    def withdraw(self, plan: str) -> None:
        """Remove a plan."""
        self._store.delete(f"{PLANS}{plan}")

    def avoided(self) -> frozenset[bytes]:
        """Return all packs that nobody should count on, except those of records that cannot be read.

        Plans are read before sweeps, because a pack that leaves a plan is in a sweep's list by then.
        """
        packs = [plan.packs for plan in self.plans()]
        for sweep in sorted(self._stages()):
            for stage in (_TAKES, _CANDIDATES):
                try:
                    packs.append(self._load(f"{SWEEPS}{sweep}/{stage}"))
                    break
                except (BlobNotFoundError, CorruptError):
                    continue
        return frozenset().union(*packs)

    def begin_sweep(self, candidates: Iterable[bytes]) -> str:
        """Write that a sweep begins, and return its id: only after that may it look at what is reached."""
        sweep = secrets.token_hex(ID_SIZE)
        self._put(f"{SWEEPS}{sweep}/{_CANDIDATES}", candidates)
        return sweep

    def decide(self, sweep: str, takes: Iterable[bytes]) -> frozenset[bytes]:
        """Write what a sweep takes, unless that is decided already; return what was decided.

        A sweep whose record was forgotten takes nothing more. Others ended it long ago, and a process that stood still
        since then does not know which points were sealed meanwhile.

        :param takes: nothing: a veto.
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
        """Return whether a sweep's record still stands: its candidates are put first and deleted first."""
        return is_there(self._store, f"{SWEEPS}{sweep}/{_CANDIDATES}")

    def finish_sweep(self, sweep: str) -> None:
        """Write that all a sweep takes is deleted."""
        self._put(f"{SWEEPS}{sweep}/{_OVER}", (), may_exist=True)

    def forget_sweep(self, sweep: str) -> None:
        """Remove every trace of a sweep; the blob that it wrote last is removed last."""
        for stage in (_CANDIDATES, _TAKES, _OVER):
            self._store.delete(f"{SWEEPS}{sweep}/{stage}")

    def over(self) -> dict[str, bool]:
        """Return sweep → whether it is over, from the names of the blobs alone."""
        return {sweep: _OVER in stages for sweep, stages in self._stages().items()}

    def sweeps(self) -> list[Sweep]:
        """Return all sweeps.

        :raises CorruptError: what one of them may delete cannot be read.
        """
        found = []
        for sweep, stages in self._stages().items():
            if not stages.keys() & {_CANDIDATES, _OVER} and not self._stands(sweep):
                continue  # somebody who stood still decides what was forgotten long ago: it counts for nothing
            takes = self._load_stage(sweep, _TAKES)
            candidates = self._load_stage(sweep, _CANDIDATES) if takes is None else frozenset[bytes]()
            found.append(
                Sweep(
                    id=sweep,
                    candidates=candidates or frozenset(),
                    takes=takes,
                    over=_OVER in stages,
                    over_at=stages.get(_OVER),
                )
            )
        return found

    def _stages(self) -> dict[str, dict[str, datetime]]:
        stages: dict[str, dict[str, datetime]] = {}
        for blob in self._store.list(SWEEPS):
            sweep, _, stage = blob.key.removeprefix(SWEEPS).partition("/")
            stages.setdefault(sweep, {})[stage] = blob.modified
        return stages

    def _load_stage(self, sweep: str, stage: str) -> frozenset[bytes] | None:
        key = f"{SWEEPS}{sweep}/{stage}"
        try:
            return self._load(key)
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
        except ConflictError:  # encrypted, it never has the same bytes twice
            if not may_exist:
                raise

    def _load(self, key: str) -> frozenset[bytes]:
        content = self._framer.unwrap(Kind.NOTE, self._store.get(key), name=key)
        try:
            ids = bytes.fromhex(json.loads(bytes(content))["packs"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptError(f"does not parse: {error}") from error
        if len(ids) % ID_SIZE:
            raise CorruptError("does not list whole pack ids")
        return frozenset(ids[at : at + ID_SIZE] for at in range(0, len(ids), ID_SIZE))
