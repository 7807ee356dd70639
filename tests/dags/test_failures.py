"""What a task does about an engine's error."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRescheduleException

from vmkeep.clock import now
from vmkeep.errors import CancelledError, LimitReachedError, NotFoundError, StaleError, UnreachableError
from vmkeep_airflow.failures import airflow_failures


def test_an_error_that_may_pass_is_retried():
    with pytest.raises(AirflowException, match="no answer") as caught, airflow_failures():
        raise UnreachableError("no answer from vc")
    assert not isinstance(caught.value, AirflowFailException)


def test_an_error_that_a_person_has_to_solve_is_not_retried():
    with pytest.raises(AirflowFailException, match="no VM"), airflow_failures():
        raise NotFoundError("no VM named 'x'")


def test_a_stale_plan_is_not_retried_but_started_again():
    with pytest.raises(AirflowFailException, match="trigger a new run"), airflow_failures():
        raise StaleError("the snapshot is gone")


def test_a_task_without_room_within_a_limit_is_started_again_later_and_uses_no_retry():
    with pytest.raises(AirflowRescheduleException) as caught, airflow_failures():
        raise LimitReachedError("waits for NFC sessions of host esx1", again_after=30)
    assert caught.value.reschedule_date > now()


class TaskInstance:
    """A task in one of its tries, which keeps what is pushed."""

    def __init__(self, *, try_number: int) -> None:
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
    assert ti.pushed.get("failure") == left


def test_other_errors_are_left_to_airflow():
    with pytest.raises(ZeroDivisionError), airflow_failures():
        raise ZeroDivisionError
