"""Stands for the tasks of a window whose policy file has faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException


class FaultyPolicyOperator(BaseOperator):
    """Fail with the faults of a policy file, and be tried again, because somebody may mend the file meanwhile.

    :param faults: each fault with file, line and column.
    """

    def __init__(self, *, faults: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.faults = tuple(faults)

    def execute(self, context: Context) -> None:
        """Name the faults."""
        raise AirflowException("\n".join(["the policy file has faults, so nothing is backed up by it:", *self.faults]))
