"""Upkeep of a repository, one call for each task of a DAG: prune, locks, check, and marks on damaged points.

The results are counters, so that they fit into a report whatever the size of the repository.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from vmkeep.blobs import open_store
from vmkeep.errors import CorruptError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.maintenance import (
    Hidden,
    LockReport,
    Margins,
    PointsRepair,
    PrunePlan,
    PruneReport,
    extend_locks,
    heal,
    needed_packs,
    repair_index,
    repair_points,
)
from vmkeep.maintenance import bring_back as bring_back_in
from vmkeep.maintenance import find_hidden as find_hidden_in
from vmkeep.model.job import Progress
from vmkeep.model.wording import counted
from vmkeep.repository import Finding, Repository
from vmkeep.repository.checks import PointDamage, Slice, parse_slice, slice_of_day
from vmkeep.repository.folders import PACKS

__all__ = [
    "CheckCounts", "PlanCounts", "PointDamage", "PruneCounts", "bring_back", "check",
    "choose_slice", "count_plan", "count_prune", "find_hidden", "grace_margins", "heal", "keep_locks", "mark_points",
    "refresh_catalog", "repair_index", "repair_points", "require_kept",
]  # fmt: skip

log = logging.getLogger(__name__)

OnProgress = Callable[[Progress], None]


def grace_margins(grace: timedelta) -> Margins:
    """Return a prune's margins for the grace time that a person sets: for condemning a pack, and for deleting it."""
    return Margins(young_for=grace, condemned_for=grace)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCounts:
    """Counts of a prune's plan. Sizes are in bytes."""

    points: int
    points_to_forget: int
    kept_for: dict[str, int]
    """Number of points that each cause keeps, alone or beside other causes; empty without a rule."""
    packs: int
    pack_bytes: int
    live_bytes: int
    packs_to_condemn: int
    bytes_to_condemn: int
    packs_to_rewrite: int
    bytes_to_rewrite: int
    packs_to_delete: int
    bytes_to_delete: int
    packs_waiting: int
    """Packs that are condemned, but not for long enough."""
    lost_blocks: int


def count_plan(plan: PrunePlan) -> PlanCounts:
    """Count what a plan lists."""
    causes = Counter(str(cause) for verdict in plan.verdicts for cause in {reason.cause for reason in verdict.reasons})
    return PlanCounts(
        points=len(plan.verdicts),
        points_to_forget=len(plan.forgotten),
        kept_for=dict(sorted(causes.items())),
        packs=plan.packs,
        pack_bytes=plan.pack_bytes,
        live_bytes=plan.live_bytes,
        packs_to_condemn=len(plan.condemned),
        bytes_to_condemn=sum(plan.condemned.values()),
        packs_to_rewrite=len(plan.rewritten),
        bytes_to_rewrite=sum(plan.rewritten.values()),
        packs_to_delete=len(plan.swept),
        bytes_to_delete=sum(plan.swept.values()),
        packs_waiting=plan.waiting,
        lost_blocks=plan.lost_blocks,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneCounts:
    """Counts of what a prune did. Sizes are in bytes."""

    points_forgotten: int
    points_held: int
    """Points that were to go and stay, because they were pinned meanwhile or are locked in the store."""
    packs_condemned: int
    packs_rewritten: int
    bytes_rewritten: int
    packs_damaged: int
    """Packs that were not rewritten, because they are damaged; they stay."""
    packs_deleted: int
    packs_pardoned: int
    bytes_freed: int
    blobs_locked: int
    """Blobs that the store does not delete yet, because their object lock still holds."""
    given_way: bool
    """The sweep stopped, because a backup or another prune could not wait. The next prune deletes the rest."""
    runs_removed: int
    leftovers_removed: int
    not_rewritten: str
    """Reason why packs that are small or mostly waste are not rewritten for now; empty: they are rewritten."""


def count_prune(report: PruneReport) -> PruneCounts:
    """Count what a report lists."""
    return PruneCounts(
        points_forgotten=len(report.points_forgotten),
        points_held=len(report.points_kept),
        packs_condemned=report.packs_condemned,
        packs_rewritten=report.packs_rewritten,
        bytes_rewritten=report.bytes_rewritten,
        packs_damaged=len(report.packs_damaged),
        packs_deleted=report.packs_deleted,
        packs_pardoned=report.packs_pardoned,
        bytes_freed=report.bytes_freed,
        blobs_locked=len(report.locked),
        given_way=report.given_way,
        runs_removed=report.runs_removed,
        leftovers_removed=report.leftovers_removed,
        not_rewritten=report.not_rewritten,
    )


def keep_locks(repository: Repository, *, on_progress: OnProgress = lambda _progress: None) -> tuple[LockReport, str]:
    """Extend the locks of all blobs that points need.

    A map page may be damaged or hidden, so that the packs that points need are not known. Then the locks of all packs
    are extended, because a lock that runs out would be worse.

    :returns: the report, and the reason why the needed packs are not known; empty: they are known.
    :raises RepositoryError: this repository has no locks.
    """
    unknown = ""
    try:
        packs = needed_packs(repository)
    except CorruptError as error:
        unknown = str(error)
        packs = frozenset(blob.key for blob in repository.blobs.list(PACKS))
    return extend_locks(repository, packs, on_progress=on_progress), unknown


def require_kept(location: str, report: LockReport, unknown: str) -> None:
    """Return if :func:`keep_locks` met no damage.

    :raises CorruptError: blobs are hidden or missing, or the packs that points need are not known.
    """
    problems = []
    if report.hidden:
        problems.append(f"{counted(len(report.hidden), 'blob')} hidden by somebody else ('vmkeep repo lock --restore')")
    if report.missing:
        problems.append(f"{counted(len(report.missing), 'blob')} missing ('vmkeep repo check')")
    if unknown:
        problems.append(f"the packs that points need are not known ({unknown})")
    if problems:
        raise CorruptError(f"{location}: {', '.join(problems)}")


def find_hidden(location: str) -> list[Hidden]:
    """Return the blobs that were deleted or overwritten and that the store still holds. Needs no passphrase."""
    return find_hidden_in(open_store(location))


def bring_back(location: str) -> list[Hidden]:
    """Make the originals of hidden blobs visible again, and return these blobs. Needs no passphrase."""
    return bring_back_in(open_store(location))


def refresh_catalog(url: str | None, repository: Repository) -> None:
    """Take forgotten points out of the catalog, if there is one. A failure is only logged: the catalog is a cache."""
    if url is None:
        return
    from vmkeep.catalog import open_catalog  # takes 0.2 s to import, and most sites have no catalog

    try:
        with open_catalog(url) as catalog:
            catalog.refresh(repository)
    except VmKeepError as error:
        log.warning("the catalog still lists points that are gone (the next 'vmkeep point list' mends it): %s", error)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCounts:
    """The scope of a check, and its counts."""

    data: str
    """The data that was read: ``slice 3/30``, or ``all``."""
    findings: int
    findings_by_kind: dict[str, int]
    bytes_checked: int
    """Bytes of the packs whose data was read, and of the index."""


def choose_slice(text: str | None, *, day: datetime, days: int) -> Slice:
    """Return the slice that a person names, or else the slice of a day.

    :param days: the number of slices. In that many consecutive days each slice has its turn.
    :raises UsageError: ``text`` is not ``k/n`` or ``today/n``, or ``days`` is less than 1.
    """
    return parse_slice(text, today=day) if text else slice_of_day(day, days)


def check(
    repository: Repository, part: Slice | None, *, on_progress: OnProgress = lambda _progress: None
) -> tuple[list[Finding], CheckCounts]:
    """Check the structure of the repository, that every blob exists, and the data of one slice of the packs.

    :param part: ``None``: the data of all packs.
    """
    total = 0

    def follow(progress: Progress) -> None:
        nonlocal total
        total = progress.bytes_total
        on_progress(progress)

    findings = repository.check(read_data=part is None, part=part, on_progress=follow)
    kinds = Counter(str(finding.trouble) for finding in findings)
    return findings, CheckCounts(
        data="all" if part is None else f"slice {part}",
        findings=len(findings),
        findings_by_kind=dict(kinds),
        bytes_checked=total,
    )


def mark_points(
    repository: Repository, *, findings: int | None, on_progress: OnProgress = lambda _progress: None
) -> PointsRepair:
    """Mark the points that a check found damaged, and unmark those that are whole again; deletes nothing.

    :param findings: number of findings of the check before; ``None``: not known. If it is zero and no point is marked
        damaged, no map is read.
    """
    if findings == 0 and not any(marks.damage for marks in repository.marks.all().values()):
        return PointsRepair(damaged=(), marked=(), cleared=(), unreadable=())
    return repair_points(repository, on_progress=on_progress)
