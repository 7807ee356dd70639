"""What a task does about an engine's error."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRescheduleException

from vmkeep.clock import now
from vmkeep.errors import LimitReachedError, NotFoundError, StaleError, UnreachableError
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


def test_other_errors_are_left_to_airflow():
    with pytest.raises(ZeroDivisionError), airflow_failures():
        raise ZeroDivisionError
