"""Carries out a prune: the plan is written, points are forgotten, packs rewritten, and old plans swept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vmkeep.blobs.creation import require_creates
from vmkeep.maintenance.clock import store_time
from vmkeep.maintenance.forget import forget
from vmkeep.maintenance.plan import PrunePlan, marked
from vmkeep.maintenance.rewrite import Rewritten, rewrite
from vmkeep.maintenance.sweep import Swept, settle, sweep
from vmkeep.maintenance.tidy import forget_sweeps, remove_dead_forgettings, remove_dead_runs
from vmkeep.model.job import Progress
from vmkeep.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What a prune has done. All sizes are in bytes."""

    points_forgotten: tuple[str, ...]
    """Refs."""
    points_kept: dict[str, str]
    """Ref → why a point that was to go is still there: pinned meanwhile, or locked in the store."""
    packs_condemned: int
    """Reached by nothing; a later prune deletes them."""
    packs_rewritten: int
    bytes_rewritten: int
    packs_damaged: dict[str, str] = field(default_factory=dict)
    """Pack → the damage for which it was not rewritten, and stays."""
    packs_deleted: int
    packs_pardoned: int
    """Condemned some time ago, and reached again."""
    bytes_freed: int
    locked: dict[str, str] = field(default_factory=dict)
    """Blob → until when the store does not let go of it."""
    given_way: bool
    """Another process could not wait for the sweep: nothing was deleted, the next prune will."""
    runs_removed: int
    """Areas of dead runs."""
    lost_blocks: int


def execute(
    repository: Repository, plan: PrunePlan, *, on_progress: Callable[[Progress], None] = lambda _progress: None
) -> PruneReport:
    """Do what a plan says. May be stopped anywhere, and run any number of times at once, beside any backups.

    :raises CorruptError: what restore points reach cannot be told any more; no pack was deleted.
    :raises RepositoryError: the store does not create only what is absent (any more), which sweeps and seals settle
        by which of them goes first; nothing was changed.
    """
    require_creates(repository.blobs)
    locked = settle(repository)
    rewritten = {bytes.fromhex(pack) for pack in plan.rewritten}
    written = _condemn(repository, rewritten | {bytes.fromhex(pack) for pack in plan.condemned})
    forgotten, kept = forget(repository, [verdict.point.ref for verdict in plan.forgotten])
    moved = _rewrite(repository, frozenset(rewritten), on_progress)
    if moved.damaged and written:
        _condemn(repository, written[1] - moved.damaged.keys())
        repository.plans.withdraw(written[0])
    swept = _sweep(repository, plan, on_progress)
    time = store_time(repository.blobs)
    removed = remove_dead_runs(repository, plan.margins, time=time)
    forget_sweeps(repository, plan.margins, time=time)
    remove_dead_forgettings(repository, plan.margins, time=time)
    return PruneReport(
        points_forgotten=tuple(forgotten),
        points_kept=kept,
        packs_condemned=len(plan.condemned),
        packs_rewritten=moved.packs,
        bytes_rewritten=moved.bytes_stored,
        packs_damaged={pack.hex(): why for pack, why in moved.damaged.items()},
        packs_deleted=swept.deleted,
        packs_pardoned=swept.pardoned,
        bytes_freed=swept.bytes_freed,
        locked=locked | swept.locked,
        given_way=swept.given_way,
        runs_removed=removed,
        lost_blocks=plan.lost_blocks,
    )


def _condemn(repository: Repository, packs: set[bytes]) -> tuple[str, set[bytes]] | None:
    """Write a plan of all packs that no plan has yet; return its id and its packs."""
    fresh = packs - frozenset[bytes]().union(*(plan.packs for plan in repository.plans.plans()))
    return (repository.plans.condemn(fresh), fresh) if fresh else None


def _rewrite(repository: Repository, packs: frozenset[bytes], on_progress: Callable[[Progress], None]) -> Rewritten:
    """Move what is reached now out of some packs."""
    if not packs:
        return Rewritten(packs=0, bytes_stored=0, damaged={})
    condemned = frozenset[bytes]().union(*(plan.packs for plan in repository.plans.plans()))
    frames = marked(repository, condemned | packs).live_frames(packs)
    return rewrite(repository, frames, on_progress=on_progress)


def _sweep(repository: Repository, plan: PrunePlan, on_progress: Callable[[Progress], None]) -> Swept:
    """Sweep the plans that are old enough by now."""
    time = store_time(repository.blobs)
    ripe = [old for old in repository.plans.plans() if time - old.written_at >= plan.margins.condemned_for]
    return sweep(repository, ripe, on_progress=on_progress) if ripe else Swept()
