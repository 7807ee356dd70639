"""Says how a window ended: for every VM, and once for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.model.job import from_plain
from vmkeep.model.wording import counted
from vmkeep.policy import Due
from vmkeep_airflow.states import require_good, task_results, task_states
from vmkeep_airflow.xcoms import handed

if TYPE_CHECKING:
    from vmkeep.flows.windows import WindowPlan
    from vmkeep_airflow.windowruns import Outcome

_SHOWN = 20
"""Names that one line lists."""


class ReportWindowOperator(BaseOperator):
    """Log how many VMs were backed up, and the name of each that was not. Fail the run if there is one.

    It is the last task, with ``trigger_rule="all_done"``, so that a window that broke is reported, too.

    :param plan: the ``WindowPlan``, from ``plan``. Templated.
    :param started: the result of ``start_backups``. Templated.
    :returns: the names of VMs, by how their backups ended.
    """

    template_fields: Sequence[str] = ("plan", "started")

    def __init__(self, *, plan: Any, started: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.started = started

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the report, and raise if somebody has to look."""
        from vmkeep.flows.windows import WindowPlan
        from vmkeep_airflow.windowruns import Outcome

        before = sorted(self.get_flat_relative_ids(upstream=True))
        require_good(task_states(context), task_results(context, before))
        plan = handed(self.plan, WindowPlan, by="plan")
        outcomes = [from_plain(Outcome, each) for each in self.started["outcomes"]]
        report = report_of(plan, outcomes)
        for line in lines_of(report):
            self.log.info("%s", line)
        # Pushed by hand, because Airflow keeps no result of a task that raises.
        context["ti"].xcom_push(key="return_value", value=report)
        if problems := list(problems_of(plan, report)):
            raise AirflowFailException(f"window {plan.stamp} of policy {plan.policy}: {'; '.join(problems)}")
        return report


def report_of(plan: WindowPlan, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the names of VMs, by how their backups ended; those that cannot be backed up, and those of no policy."""
    by_ending: dict[str, list[str]] = {"done": [], "failed": [], "not started": [], "running": []}
    for outcome in outcomes:
        by_ending[outcome.ending].append(outcome.name)
    if plan.due is Due.MISSED:
        by_ending["not started"] = [vm.name for vm in plan.vms]
    return {
        "policy": plan.policy,
        "window": plan.stamp,
        "due": plan.due.value,
        **by_ending,
        "left out": [f"{vm.name}: {vm.why}" for vm in plan.left_out],
        "newly found": list(plan.newly_found),
        "vanished": list(plan.vanished),
        "unprotected": list(plan.unprotected),
        "conflicts": list(plan.conflicts),
    }


def lines_of(report: dict[str, Any]) -> Iterator[str]:
    """Yield the report as lines of a log, every name included."""
    for word, value in report.items():
        if isinstance(value, list):
            yield f"{word}: {len(value)}{': ' if value else ''}{', '.join(value)}"
        else:
            yield f"{word}: {value}"


def problems_of(plan: WindowPlan, report: dict[str, Any]) -> Iterator[str]:
    """Yield the reasons why somebody has to look: VMs of the policy that have no new restore point."""
    if plan.due is Due.MISSED:
        yield "it was missed, and the policy does not catch up"
    if plan.due is not Due.SUPERSEDED and not plan.vms:
        yield "the policy takes no VM that can be backed up: see 'vmkeep policy explain'"
    for word in ("failed", "not started", "running"):
        if names := report[word]:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            yield f"{counted(len(names), 'VM')} {word}: {', '.join(names[:_SHOWN])}{more}"
