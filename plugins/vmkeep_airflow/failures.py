"""Turns the engine's errors into Airflow's errors: those that a retry can help, and those that it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from vmkeep.errors import Recovery, VmKeepError


@contextmanager
def airflow_failures() -> Iterator[None]:
    """Turn a ``VmKeepError`` of the body into Airflow's error, by its ``recovery``.

    ``RETRY`` uses the task's retries. ``RESTART`` and ``STOP`` fail the task at once, because the same task with the
    same input would fail again hours later.
    """
    try:
        yield
    except VmKeepError as error:
        if error.recovery is Recovery.RETRY:
            raise AirflowException(str(error)) from error
        if error.recovery is Recovery.RESTART:
            raise AirflowFailException(f"{error}. The plan is stale: trigger a new run.") from error
        raise AirflowFailException(str(error)) from error
