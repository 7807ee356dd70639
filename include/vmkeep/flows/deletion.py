"""Delete restore points that a person names: a plan to show, and its execution."""

from __future__ import annotations

from collections.abc import Iterable

from vmkeep.flows.points import find_ref
from vmkeep.flows.upkeep import refresh_catalog
from vmkeep.maintenance import DeletionPlan, DeletionReport, delete_points
from vmkeep.maintenance import plan_deletion as plan_for_refs
from vmkeep.repository import Repository

__all__ = ["DeletionPlan", "DeletionReport", "execute_deletion", "plan_deletion"]


def plan_deletion(repository: Repository, points: Iterable[str], *, shown: bool = False) -> DeletionPlan:
    """Find out which of the named points can be deleted and which stay. Changes nothing.

    :param points: refs, unique beginnings of ids, or ``latest:VM``.
    :param shown: the plan is only shown, so that a store that is read-only can be asked, too.
    """
    return plan_for_refs(repository, [find_ref(repository, point) for point in points], shown=shown)


def execute_deletion(repository: Repository, plan: DeletionPlan, *, catalog: str | None) -> DeletionReport:
    """Delete the points of a plan, and take them out of the catalog."""
    report = delete_points(repository, plan)
    refresh_catalog(catalog, repository)
    return report
