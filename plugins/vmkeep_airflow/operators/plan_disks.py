"""Plans the areas of each disk that are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.model.job import to_plain
from vmkeep_airflow.operators.ending import EndingOperator
from vmkeep_airflow.steps import HeldStill


class PlanDisksOperator(EndingOperator):
    """Make a job for every disk to copy.

    :param held: a ``HeldStill`` as a dict. Templated.
    :returns: a list of ``DiskJob`` dicts, one per disk.
    """

    template_fields: Sequence[str] = (*EndingOperator.template_fields, "held")

    def __init__(self, *, held: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.held = held

    def step(self, context: Context) -> Any:
        """Ask vSphere for the changed areas, and log the reason for each full read."""
        from vmkeep.flows import backup

        held = self.handed("held", HeldStill, by="snapshot")
        jobs = backup.plan_disks(self.site(), held.preflight, held.taken)
        for job in jobs:
            self.log.info("%s: %s, %s", job.disk.label, job.kind, job.reason)
        return [to_plain(job) for job in jobs]
