"""Asking a person before a VM is overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from vmkeep.flows.values import OnConflict, RestorePlan
from vmkeep.model.job import from_plain


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
            body="",
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
        self.body = _question(from_plain(RestorePlan, self.plan))
        return super().execute(context)


def _question(plan: RestorePlan) -> str:
    """Say what goes where, with everything that tells a VM from another one of its name."""
    over = plan.over.in_full if plan.over else f"VM {plan.target_name} ({plan.target})"
    notes = "".join(f"\n- {warning}" for warning in plan.warnings)
    return (
        f"Restore point `{plan.point}` was taken of\n\n{plan.vm.in_full}\n\nand is written over the disks of\n\n"
        f"**{over}**\n\nWhat they hold now is lost.{notes and chr(10) + notes}"
    )
