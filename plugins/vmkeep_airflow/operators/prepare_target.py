"""Makes the VM ready to which a restore writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTerminated

from vmkeep.errors import VmKeepError
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.model.job import to_plain
from vmkeep.model.site import Site
from vmkeep_airflow import secondperson
from vmkeep_airflow.dagruns import has_ended, own_dag_run
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.steps import Approval, ReadyTarget


class PrepareTargetOperator(SiteOperator):
    """Create the new VM, or switch the existing one off. A setup task: ``CleanUpRestoreOperator`` is its teardown.

    Airflow runs this task again when a later task is cleared. So the task needs an approval of exactly this plan, and
    a plan is carried out once. While the restore is open, a second run of the task finds the VM ready and changes
    nothing. After the end of the restore, it fails.

    Airflow does not run the teardown of a setup that failed. So this task itself removes the half-made VM of
    this try or of an earlier one.

    :param plan: a ``RestorePlan`` as a dict. Templated.
    :param approval: an ``Approval`` as a dict. Templated.
    :returns: a ``ReadyTarget`` as a dict.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*SiteOperator.template_fields, "plan", "approval")

    def __init__(self, *, plan: Any, approval: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.approval = approval

    def step(self, context: Context) -> Any:
        """Make the VM ready."""
        from vmkeep.flows import restore

        plan = self.handed("plan", RestorePlan, by="plan")
        approval = self.handed("approval", Approval, by="approve")
        if approval.plan != restore.plan_id(plan):
            raise AirflowFailException(
                f"the yes of task approve was to another plan than the one for VM {plan.target_name}, nothing was "
                "touched: trigger a new run"
            )
        site = self.site()
        if plan.writes_over:
            secondperson.require_kept(site, context, restore.plan_id(plan))
        ti = context["ti"]
        owner = own_dag_run(ti)
        run = owner.run_key(ti.try_number)
        earlier = [owner.run_key(number) for number in range(1, ti.try_number)]
        try:
            target = restore.prepare_target(site, plan, run=run, earlier=earlier, has_ended=has_ended(ti))
        except BaseException:
            self._clean_up(site, plan, run)
            raise
        if target.undo is not None:
            self.log.info("snapshot %s is kept, so that the restore can be undone", target.undo)
        done = "is made" if target.created else "is switched off"
        self.log.info("VM %s (%s) %s, and ready to be written", plan.target_name, target.vm, done)
        return to_plain(ReadyTarget(plan=plan, target=target))

    def _clean_up(self, site: Site, plan: RestorePlan, run: str) -> None:
        from vmkeep.flows import restore

        try:
            restore.clean_up(site, run)
        except VmKeepError as error:
            self.log.warning("VM %s may be left half made: %s", plan.target_name, error)

    def on_kill(self) -> None:
        """Stop waiting for vSphere, so that a half-made VM is removed before this process dies."""
        raise AirflowTaskTerminated("stopped while the target was being prepared")
