"""Merges the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.model.job import to_plain
from vmkeep_airflow.operators.base import UpkeepOperator

if TYPE_CHECKING:
    from vmkeep.flows.merging import MergePlan


class MergeIndexOperator(UpkeepOperator):
    """Merge many segments of the index into few, if it pays.

    It may run beside any number of backups, and is safe to repeat.

    :param plan_only: make the plan, and merge nothing. Templated.
    :returns: the numbers of ``segments``, ``entries`` and ``segments_to_merge``, and, unless in a dry run, ``done``:
        the sums of all ``MergeReport``.
    """

    template_fields: Sequence[str] = (*UpkeepOperator.template_fields, "plan_only")

    def __init__(self, *, plan_only: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_only = plan_only

    def step(self, context: Context) -> Any:
        """Merge the segments."""
        from vmkeep.flows.merging import merge_index, plan_merge
        from vmkeep.flows.repositories import open_site_repository

        with open_site_repository(self.site()) as repository:
            if self.plan_only:
                return _counts(plan_merge(repository))
            plan, reports = merge_index(repository, on_progress=self.follow("merge"))
        done = Counter[str]()
        for report in reports:
            done.update(to_plain(report))
        result = {**_counts(plan), "done": dict(done)}
        self.log.info("%s", result)
        return result


def _counts(plan: MergePlan) -> dict[str, Any]:
    return {"segments": plan.segments, "entries": plan.entries, "segments_to_merge": len(plan.sources)}
