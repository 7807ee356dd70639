"""Says how a window ended: for every VM, and once for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep_airflow.windowreports import lines_of, look


class ReportWindowOperator(BaseOperator):
    """Log how many VMs were backed up, and the name of each that was not. Fail the run if there is one.

    It is the last task, with ``trigger_rule="all_done"``, so that a window that broke is reported, too.

    :param plan: the ``WindowPlan``, from ``plan``. Templated.
    :param started: the result of ``start_backups``. Templated.
    :param notified: the result of ``notify``; without one the run fails, because nobody was told. Templated.
    :param copies: the second repositories to which the task ``copies`` brings points.
    :returns: the names of VMs, by how their backups ended.
    """

    template_fields: Sequence[str] = ("plan", "started", "notified")

    def __init__(self, *, plan: Any, started: Any, notified: Any, copies: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.started = started
        self.notified = notified
        self.copies = tuple(copies)

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the report, and raise if somebody has to look."""
        report, problems = look(context, self.plan, self.started, self.copies)
        for line in lines_of(report):
            self.log.info("%s", line)
        # Pushed by hand, because Airflow keeps no result of a task that raises.
        context["ti"].xcom_push(key="return_value", value=report)
        if self.notified is None:
            problems.append("not everybody was notified of it (see the log of task notify)")
        else:
            problems += self.notified.get("untold", [])
        if problems:
            raise AirflowFailException(f"window {report['window']} of policy {report['policy']}: {'; '.join(problems)}")
        return report
