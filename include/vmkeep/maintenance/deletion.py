"""Deletes the restore points that a person names, in the same way as retention does.

The plan comes first. Points that are pinned or in use stay, and the plan names each VM that would have no good point
left. The caller decides about these VMs; retention itself never deletes the newest good point of a VM.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from vmkeep.blobs import confirm_lists, require_creates
from vmkeep.errors import NotFoundError, StoreFullError
from vmkeep.lateclass import dataclass
from vmkeep.maintenance.facts import point_facts
from vmkeep.maintenance.forget import PINNED, forget
from vmkeep.maintenance.noting import note_points, require_points
from vmkeep.maintenance.reserve import Room
from vmkeep.maintenance.storetime import both_times
from vmkeep.repository import Repository
from vmkeep.retention import PointFacts, left_bare


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionPlan:
    """The named points that will be deleted, and those that will stay."""

    at: datetime
    going: tuple[PointFacts, ...]
    pinned: tuple[PointFacts, ...]
    """The named points that stay because of a pin."""
    in_use: tuple[PointFacts, ...]
    """The named points that stay because a process reads them."""
    bare: tuple[PointFacts, ...]
    """For each VM that would have no good point left: the newest of its points that will be deleted.

    Points that other deletions and prunes may delete at the moment count as gone.
    """

    @property
    def staying(self) -> dict[str, str]:
        """Ref → why a named point stays."""
        return {point.ref: PINNED if point.pinned else point.in_use for point in (*self.pinned, *self.in_use)}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionReport:
    """The outcome of a deletion."""

    points_deleted: tuple[str, ...]
    """Refs."""
    points_kept: dict[str, str]
    """Ref → why a point that was named is still there: pinned, in use, or locked in the store."""


def plan_deletion(repository: Repository, refs: Iterable[str], *, shown: bool = False) -> DeletionPlan:
    """Find out which of the named points can be deleted.

    Changes nothing except for a probe blob: it tells the store's time, and is removed at once.

    :param refs: full refs.
    :param shown: the plan is only shown, so that a store that is read-only can be asked, too.
    :raises NotFoundError: one of the refs names no restore point.
    :raises UnsupportedError: this machine's clock is ahead of the store's, so pins would end too early.
    """
    confirm_lists(repository.blobs)
    named = tuple(dict.fromkeys(refs))
    at, store_time = both_times(repository.blobs, shown=shown)
    claims = repository.forgettings.claims(time=store_time)
    of_vms = point_facts(repository, at=at, vm_keys={ref.rpartition("/")[0] for ref in named}, store_time=store_time)
    known = {facts.ref: facts for facts in of_vms}
    for ref in named:
        if ref not in known:
            raise NotFoundError(f"no restore point '{ref}' in {repository.location}; see 'vmkeep point list'")
    points = [known[ref] for ref in named]
    going = tuple(point for point in points if not point.pinned and not point.in_use)
    return DeletionPlan(
        at=at,
        going=going,
        pinned=tuple(point for point in points if point.pinned),
        in_use=tuple(point for point in points if point.in_use and not point.pinned),
        bare=tuple(left_bare(of_vms, going={point.ref for point in going}, claimed=claims)),
    )


def delete_points(repository: Repository, plan: DeletionPlan) -> DeletionReport:
    """Delete the points of a plan. May be stopped anywhere, and may run beside any backups and prunes.

    Later prunes free the space of these points.

    :raises StaleError: more VMs than the plan says would now have no good point left; nothing was deleted.
    :raises CorruptError: points are missing although nobody forgot them; nothing was deleted.
    :raises RepositoryError: the store cannot create a blob only if it is absent; nothing was deleted.
    :raises StoreFullError: there is not even room to write down which points are deleted.
    """
    confirm_lists(repository.blobs)
    require_points(repository)
    require_creates(repository.blobs)
    refs = [point.ref for point in plan.going]
    try:
        with Room(repository.blobs).spending_reserve(points=len(refs)):
            deleted, kept = forget(repository, refs, bare={point.vm_key for point in plan.bare}, whole=True)
    except StoreFullError as error:
        raise StoreFullError(
            f"{error}; a deletion has to write down what it deletes: make room for that much beside the repository, or "
            "allow it more, and delete again; or delete fewer points at once"
        ) from error
    note_points(repository)
    return DeletionReport(points_deleted=tuple(deleted), points_kept=plan.staying | kept)
