"""Merges the segments of the index: the plan alone, or as many passes as it takes."""

from __future__ import annotations

from collections.abc import Callable

from vmkeep.maintenance import MergePlan, MergeReport, execute_merge, plan_merge
from vmkeep.model.job import Progress
from vmkeep.repository import Repository

__all__ = ["MergePlan", "MergeReport", "merge_index", "plan_merge"]


def merge_index(
    repository: Repository, *, on_progress: Callable[[Progress], None] = lambda _progress: None
) -> tuple[MergePlan, list[MergeReport]]:
    """Merge the index as far as it pays, in as many passes as memory demands. Return the first plan and all reports.

    The merge ends early if another process merges the same segments.
    """
    reports: list[MergeReport] = []
    first = plan = plan_merge(repository)
    while plan.sources:
        reports.append(execute_merge(repository, plan, on_progress=on_progress))
        if not reports[-1].segments_removed:
            break
        plan = plan_merge(repository)
    return first, reports
