"""Looks for windows that did not open, and tells people of each once."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError

from vmkeep.clock import now
from vmkeep.errors import TransientError
from vmkeep.policy import Notifications, NotifyWhen
from vmkeep_airflow.alarms import tell_each
from vmkeep_airflow.assets import ANNOUNCED, WINDOWS
from vmkeep_airflow.dagruns import status_of
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.missedwindows import KEY, Memory, Missed, WindowDags, by_people, look, untold
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.policies import PREFIX, policy_files
from vmkeep_airflow.states import PROBLEMS


class FindMissedWindowsOperator(BaseOperator):
    """Name each window whose opening has begun no run, and tell the people of its policy, once for each window.

    It asks Airflow alone, neither a vCenter nor a repository. Windows of which not everybody could be told are told
    again by the next look. Airflow keeps the memory beside the asset ``vmkeep_windows``, where each look finds it, by
    schedule or by hand. It ends well also if it finds some, because Airflow drops the events of a task that fails: the
    problems are left for a later task.

    :returns: the new windows that did not open, in words, by policy.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(inlets=[WINDOWS], outlets=[ANNOUNCED], **kwargs)

    @leaving_reason
    def execute(self, context: Context) -> dict[str, Any]:
        """Look at the last window of each policy, and tell people."""
        ti: Any = context["ti"]
        files = policy_files()
        store = context["asset_state_store"][WINDOWS]
        earlier = Memory.from_plain(store.get(KEY))
        dags = WindowDags(
            is_on=lambda policy: _is_on(ti, policy),
            has_run=lambda policy, opens_at: _has_run(ti, policy, opens_at),
            waits=lambda policy, opens_at: _has_run(ti, policy, opens_at, states=["queued"]),
        )
        missed, memory = look(files, earlier, dags, now())
        everybody = [read.policy.notifications for read in files if read.policy is not None]
        why: list[str] = []
        for some, wishes in by_people(missed, everybody):
            failed = self._tell(context, some, wishes)
            why += failed
            memory = untold(memory, some) if failed else memory
        self.log.info("policies that were looked at: %d", len(files))
        problems = [*map(_line, missed), *why]
        for line in problems:
            self.log.error("%s", line)
        ti.xcom_push(key=PROBLEMS, value=problems)
        # Last, because a try that ends before has told nobody for sure: to be told twice is the lesser evil.
        store.set(KEY, memory.to_plain())
        return {each.policy: each.why for each in missed}

    def _tell(self, context: Context, some: list[Missed], wishes: list[Notifications]) -> list[str]:
        """Tell one circle of people. Return why some were not reached."""
        if all(wish.when is NotifyWhen.NEVER for wish in wishes):
            return []
        names = sorted(each.policy for each in some)
        for each in some:
            context["outlet_events"][ANNOUNCED].add(
                WINDOWS, extra={"policy": each.policy, "run": context["ti"].run_id, "problems": [each.why], "vms": {}}
            )
        about = names[0] if len(names) == 1 else f"{len(names)} policies"
        subject = f"vmkeep: {about}: windows did not open"
        lines = [_line(each) for each in some]
        return list(tell_each(wishes, Notice(kind=NoticeKind.UNOPENED, about=about, subject=subject, lines=lines)))


def _line(missed: Missed) -> str:
    return f"policy {missed.policy}: {missed.why}"


def _is_on(ti: Any, policy: str) -> bool | None:
    try:
        return not ti.get_dag(f"{PREFIX}{policy}").is_paused
    except (AirflowRuntimeError, ServerResponseError) as error:
        if status_of(error) == HTTPStatus.NOT_FOUND:
            return None
        raise TransientError(f"Airflow does not tell whether the windows of {policy} open: {error}") from error


def _has_run(ti: Any, policy: str, opens_at: datetime | None, *, states: list[str] | None = None) -> bool:
    try:
        dates = None if opens_at is None else [opens_at]
        return bool(ti.get_dr_count(dag_id=f"{PREFIX}{policy}", logical_dates=dates, states=states))
    except (AirflowRuntimeError, ServerResponseError) as error:
        raise TransientError(f"Airflow does not tell the runs of the windows of {policy}: {error}") from error
