"""Carries out a recovery plan, and shows the outcome of each VM as a task of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.errors import NotFoundError
from vmkeep.model.job import to_plain
from vmkeep.recovery import RecoveryGroup, RecoveryReport, VmOutcome, parse_moment, parse_plan
from vmkeep_airflow.dagruns import clears_of, own_dag_run
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.hooks.guest import guest_login
from vmkeep_airflow.operators.approve_recovery import ALL
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.states import require_good, task_results, task_states
from vmkeep_airflow.xcoms import handed

if TYPE_CHECKING:
    from vmkeep.flows.recovery import RecoveryTalk
    from vmkeep.flows.stopping import Stop


class RecoverSiteOperator(SiteOperator):
    """Restore all VMs of a recovery plan, group after group, and probe them. A VM that fails stops no other.

    Safe to retry: a retry goes on with everything that is not done. The task fails only if the plan as a whole cannot
    be carried out; :class:`RecoveredVmOperator` fails for each VM that is not healthy.

    :param plan: the text of the plan, as :class:`ApproveRecoveryOperator` leaves it. Templated.
    :param drill: rehearse the plan in its isolated network, and remove the VMs again. Templated.
    :param approved: names of the groups that are approved, or ``all``. The run stops before a group that needs an
        approval and has none. Templated.
    :param despite_refusals: restore the other VMs if some cannot be restored. Templated.
    :param before: no point that is younger is taken; empty: any. Templated.
    :param lost_at: the time of the disaster; empty: the start of the run. Templated.
    :param keep: a drill leaves its VMs, which :class:`CleanUpDrillOperator` removes later.
    :returns: the outcome of each VM, in the order of the groups.
    """

    template_fields: Sequence[str] = (
        *SiteOperator.template_fields, "plan", "drill", "approved", "despite_refusals", "before", "lost_at",
    )  # fmt: skip

    def __init__(
        self, *, plan: Any, drill: Any = False, approved: Any = (), despite_refusals: Any = False, before: Any = None,
        lost_at: Any = None, keep: Any = False, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.plan = plan
        self.drill = drill
        self.approved = approved
        self.despite_refusals = despite_refusals
        self.before = before
        self.lost_at = lost_at
        self.keep = keep
        self._stop: Stop | None = None

    def step(self, context: Context) -> Any:
        """Carry the plan out, and leave its report in the log."""
        from vmkeep.flows.recovery import RecoveryWishes, run_recovery
        from vmkeep.flows.stopping import Stop

        if not self.plan:
            raise AirflowFailException(
                "task approve left no plan (was it marked by hand?): clear it, and it reads the plan"
            )
        plan = parse_plan(str(self.plan), path="plan")
        for line in plan.lines:
            self.log.error("%s", line)
        plan.sound()
        self._stop = Stop()
        wishes = RecoveryWishes(
            run=recovery_of(context, drill=bool(self.drill)),
            plan=plan,
            drill=bool(self.drill),
            lost_at=parse_moment(self.lost_at) if self.lost_at else None,
            not_after=parse_moment(self.before) if self.before else None,
            despite_refusals=bool(self.despite_refusals),
            keep=bool(self.keep),
        )
        report = run_recovery(self.site(), wishes, talk=self._talk(), logins=guest_login, stop=self._stop)
        return self._told(report)

    def on_kill(self) -> None:
        """Cancel the restores that run. In a drill, its VMs are removed."""
        if self._stop is not None:
            self._stop.ask()

    def _talk(self) -> RecoveryTalk:
        from vmkeep.flows.recovery import RecoveryTalk

        approved = {*(self.approved or ())}

        def approve(group: RecoveryGroup, _vms: int) -> bool:
            return ALL in approved or group.name in approved

        def tell(outcome: VmOutcome, number: str) -> None:
            self.log.info("%s: %s: %s: %s %s", number, outcome.group, outcome.new_name, outcome.state, outcome.error)

        return RecoveryTalk(
            bars=lambda _name: lambda _event: None, announce=self.log.warning, tell=tell, approve=approve
        )

    def _told(self, report: RecoveryReport) -> list[Any]:
        self.warn(report.notes)
        self.log.info(
            "run %s: %s; RPO %s s, RTO %s s; 'vmkeep dr report' shows the report",
            report.run, report.result(report.vms), report.rpo(report.vms), report.rto(report.vms),
        )  # fmt: skip
        return [to_plain(vm) for vm in report.vms]


def recovery_of(context: Context, *, drill: bool) -> str:
    """Return the id of the recovery. A drill that is cleared begins anew. After a disaster the same run goes on."""
    return own_dag_run(context["ti"]).run_key(clears_of(context) if drill else 0)


def _drills_of(context: Context) -> list[str]:
    """Return the ids of all drills that a DAG run may have begun, because Airflow counts a clear of any task."""
    return [own_dag_run(context["ti"]).run_key(clears) for clears in range(clears_of(context) + 1)]


class CleanUpDrillOperator(SiteOperator):
    """Remove the VMs that a drill has left, because its worker died. After a disaster there is nothing to do.

    :param drill: the run is a drill. Templated.
    :returns: the number of removed VMs.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "drill")

    def __init__(self, *, drill: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drill = drill

    def step(self, context: Context) -> Any:
        """Remove them. A drill that never began has left none."""
        if not self.drill:
            return {"vms_removed": 0}
        return {"vms_removed": sum(self._removed(run) for run in _drills_of(context))}

    def _removed(self, run: str) -> int:
        from vmkeep.flows.recovery import remove_drill

        try:
            found = remove_drill(self.site(), run)
        except NotFoundError:
            return 0
        for vm in found.removed:
            self.log.warning("VM %s, left by the drill, is removed", vm)
        self.warn(found.strangers)
        found.require_complete()
        return len(found.removed)


class RecoveredVmOperator(BaseOperator):
    """Show the outcome of one VM. The task fails if the VM is not restored and healthy.

    :param outcome: a ``VmOutcome`` as a dict. Templated.
    :returns: the VM's name, state, point and probes.
    """

    template_fields: Sequence[str] = ("outcome",)

    def __init__(self, *, outcome: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outcome = outcome

    @leaving_reason
    def execute(self, context: Context) -> dict[str, Any]:
        """Log the evidence, and fail if the VM is not healthy."""
        found = handed(self.outcome, VmOutcome, by="recover")
        for probe in found.probes:
            self.log.info("%s %s: %s", "ok" if probe.succeeded else "failed", probe.probe, probe.told)
        for warning in found.warnings:
            self.log.warning("%s", warning)
        result = {"vm": found.new_name, "state": found.state.value, "point": found.point, "moref": found.moref}
        if not found.succeeded:
            context["ti"].xcom_push(
                key="return_value", value=result
            )  # because Airflow keeps no result of a task that raises
            raise AirflowFailException(f"VM {found.new_name} is {found.state}: {found.error or 'no reason is known'}")
        return result


class ReportRecoveryOperator(BaseOperator):
    """Count the VMs by their states. Fail the run if a VM is not healthy, or a task left no result.

    It is the last task, with ``trigger_rule="all_done"``, so that it reports the good results of a run that fails, too.

    :returns: the number of VMs in each state.
    """

    def execute(self, context: Context) -> dict[str, int]:
        """Count, and check all tasks."""
        left = task_results(context, ["recover", "vm"])
        outcomes = [handed(plain, VmOutcome, by="recover") for found in left["recover"] for plain in found]
        counts = dict(Counter(outcome.state.value for outcome in outcomes))
        for state, number in counts.items():
            self.log.info("%s: %d", state, number)
        try:
            require_good(task_states(context), left)
        except AirflowFailException:
            context["ti"].xcom_push(
                key="return_value", value=counts
            )  # because Airflow keeps no result of a task that raises
            raise
        return counts
