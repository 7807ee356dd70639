"""Sums up the checks of a fleet's guests, and tells people if a VM is inconsistent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException
from pydantic import JsonValue

from vmkeep.model.job import from_plain
from vmkeep_airflow.alarms import tell_each, wishes_about
from vmkeep_airflow.assets import ANNOUNCED, GUEST_CHECKS
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.states import require_good, task_results, task_states


class ReportGuestChecksOperator(BaseOperator):
    """Log one summary of all parts. Fail the run if a VM is inconsistent, or a point could not be checked.

    It is the last task, with ``trigger_rule="all_done"``, so that the good parts are told although another one broke.
    People are told by an event of the asset for checks of guests, and by mail, which goes to the people of the policies
    that use the repository.

    :param repository_conn_id: Airflow connection to the repository that was checked. Templated.
    :returns: the numbers, the names of the inconsistent VMs, and the summary in words.
    """

    template_fields: Sequence[str] = ("repository_conn_id",)

    def __init__(self, *, repository_conn_id: str = "vmkeep_default", **kwargs: Any) -> None:
        super().__init__(outlets=[ANNOUNCED], **kwargs)
        self.repository_conn_id = repository_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Sum up, tell people, and raise if somebody has to look."""
        from vmkeep.flows.lvm_values import LvmSummary, summed

        states = task_states(context)
        if states.get("plan") == "skipped":
            return {"skipped": True}
        results = task_results(context, ["plan", "check"])
        summary = summed(from_plain(LvmSummary, part) for part in results["check"])
        for line in summary.lines:
            self.log.info("%s", line)
        report = {**summary.document, "unread": sorted(summary.unread), "lines": list(summary.lines)}
        # Pushed by hand, because Airflow keeps no result of a task that raises.
        context["ti"].xcom_push(key="return_value", value=report)
        if summary.inconsistent or summary.unread:
            checked = dict.fromkeys(part["repository_conn_id"] for parts in results["plan"] for part in parts)
            self._tell(context, summary.names, list(summary.lines), checked)
        require_good(states, results)
        return report

    def _tell(self, context: Context, names: list[str], lines: list[str], repositories: Iterable[str]) -> None:
        """Tell the people of each repository, and fail.

        :raises AirflowFailException: always.
        """
        extra: dict[str, JsonValue] = {"run": str(context["ti"].run_id), "names": list(names), "problems": list(lines)}
        context["outlet_events"][ANNOUNCED].add(GUEST_CHECKS, extra=extra)
        subject = "vmkeep: volumes of guests that contradict themselves"
        checked = list(repositories)
        notice = Notice(kind=NoticeKind.GUESTS, about=", ".join(checked), subject=subject, lines=lines)
        wishes = [wish for name in checked for wish in wishes_about(repository=name)]
        untold = list(tell_each(wishes, notice))  # at once, so that nobody is told twice
        raise AirflowFailException("; ".join([*lines, *untold, "see the logs of the tasks check"]))
