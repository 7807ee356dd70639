"""Marks damaged restore points."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from vmkeep_airflow.operators.base import UpkeepOperator
from vmkeep_airflow.reports import damage_lines

_NAMED = 100
"""Greatest number of refs that a result names."""


class MarkDamagedOperator(UpkeepOperator):
    """Mark the points that a check found damaged, and unmark points that are whole again. Deletes nothing.

    Lists show the mark of a point. A marked point represents no bucket of a retention rule, and no increment continues
    it.

    :param check_task_id: the check whose findings decide. If it found nothing and no point is marked, this task reads
        nothing.
    :returns: the number of ``damaged`` points, and the refs that were ``marked`` and ``cleared`` now, at most 100 each.
    """

    def __init__(self, *, check_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check_task_id = check_task_id

    def step(self, context: Context) -> Any:
        """Mark the points."""
        from vmkeep.flows import upkeep
        from vmkeep.flows.repositories import open_site_repository

        counts = context["ti"].xcom_pull(task_ids=self.check_task_id)
        findings = counts["findings"] if counts else None
        with open_site_repository(self.site()) as repository:
            repair = upkeep.mark_points(repository, findings=findings, on_progress=self.follow("mark"))
        for damage in repair.damaged:
            self.warn(list(damage_lines(damage)))
        for key in repair.unreadable:
            self.log.warning("%s: the manifest is damaged, so nothing of this point can be restored", key)
        for ref in repair.cleared:
            self.log.info("%s: whole again", ref)
        return {
            "damaged": len(repair.damaged),
            "manifests_damaged": len(repair.unreadable),
            "marked": list(repair.marked[:_NAMED]),
            "cleared": list(repair.cleared[:_NAMED]),
        }
