"""The VM that a restore writes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowTaskTerminated

from vmkeep.errors import VmKeepError
from vmkeep.flows.values import RestorePlan
from vmkeep.model.job import from_plain, to_plain
from vmkeep.model.site import Site
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.run_key import Owner
from vmkeep_airflow.steps import ReadyTarget


class PrepareTargetOperator(SiteOperator):
    """Create the new VM, or power the existing one off. A setup task: ``CleanUpRestoreOperator`` is its teardown.

    Airflow does not run the teardown of a setup that failed; so this task itself removes what it half made,
    and what an earlier try of its own left.

    :param plan: a ``RestorePlan`` as a dict. Templated.
    :returns: a ``ReadyTarget`` as a dict.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "plan")

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def step(self, context: Context) -> Any:
        """Prepare."""
        from vmkeep.flows import restore

        site = self.site()
        plan = from_plain(RestorePlan, self.plan)
        ti = context["ti"]
        owner = Owner(dag_id=ti.dag_id, run_id=ti.run_id)
        for earlier in range(1, ti.try_number):
            self._clean_up(site, plan, owner.run_key(earlier))
        run = owner.run_key(ti.try_number)
        plan = replace(plan, request=replace(plan.request, run=run))
        try:
            target = restore.prepare_target(site, plan)
        except BaseException:
            self._clean_up(site, plan, run)
            raise
        self.log.info("%s %s", "created VM" if target.created else "powered off VM", target.vm)
        return to_plain(ReadyTarget(plan=plan, target=target))

    def _clean_up(self, site: Site, plan: RestorePlan, run: str) -> None:
        from vmkeep.flows import restore

        try:
            restore.clean_up(site, run)
        except VmKeepError as error:
            self.log.warning("VM %s may be left half made: %s", plan.target_name, error)

    def on_kill(self) -> None:
        """Break off the wait for vSphere, so that what was begun is removed before this process dies."""
        raise AirflowTaskTerminated("stopped while the target was being prepared")
