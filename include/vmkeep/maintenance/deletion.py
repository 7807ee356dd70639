"""Deletes the restore points that a person names, by the way that retention goes.

A plan first: pinned points stay, and the plan names each VM that would have no good point left. Whoever carries it out
decides about these VMs; retention itself never deletes the newest good point of a VM.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from vmkeep.blobs import require_creates
from vmkeep.errors import NotFoundError, StaleError
from vmkeep.maintenance.facts import point_facts
from vmkeep.maintenance.forget import PINNED, forget
from vmkeep.maintenance.noting import note_points, require_points
from vmkeep.maintenance.storetime import time_for_rules
from vmkeep.policy import PointFacts, left_bare
from vmkeep.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionPlan:
    """The points that go, and those that were named and stay."""

    at: datetime
    going: tuple[PointFacts, ...]
    staying: dict[str, str]
    """Ref → why it stays."""
    bare: tuple[PointFacts, ...]
    """Of each VM that has no good point left afterwards, the newest point that goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionReport:
    """What a deletion has done."""

    points_deleted: tuple[str, ...]
    """Refs."""
    points_kept: dict[str, str]
    """Ref → why a point that was named is still there: pinned, or locked in the store."""


def plan_deletion(repository: Repository, refs: Iterable[str]) -> DeletionPlan:
    """Find out which of some points go. Changes nothing but a probe blob, which tells the store's time and is gone.

    :param refs: full refs.
    :raises NotFoundError: one of them is no restore point.
    :raises UnsupportedError: this machine's clock is ahead of the store's, so that pins would end before their time.
    """
    named = tuple(dict.fromkeys(refs))
    at = time_for_rules(repository.blobs)
    of_vms = [
        facts
        for vm_key in dict.fromkeys(ref.rpartition("/")[0] for ref in named)
        for facts in point_facts(repository, at=at, vm_key=vm_key)
    ]
    known = {facts.ref: facts for facts in of_vms}
    for ref in named:
        if ref not in known:
            raise NotFoundError(f"no restore point '{ref}' in {repository.location}; see 'vmkeep point list'")
    going = tuple(known[ref] for ref in named if not known[ref].pinned)
    return DeletionPlan(
        at=at,
        going=going,
        staying={ref: PINNED for ref in named if known[ref].pinned},
        bare=tuple(left_bare(of_vms, going={point.ref for point in going})),
    )


def delete_points(repository: Repository, plan: DeletionPlan) -> DeletionReport:
    """Delete the points of a plan. May be stopped anywhere, and run beside any backups and prunes.

    Their space comes back by later prunes.

    :raises StaleError: by now more VMs would lose their last good point than the plan says; nothing was deleted.
    :raises CorruptError: points are gone that nobody forgot; nothing was deleted.
    :raises RepositoryError: the store does not create only what is absent; nothing was deleted.
    """
    require_points(repository)
    require_creates(repository.blobs)
    refs = [point.ref for point in plan.going]
    there = {ref for vm_key in {point.vm_key for point in plan.going} for ref in repository.point_refs(vm_key)}
    fresh = plan_deletion(repository, [ref for ref in refs if ref in there])
    if more := {point.vm_key for point in fresh.bare} - {point.vm_key for point in plan.bare}:
        raise StaleError(f"other points of {', '.join(sorted(more))} are gone or damaged by now: plan again")
    deleted, kept = forget(repository, refs)
    note_points(repository)
    return DeletionReport(points_deleted=tuple(deleted), points_kept=plan.staying | kept)
