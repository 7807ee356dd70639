"""Looks for the VMs of a policy when its window opens."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context, TaskInstanceState
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError

from vmkeep.clock import now
from vmkeep.errors import TransientError
from vmkeep.model.job import from_plain, to_plain
from vmkeep.policy import Due, Policy
from vmkeep_airflow.dagruns import clears_of, status_of
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.policies import PREFIX, policy_files
from vmkeep_airflow.proxies import reaches

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
        others = self._others()
        opened_at = run.run_after if by_hand else run.logical_date
        plan = plan_window(
            self.site(),
            self.policy,
            others,
            opened_at=opened_at,
            by_hand=by_hand,
            again=clears_of(context) > 0,
            now=now(),
            reaches=reaches(),
            asleep=[other.name for other in others if not opens(context["ti"], other.name)],
        )
        self.warn([f"{vm.name} ({vm.moref}) is left out: {vm.why}" for vm in plan.left_out])
        for vm in plan.elsewhere:
            self.log.info("%s (%s) is left to the policy %s, which comes first", vm.name, vm.moref, vm.policy)
        if plan.due is not Due.OPEN:
            self.log.warning("the window %s is %s", plan.stamp, plan.due)
        self.log.info("%s VMs, from %s until %s", len(plan.vms), plan.opens_at, plan.closes_at)
        return to_plain(compared_with(plan, self._earlier(context["ti"], opened_at)))

    def _earlier(self, ti: Any, opened_at: datetime) -> WindowPlan | None:
        """Return the plan of the last window that opened by itself; ``None``: there is none that this version reads.

        Airflow is asked for that one run, because it returns the results of all earlier runs together otherwise, and
        runs without a logical date at a place that depends on its database.
        """
        from vmkeep.flows.windows import WindowPlan

        before = ti.get_previous_ti(state=TaskInstanceState.SUCCESS, logical_date=opened_at)
        plain = None if before is None else ti.xcom_pull(task_ids=self.task_id, run_id=before.run_id)
        try:
            return None if plain is None else from_plain(WindowPlan, plain)
        except ValueError:
            return None

    def _others(self) -> list[Policy]:
        found = (read.policy for read in policy_files())
        return [one for one in found if one and one.name != self.policy.name and one.vsphere == self.policy.vsphere]


def opens(ti: Any, policy: str) -> bool:
    """Return whether the windows of a policy open: Airflow has its DAG, and the DAG is switched on."""
    try:
        return not ti.get_dag(f"{PREFIX}{policy}").is_paused
    except (AirflowRuntimeError, ServerResponseError) as error:
        if status_of(error) == HTTPStatus.NOT_FOUND:
            return False
        raise TransientError(f"Airflow does not tell whether the windows of {policy} open: {error}") from error
