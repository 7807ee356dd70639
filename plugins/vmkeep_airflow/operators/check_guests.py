"""Checks the LVM of guests in restore points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.model.job import from_plain, to_plain
from vmkeep_airflow.operators.base import UpkeepOperator


class CheckGuestsOperator(UpkeepOperator):
    """Check one part of a fleet, and keep the outcome with each point as a proof.

    A point that contradicts itself does not fail the task, because the other points have to be looked at, and the last
    task of the run tells all of them. Safe to retry: a retry checks the part again.

    :param request: an ``LvmRequest`` as a dict, from ``plan``. Templated.
    :returns: the ``LvmSummary`` as a dict.
    """

    template_fields: Sequence[str] = (*UpkeepOperator.template_fields, "request")

    def __init__(self, *, request: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.request = request

    def step(self, context: Context) -> Any:
        """Check the points, and log each finding."""
        from vmkeep.flows.lvm_checks import LvmRequest, check_lvm
        from vmkeep.flows.repositories import open_site_repository

        request = from_plain(LvmRequest, self.request)
        run = str(context["ti"].run_id)
        with open_site_repository(self.site()) as repository:
            report = check_lvm(repository, request, by=f"DAG {self.dag_id}", run=run, on_progress=self.follow("guests"))
        for check in report.checks:
            for found in check.findings:
                level = self.log.error if found in check.failures else self.log.info
                level("%s, %s: %s: %s", check.vm, check.point, found.code.value, found.text)
            self.warn([f"{check.point}: {sentence}" for sentence in check.told])
            for place in check.unopened:
                self.log.info("%s, %s: LVM may lie unseen in %s", check.vm, check.point, place)
        self.warn([f"{ref} could not be checked: {why}" for ref, why in report.summary.unread.items()])
        unkept = report.summary.unkept.items()
        self.warn([f"{ref}: the outcome of the check is not kept with it: {why}" for ref, why in unkept])
        return to_plain(report.summary)
