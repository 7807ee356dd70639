"""Turns the engine's errors into Airflow's, in this one place: a retry helps some, and not others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from vmkeep.errors import Recovery, VmKeepError


@contextmanager
def airflow_failures() -> Iterator[None]:
    """Turn a ``VmKeepError`` into Airflow's answer to it.

    ``RETRY`` uses the task's retries. ``RESTART`` and ``STOP`` fail at once: the same task with the same input
    would fail again, hours later.
    """
    try:
        yield
    except VmKeepError as error:
        if error.recovery is Recovery.RETRY:
            raise AirflowException(str(error)) from error
        if error.recovery is Recovery.RESTART:
            raise AirflowFailException(f"{error}. The plan is stale: trigger a new run.") from error
        raise AirflowFailException(str(error)) from error
