"""Retries and limits that several DAGs share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

MANY = 1000
"""For ``max_active_tasks``: pools limit what runs at the same time. A limit over all tasks would let long copies
keep the removal of a snapshot waiting."""

PATIENT: dict[str, Any] = {
    "retries": 6,
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
}
"""For a first task, which touches nothing: it outlives the restart of a vCenter, some ten minutes. An error
that does not pass by itself fails at once all the same."""
