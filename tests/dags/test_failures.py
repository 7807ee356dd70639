"""Answer of a task to an error of the engine."""

from __future__ import annotations

import traceback
from contextlib import suppress
from importlib import import_module
from types import SimpleNamespace

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowRuntimeError,
    ErrorType,
)
from airflow.sdk.execution_time.comms import ErrorResponse

from vmkeep.clock import now
from vmkeep.errors import (
    CancelledError,
    CorruptBlockError,
    LimitReachedError,
    NotFoundError,
    StaleError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from vmkeep_airflow.causes import KEY, REASON, causes_of
from vmkeep_airflow.dagruns import DagRunId
from vmkeep_airflow.failures import airflow_failures, leaving_reason
from vmkeep_airflow.operators.base import RepositoryOperator
from vmkeep_airflow.provider import get_provider_info

LAST_OR_BASE = {
    *("AskingOperator", "AskingAboutVmOperator"),
    *("CloseRunOperator", "FaultyPolicyOperator", "ReportOperator", "ReportRecoveryOperator", "ReportWindowOperator"),
}
RUN = DagRunId(dag_id="vm_backup", run_id="r")


def test_an_error_that_may_pass_is_retried():
    with pytest.raises(AirflowException, match="no answer") as caught, airflow_failures():
        raise UnreachableError("no answer from vc")
    assert not isinstance(caught.value, AirflowFailException)


def test_an_error_that_a_person_has_to_solve_is_not_retried():
    with pytest.raises(AirflowFailException, match="no VM"), airflow_failures():
        raise NotFoundError("no VM named 'x'")


@pytest.mark.parametrize(
    ("error", "has_traceback"),
    [
        (NotFoundError("no VM named 'x'"), False),
        (UsageError("no VM named 'x'"), False),
        (UnsupportedError("no VM named 'x'"), False),
        (CorruptBlockError(pack="packs/1", offset=7), True),
        (UnreachableError("no answer"), True),
    ],
)
def test_a_line_of_the_log_tells_why_a_task_failed_and_a_mistake_in_what_was_asked_has_no_traceback_of_the_engine(
    caplog, error, has_traceback
):
    with pytest.raises(AirflowException) as caught, airflow_failures():
        raise error
    assert [line.getMessage() for line in caplog.records if line.levelname == "ERROR"] == [str(error)]
    shown = "".join(traceback.format_exception(caught.value))
    assert (f"vmkeep.errors.{type(error).__name__}" in shown) is has_traceback
    assert str(caught.value) == str(error)


def test_a_task_that_fails_by_itself_tells_its_reason_in_a_line_of_the_log(caplog):
    with pytest.raises(AirflowFailException), airflow_failures():
        raise AirflowFailException("task plan left no result")
    assert "task plan left no result" in [line.getMessage() for line in caplog.records]


def test_a_stale_plan_is_not_retried_but_started_again():
    with pytest.raises(AirflowFailException, match="trigger a new run"), airflow_failures():
        raise StaleError("the snapshot is gone")


def test_a_task_without_room_within_a_limit_is_started_again_later_and_uses_no_retry():
    with pytest.raises(AirflowRescheduleException) as caught, airflow_failures():
        raise LimitReachedError("waits for NFC sessions of host esx1", again_after=30)
    assert caught.value.reschedule_date > now()


class TaskInstance:
    """A task in one of its tries, which keeps what is pushed."""

    def __init__(self, *, try_number: int, dag_id: str = "vm_backup") -> None:
        self.dag_id, self.task_id = dag_id, "copy_disk"
        self.try_number = try_number
        self.max_tries = 2
        self.pushed: dict[str, object] = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


@pytest.mark.parametrize(
    ("error", "try_number", "left"),
    [
        (StaleError("the VM was switched on"), 1, {"recovery": "restart", "why": "the VM was switched on"}),
        (NotFoundError("no VM named 'x'"), 1, {"recovery": "stop", "why": "no VM named 'x'"}),
        (UnreachableError("no answer"), 2, None),
        (UnreachableError("no answer"), 3, {"recovery": "retry", "why": "no answer"}),
        (CancelledError("told to stop"), 3, None),
        (LimitReachedError("waits", again_after=1), 3, None),
    ],
)
def test_a_task_leaves_the_cause_of_its_failure_unless_it_is_tried_again_or_somebody_stopped_it(
    error, try_number, left
):
    ti = TaskInstance(try_number=try_number)
    with pytest.raises((AirflowException, AirflowRescheduleException)), airflow_failures(ti):
        raise error
    assert (ti.pushed.get("failure") or None) == left


@pytest.mark.parametrize(("try_number", "leaves"), [(1, False), (2, False), (3, True)])
def test_a_task_that_is_killed_in_its_last_try_has_left_a_cause_that_a_fresh_start_heals(try_number, leaves):
    """A killed process does nothing more, so that the XCom is what it was while the task worked."""
    ti = TaskInstance(try_number=try_number)
    with airflow_failures(ti):
        left = ti.pushed.get("failure")
    assert (left is not None) == leaves
    if leaves:
        assert left["recovery"] == "retry"
        assert left["why"].startswith("task copy_disk was killed in its last try")


@pytest.mark.parametrize(
    "end", [None, ZeroDivisionError(), AirflowFailException("stopped"), SystemExit(), StaleError("x")]
)
def test_a_task_that_ends_in_its_last_try_does_not_count_as_killed_however_it_ends(end):
    ti = TaskInstance(try_number=3)
    with suppress(BaseException), airflow_failures(ti):
        if end is not None:
            raise end
    found = causes_of(
        SimpleNamespace(xcom_pull=lambda **_: [ti.pushed.get("failure"), None]), RUN, ["copy_disk", "verify"]
    )
    assert [cause.why for cause in found] == (["x"] if isinstance(end, StaleError) else [])


def test_a_task_of_a_dag_that_no_window_starts_leaves_nothing_ahead():
    ti = TaskInstance(try_number=3, dag_id="vm_restore")
    with airflow_failures(ti):
        assert ti.pushed == {}
    assert ti.pushed == {}


def test_a_task_works_also_when_its_cause_cannot_be_left_ahead(monkeypatch):
    ti, done = TaskInstance(try_number=3), []
    refused = AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 503}))

    def refuse(key, value):
        raise refused

    monkeypatch.setattr(ti, "xcom_push", refuse)
    with airflow_failures(ti):
        done.append("worked")
    assert done == ["worked"]


def test_other_errors_are_left_to_airflow():
    with pytest.raises(ZeroDivisionError), airflow_failures():
        raise ZeroDivisionError


def layers(method):
    """Yield a method and the functions that decorators have put it around."""
    while method is not None:
        yield method
        method = getattr(method, "__wrapped__", None)


def test_every_task_but_the_last_of_a_run_leaves_the_reason_of_its_failure_for_the_note():
    """A last task fails because of others. The steps of a ``RepositoryOperator`` have one ``execute``."""
    decorated = leaving_reason(print).__code__
    modules = [name for each in get_provider_info()["operators"] for name in each["python-modules"]]
    found = {each for name in modules for each in vars(import_module(name)).values() if isinstance(each, type)}
    own = [each for each in found if issubclass(each, BaseOperator) and each.__module__ in modules]
    asked = [each for each in own if not issubclass(each, RepositoryOperator) and each.__name__ not in LAST_OR_BASE]
    assert len(asked) > 10
    missing = [
        f"{operator.__name__}.{name}"
        for operator in asked
        for name in ("execute", "execute_complete")
        if hasattr(operator, name) and decorated not in {each.__code__ for each in layers(getattr(operator, name))}
    ]
    assert missing == []


def test_a_task_that_fails_by_itself_leaves_its_reason_for_the_note_and_no_cause_for_a_window():
    ti = TaskInstance(try_number=3)
    with pytest.raises(AirflowFailException), airflow_failures(ti):
        raise AirflowFailException("stopped, because the window closed")
    assert (ti.pushed[REASON], ti.pushed[KEY]) == ("stopped, because the window closed", {})
