"""Deletes packs that have waited long enough and that nothing reaches: record, look, decide, delete, done.

A sweep is safe beside any number of backups and other sweeps. That rests on the order of the calls here; decision 0008
gives the reasons. If a sweep dies, the next prune finishes or ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import field

from vmkeep.blobs import abreast
from vmkeep.errors import LockedError, StoreFullError
from vmkeep.lateclass import dataclass
from vmkeep.maintenance.index_removal import withdraw
from vmkeep.maintenance.plan import marked
from vmkeep.maintenance.reachability import ReachedFrames
from vmkeep.model.job import Progress
from vmkeep.repository import Repository
from vmkeep.repository.frames import pack_key
from vmkeep.repository.notes import Sweep, SweepPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The outcome of one sweep."""

    deleted: int = 0
    """Packs that were deleted."""
    bytes_freed: int = 0
    pardoned: int = 0
    """Packs that were condemned and are reached after all."""
    locked: dict[str, str] = field(default_factory=dict)
    """Blob → why the store refuses to delete it, and until when."""
    given_way: bool = False
    """A process that could not wait ended this sweep before it decided. The next sweep will do its work."""

    def __add__(self, other: Swept) -> Swept:
        """Return the sum of two outcomes."""
        return Swept(
            deleted=self.deleted + other.deleted,
            bytes_freed=self.bytes_freed + other.bytes_freed,
            pardoned=self.pardoned + other.pardoned,
            locked=self.locked | other.locked,
            given_way=self.given_way or other.given_way,
        )


def settle(repository: Repository) -> dict[str, str]:
    """Finish the sweeps that have decided and are not over, and end those that have not decided; return what is locked.

    One of these sweeps may still be at work in another process. Then the packs of a decided sweep may be deleted twice,
    which is harmless, and an undecided sweep finds that it may delete nothing.
    """
    locked: dict[str, str] = {}
    for sweep in repository.sweep_records.sweeps():
        if not sweep.over:
            locked |= _carry_out(repository, sweep.id, repository.sweep_records.decide(sweep.id, ()))
    return locked


def sweep(
    repository: Repository,
    plans: Iterable[SweepPlan],
    *,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> Swept:
    """Delete the packs that these plans condemn and that nothing reaches, and withdraw the plans.

    A plan that names a pack out of sight stays, so that nobody counts on the pack.

    :raises CorruptError: something on the way to the blocks of restore points cannot be read; nothing was deleted.
    """
    plans = list(plans)
    candidates = frozenset[bytes]().union(*(plan.packs for plan in plans))
    own = repository.sweep_records.begin_sweep(candidates)  # before anything is looked at, see decision 0008
    try:
        reached = _mark(repository, own, candidates)
        takes = _unreached(reached, candidates)
    except Exception:
        repository.sweep_records.decide(own, ())
        repository.sweep_records.finish_sweep(own)
        raise
    decided = repository.sweep_records.decide(own, takes)
    if decided != takes:
        locked = _carry_out(repository, own, decided)
        return Swept(locked=locked, given_way=True)
    locked = _carry_out(repository, own, takes, on_progress)
    hidden = _hidden(reached, candidates)
    for plan in plans:
        if not plan.packs & hidden:
            repository.sweep_records.withdraw(plan.id)
    there = {pack: reached.blobs[pack].size for pack in takes & reached.blobs.keys() if pack_key(pack) not in locked}
    return Swept(
        deleted=len(there), bytes_freed=sum(there.values()), pardoned=len(candidates - takes - hidden), locked=locked
    )


def _mark(repository: Repository, own: str, candidates: frozenset[bytes]) -> ReachedFrames:
    """Mark the frames that restore points reach. Everything here is looked at after the sweep's record was put."""
    sweeps = [sweep for sweep in repository.sweep_records.sweeps() if sweep.id != own]
    return marked(
        repository,
        frozenset[bytes]().union(*(plan.packs for plan in repository.sweep_records.plans())),
        candidates=candidates,
        others=_packs(sweep for sweep in sweeps if sweep.takes is None),
        gone=_packs(sweep for sweep in sweeps if sweep.takes is not None),
    )


def _unreached(reached: ReachedFrames, candidates: frozenset[bytes]) -> frozenset[bytes]:
    """Return the candidates that nothing reaches.

    While blocks are missing, a pack that is not there may hold them, e.g. on a disk that is not mounted. It stays in
    the index, and nobody deletes it once it is there again.
    """
    takes = candidates - reached.live().keys()
    if not reached.complete:
        takes &= reached.framed().keys() & reached.blobs.keys()
    return takes


def _hidden(reached: ReachedFrames, candidates: frozenset[bytes]) -> frozenset[bytes]:
    """Return the candidates that the index names, and that may hold missing blocks out of sight."""
    return frozenset() if reached.complete else (candidates & reached.framed().keys()) - reached.blobs.keys()


def _packs(sweeps: Iterable[Sweep]) -> frozenset[bytes]:
    return frozenset[bytes]().union(*(sweep.off_limits for sweep in sweeps))


def _carry_out(
    repository: Repository,
    sweep: str,
    takes: frozenset[bytes],
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> dict[str, str]:
    """Take packs out of the index, then delete them, then write that the sweep is over. May be repeated.

    A full store has no room to rewrite the index until packs are deleted. Until then the sweep's record tells readers
    and writers which packs to avoid.
    """
    locked: dict[str, str] = {}
    withdrawn = False
    with suppress(StoreFullError):
        locked |= withdraw(repository, takes)
        withdrawn = True
    ids = sorted(takes)

    def remove(pack: bytes) -> tuple[str, str] | None:
        try:
            repository.blobs.delete(pack_key(pack))
        except LockedError as error:
            return pack_key(pack), str(error)
        return None

    for number, kept in enumerate(abreast(repository.blobs, remove, ids), start=1):
        locked |= dict([kept]) if kept else {}
        on_progress(Progress(phase="sweep", bytes_done=number, bytes_total=len(ids)))
    if not withdrawn:
        locked |= withdraw(repository, takes)
    repository.sweep_records.finish_sweep(sweep)
    return locked
