"""Makes the jobs of a restore, one for each disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.model.job import to_plain
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.steps import ReadyTarget


class PlanWritesOperator(SiteOperator):
    """Make a job for every disk to write.

    :param ready: a ``ReadyTarget`` as a dict. Templated.
    :returns: a list of ``WriteJob`` dicts, one per disk.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*SiteOperator.template_fields, "ready")

    def __init__(self, *, ready: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ready = ready

    def step(self, context: Context) -> Any:
        """Find the target's disks with their present file names."""
        from vmkeep.flows import restore

        ready = self.handed("ready", ReadyTarget, by="prepare_target")
        return [to_plain(job) for job in restore.write_jobs(self.site(), ready.plan, ready.target)]
