"""Sums up the checks of a fleet's guests, and tells people if a VM is inconsistent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from pydantic import JsonValue

from vmkeep.model.job import from_plain
from vmkeep_airflow.alarms import tell_each, wishes_about
from vmkeep_airflow.assets import ANNOUNCED, GUEST_CHECKS
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.states import PROBLEMS, task_results, task_states


class TellGuestChecksOperator(BaseOperator):
    """Log one summary of all parts, and tell people if a VM is inconsistent, a point unchecked, or its outcome lost.

    It has ``trigger_rule="all_done"``, so that the good parts are told although another one broke. People are told by
    an event of the asset for checks of guests, and by mail, which goes to the people of the policies that use the
    repository. It ends well also then, because Airflow drops the events of a task that fails: the problems are left for
    a later task, and so are parts that broke.

    :param repository_conn_id: Airflow connection to the repository that was checked. Templated.
    :returns: the numbers, the names of the inconsistent VMs, and the summary in words.
    """

    template_fields: Sequence[str] = ("repository_conn_id",)

    def __init__(self, *, repository_conn_id: str = "vmkeep_default", **kwargs: Any) -> None:
        super().__init__(outlets=[ANNOUNCED], **kwargs)
        self.repository_conn_id = repository_conn_id

    @leaving_reason
    def execute(self, context: Context) -> dict[str, Any]:
        """Sum up, tell people, and leave the problems for a later task."""
        from vmkeep.flows.lvm_values import LvmSummary, summed

        states = task_states(context)
        if states.get("plan") == "skipped":
            return {"skipped": True}
        results = task_results(context, ["plan", "check"])
        summary = summed(from_plain(LvmSummary, part) for part in results["check"])
        for line in summary.lines:
            self.log.info("%s", line)
        report = {**summary.document, "unread": sorted(summary.unread), "lines": list(summary.lines)}
        if summary.inconsistent or summary.unread or summary.unkept:
            checked = dict.fromkeys(part["repository_conn_id"] for parts in results["plan"] for part in parts)
            problems = self._tell(context, summary.names, list(summary.lines), checked)
            context["ti"].xcom_push(key=PROBLEMS, value=problems)
        return report

    def _tell(self, context: Context, names: list[str], lines: list[str], repositories: Iterable[str]) -> list[str]:
        """Tell the people of each repository. Return the problems, and why some people were not reached."""
        extra: dict[str, JsonValue] = {"run": str(context["ti"].run_id), "names": list(names), "problems": list(lines)}
        context["outlet_events"][ANNOUNCED].add(GUEST_CHECKS, extra=extra)
        subject = "vmkeep: volumes of guests that contradict themselves"
        checked = list(repositories)
        notice = Notice(kind=NoticeKind.GUESTS, about=", ".join(checked), subject=subject, lines=lines)
        wishes = [wish for name in checked for wish in wishes_about(repository=name)]
        untold = list(tell_each(wishes, notice))  # at once, so that nobody is told twice
        return [*lines, *untold, "see the logs of the tasks check"]
