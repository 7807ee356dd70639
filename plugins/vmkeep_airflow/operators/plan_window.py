"""Looks for the VMs of a policy when its window opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.clock import now
from vmkeep.model.job import from_plain, to_plain
from vmkeep.policy import Due, Policy, not_yet
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.policies import policy_files

if TYPE_CHECKING:
    from vmkeep.flows.windows import WindowPlan

_PLANNED = ("scheduled", "backfill")
"""Types of runs whose logical date is that of an opening."""


class PlanWindowOperator(SiteOperator):
    """Apply a policy's selection to the vCenter as it is now, and order its VMs by the age of their last good point.

    :param policy: the policy.
    :returns: the ``WindowPlan`` as a dict.
    """

    def __init__(self, *, policy: Policy, **kwargs: Any) -> None:
        super().__init__(vsphere_conn_id=policy.vsphere, repository_conn_id=policy.repository, **kwargs)
        self.policy = policy

    def step(self, context: Context) -> Any:
        """Plan the window; tell what the policy asks for in vain, and which VMs nobody backs up."""
        from vmkeep.flows.windows import compared_with, plan_window

        run: Any = context["dag_run"]
        by_hand = str(getattr(run.run_type, "value", run.run_type)) not in _PLANNED
        plan = plan_window(
            self.site(),
            self.policy,
            self._others(),
            opened_at=run.run_after if by_hand else run.logical_date,
            by_hand=by_hand,
            now=now(),
        )
        self.warn([str(pending) for pending in not_yet(self.policy)])
        self.warn([f"{vm.name} ({vm.moref}) is left out: {vm.why}" for vm in plan.left_out])
        if plan.due is not Due.OPEN:
            self.log.warning("the window %s is %s", plan.stamp, plan.due)
        self.log.info("%s VMs, from %s until %s", len(plan.vms), plan.opens_at, plan.closes_at)
        return to_plain(compared_with(plan, self._earlier(context)))

    def _earlier(self, context: Context) -> WindowPlan | None:
        """Return the plan of the window before; ``None``: there is none that this version can read."""
        from vmkeep.flows.windows import WindowPlan

        plain = context["ti"].xcom_pull(task_ids=self.task_id, include_prior_dates=True)
        try:
            return None if plain is None else from_plain(WindowPlan, plain)
        except ValueError:
            return None

    def _others(self) -> list[Policy]:
        found = (read.policy for read in policy_files())
        return [one for one in found if one and one.name != self.policy.name and one.vsphere == self.policy.vsphere]
