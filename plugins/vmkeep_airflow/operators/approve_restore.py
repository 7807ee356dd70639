"""Asking a person before a VM is overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from vmkeep.flows.values import OnConflict


class ApproveRestoreOperator(ApprovalOperator):
    """Wait for a person's yes where ``on_conflict`` is ``prompt`` and the target exists; else pass on at once.

    A rejection fails the run; nothing was changed by then.

    A plan with nothing to do (``keep`` met an existing VM) skips everything that follows.

    :param plan: a ``RestorePlan`` as a dict. Templated.
    :param on_conflict: an ``OnConflict``. Templated.
    """

    template_fields: Sequence[str] = ("subject", "body", "plan", "on_conflict")

    def __init__(self, *, plan: Any, on_conflict: str, **kwargs: Any) -> None:
        super().__init__(
            subject="Overwrite {{ task.plan['target_name'] }}?",
            body="Restore point `{{ task.plan['point'] }}` is written over the disks of VM "
            "**{{ task.plan['target_name'] }}**. What they hold now is lost.",
            fail_on_reject=True,
            **kwargs,
        )
        self.plan = plan
        self.on_conflict = on_conflict

    def execute(self, context: Context) -> Any:
        """Ask, or pass on."""
        if self.plan["nothing_to_do"]:
            context["ti"].xcom_push(key="return_value", value={"kept": True})  # tells it from a skip by hand
            raise AirflowSkipException(f"VM {self.plan['target_name']} exists and is kept as it is")
        if self.plan["target"] is None or self.on_conflict != OnConflict.PROMPT:
            self.log.info("nobody has to be asked: %s", self.on_conflict)
            return {"asked": False}
        return super().execute(context)
