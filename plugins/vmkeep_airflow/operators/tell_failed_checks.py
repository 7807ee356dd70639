"""Tells people of restore points that did not pass their checks."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context

from vmkeep.model.wording import counted
from vmkeep.policy import Notifications, NotifyWhen
from vmkeep_airflow.alarms import tell_in_tries
from vmkeep_airflow.assets import ANNOUNCED, WINDOWS
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.states import GOOD, PROBLEMS, task_results, task_states

_SHOWN = 50
"""Problems that a mail lists."""


class TellFailedChecksOperator(BaseOperator):
    """Tell people of points that did not pass, or could not be checked: by mail, and by an event of the windows' asset.

    It has ``trigger_rule="all_done"``, because the tasks before fail if a point does not pass. Its last try ends well
    also if people were not reached, because Airflow drops the events of a task that fails: that problem is left for a
    later task.

    :param policy: name of the policy.
    :param wish: whom the policy wants told. Nobody is told of a run in which all points passed.
    :param of: id of the mapped task that checks the points.
    :returns: the numbers of ``points``, of those that ``failed``, and of those that are ``undecided``, and the
        addresses to which ``mail`` was sent.
    """

    def __init__(self, *, policy: str, wish: Notifications, of: str, **kwargs: Any) -> None:
        super().__init__(outlets=[ANNOUNCED], **kwargs)
        self.policy = policy
        self.wish = wish
        self.of = of

    @leaving_reason
    def execute(self, context: Context) -> dict[str, Any]:
        """Look at the outcomes, and tell people if one is bad."""
        results = task_results(context, [self.of])[self.of]
        bad = [line for result in results for line in _lines(result, "failed")]
        undecided = [line for result in results for line in _lines(result, "undecided")]
        states = {task: state for task, state in task_states(context).items() if task.rpartition("_")[0] == self.of}
        lost = sum(state not in {*GOOD, "skipped"} for state in states.values()) - len({line[0] for line in bad})
        problems = [text for _, text in bad]
        if lost > 0:
            problems.append(f"{counted(lost, 'point')} could not be checked: see the tasks {self.of} that are red")
        for line in (*problems, *(text for _, text in undecided)):
            self.log.warning("%s", line)
        mail, untold = self._tell(context, problems) if problems else ((), [])
        for line in untold:
            self.log.error("%s", line)
        context["ti"].xcom_push(key=PROBLEMS, value=untold)
        return {"points": len(results), "failed": len(bad), "undecided": len(undecided), "mail": list(mail)}

    def _tell(self, context: Context, problems: list[str]) -> tuple[tuple[str, ...], list[str]]:
        if self.wish.when is NotifyWhen.NEVER:
            return (), []
        dag, run = str(context["ti"].dag_id), str(context["ti"].run_id)
        extra: dict[str, Any] = {"policy": self.policy, "run": run, "problems": problems[:_SHOWN], "vms": {}}
        context["outlet_events"][ANNOUNCED].add(WINDOWS, extra=extra)
        subject = f"vmkeep: {self.policy}: {counted(len(problems), 'restore point')} did not pass a check"
        lines = [f"checks: {dag}, run {run}", *problems[:_SHOWN]]
        notice = Notice(kind=NoticeKind.CHECKS, about=self.policy, subject=subject, lines=lines)
        return tell_in_tries(context["ti"], [self.wish], notice)


def _lines(result: dict[str, Any], outcome: str) -> list[tuple[str, str]]:
    """Return the point, and the outcome in words, of each check of a point that ended so."""
    return [
        (result["point"], f"{result['vm']}, {result['point']}: {check['kind']} {outcome}: {check['text']}")
        for check in result["checks"]
        if check["result"] == outcome
    ]
