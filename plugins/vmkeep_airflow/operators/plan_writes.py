"""What to write onto each disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.flows.values import RestorePlan, Target
from vmkeep.model.job import from_plain, to_plain
from vmkeep_airflow.operators.base import SiteOperator


class PlanWritesOperator(SiteOperator):
    """Turn every disk that is to be written into a job.

    :param plan: a ``RestorePlan`` as a dict. Templated.
    :param target: a ``Target`` as a dict. Templated.
    :returns: a list of ``WriteJob`` dicts, one per disk.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "plan", "target")

    def __init__(self, *, plan: Any, target: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.target = target

    def step(self, context: Context) -> Any:
        """Find the target's disks by their current names."""
        from vmkeep.flows import restore

        plan = from_plain(RestorePlan, self.plan)
        return [to_plain(job) for job in restore.write_jobs(self.site(), plan, from_plain(Target, self.target))]
