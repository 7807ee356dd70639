"""Merging the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.model.job import to_plain
from vmkeep_airflow.operators.base import UpkeepOperator


class MergeIndexOperator(UpkeepOperator):
    """Make few segments of the index out of many, where it pays.

    Beside any number of backups, and safe to repeat.

    :param dry_run: say what would be merged, and merge nothing. Templated.
    :returns: ``dry_run``, how many ``segments`` there were and were ``to_merge``, and what was ``done``
        (``MergeReport``) unless in a dry run.
    """

    template_fields: Sequence[str] = (*UpkeepOperator.template_fields, "dry_run")

    def __init__(self, *, dry_run: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dry_run = dry_run

    def step(self, context: Context) -> Any:
        """Merge."""
        from vmkeep.maintenance.merge import execute_merge, plan_merge
        from vmkeep.repository import open_site_repository

        with open_site_repository(self.site()) as repository:
            plan = plan_merge(repository)
            self.log.info(
                "the index has %d segments with %d entries: %d are merged", plan.segments, plan.entries,
                len(plan.sources),
            )  # fmt: skip
            result = {"dry_run": bool(self.dry_run), "segments": plan.segments, "to_merge": len(plan.sources)}
            if self.dry_run:
                return result
            report = execute_merge(repository, plan, on_progress=self.follow("merge"))
        return {**result, "done": to_plain(report)}
