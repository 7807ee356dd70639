"""Retries and limits that several DAGs share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

MANY = 1000
"""Value for ``max_active_tasks``, so high that only pools limit the tasks at one time.

With a limit over all tasks, long disk copies could delay the removal of a snapshot.
"""

PATIENT: dict[str, Any] = {
    "retries": 6,
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
}
"""Retries of a first task, which touches nothing. They outlast the restart of a vCenter, some ten minutes.

An error that a retry cannot help still fails the task at once.
"""

ASKED_AGAIN: dict[str, Any] = {"retries": 20, "retry_exponential_backoff": 0}
"""Retries of a task that asks a person: each one asks again, and changes nothing.

Airflow loses an answer that comes before its scheduler has seen the end of the process that asked, which takes seconds
on a busy machine. It counts the try as failed. A no, and no answer in time, fail the task at once.
"""
