"""Notifies people of a window, once, when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.model.wording import counted
from vmkeep.policy import Notifications, NotifyWhen
from vmkeep_airflow.alarms import tell_in_tries
from vmkeep_airflow.assets import ANNOUNCED, WINDOW_ENDS, WINDOWS, window_ends_of
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.metrics import send_window
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.windowreports import lines_of, look


class NotifyWindowOperator(BaseOperator):
    """Tell people how a window ended, if the policy wants that: by its notifiers, and by an event of the asset.

    It has ``trigger_rule="all_done"``, so that people are told of a window that broke, too. A try that reaches nobody
    is tried again; one that reaches some people is not, because these would get a second mail. The last try ends well
    also if people were not reached, because Airflow drops the events of a task that fails: ``report`` fails then.

    :param policy: name of the policy.
    :param wish: when the policy wants people told, and whom.
    :param plan: the ``WindowPlan``, from ``plan``. Templated.
    :param started: the result of ``start_backups``. Templated.
    :param copies: the second repositories to which the task ``copies`` brings points.
    :returns: whether people were told, the addresses to which mail was sent, and why some people were not reached.
    """

    template_fields: Sequence[str] = ("plan", "started")

    def __init__(
        self, *, policy: str, wish: Notifications, plan: Any, started: Any, copies: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(outlets=[ANNOUNCED], **kwargs)
        self.policy = policy
        self.wish = wish
        self.plan = plan
        self.started = started
        self.copies = tuple(copies)

    @leaving_reason
    def execute(self, context: Context) -> dict[str, Any]:
        """Look at the window, and tell people of it."""
        wish = self.wish
        run = str(context["ti"].run_id)
        for asset in (WINDOW_ENDS, window_ends_of(self.policy)):
            context["outlet_events"][ANNOUNCED].add(asset, extra={"policy": self.policy, "run": run})
        try:
            report, problems = look(context, self.plan, self.started, self.copies)
        except AirflowFailException as broken:
            report, problems = {"policy": self.policy}, [str(broken)]
        send_window(self.policy, report)
        if wish.when is NotifyWhen.NEVER or (wish.when is NotifyWhen.PROBLEMS and not problems):
            self.log.info("nobody is notified: %s, and the policy says %s", _summary(problems), wish.when)
            return {"told": False, "mail": [], "untold": []}
        lines = [f"window: {self.dag_id}, run {run}", *problems, "", *lines_of(report)]
        subject = f"vmkeep: {self.policy}: {_summary(problems)}"
        notice = Notice(kind=NoticeKind.WINDOW, about=self.policy, subject=subject, lines=lines)
        mail, untold = tell_in_tries(context["ti"], [wish], notice)
        for line in untold:
            self.log.error("%s", line)
        if not untold and (ways := [*mail, *wish.notifiers]):
            self.log.info("people were told: %s", ", ".join(ways))
        counts = {word: len(value) for word, value in report.items() if isinstance(value, list)}
        extra: dict[str, Any] = {"policy": self.policy, "run": run, "problems": problems, "vms": counts}
        context["outlet_events"][ANNOUNCED].add(WINDOWS, extra=extra)
        return {"told": not untold, "mail": list(mail), "untold": untold}


def _summary(problems: Sequence[str]) -> str:
    return counted(len(problems), "problem") if problems else "no problem"
