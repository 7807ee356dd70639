"""Asks a person before a VM is overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput

from vmkeep.flows.restore_request import OnConflict
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.model.job import to_plain
from vmkeep_airflow.steps import Approval
from vmkeep_airflow.xcoms import handed


class ApproveRestoreOperator(ApprovalOperator):
    """Wait for a person's approval if ``on_conflict`` is ``prompt`` and the target exists. Otherwise pass at once.

    The approval is for the plan that was shown, and for no other. If the plan is made anew while the question is open,
    the answer fails the run. A rejection fails the run too. Nothing is changed before the approval.

    If the plan has nothing to do, because the VM exists and is kept, or if only a plan was asked for, all later tasks
    are skipped.

    :param plan: a ``RestorePlan`` as a dict. Templated.
    :param on_conflict: an ``OnConflict``. Templated.
    :returns: the ``Approval`` as a dict.
    """

    template_fields: Sequence[str] = ("plan", "on_conflict")

    def __init__(self, *, plan: Any, on_conflict: Any, **kwargs: Any) -> None:
        super().__init__(subject="Overwrite a VM?", body="", fail_on_reject=True, **kwargs)
        self.plan = plan
        self.on_conflict = on_conflict

    def execute(self, context: Context) -> Any:
        """Ask a person, or pass at once."""
        from vmkeep.flows.restore_ledger import plan_id

        plan = handed(self.plan, RestorePlan, by="plan")
        if plan.nothing_to_do:
            context["ti"].xcom_push(
                key="return_value", value={"kept": True}
            )  # because a task that was skipped by hand leaves no result
            raise AirflowSkipException(f"VM {plan.target_name} exists and is kept as it is")
        if plan.request.dry_run:
            context["ti"].xcom_push(key="return_value", value={"dry_run": True})
            raise AirflowSkipException(f"only the plan for VM {plan.target_name} was asked for: see task plan")
        if plan.target is None or self.on_conflict != OnConflict.PROMPT:
            self.log.info("nobody has to be asked: %s", self.on_conflict)
            return to_plain(Approval(plan=plan_id(plan), asked=False))
        self.subject = f"Overwrite {plan.target_name}?"
        self.body = _question(plan)
        try:
            return super().execute(context)
        except TaskAwaitingInput as waiting:
            waiting.kwargs = {"shown": plan_id(plan)}  # it comes back with the answer, maybe hours later
            raise

    def execute_complete(self, context: Context, event: dict[str, Any], shown: str = "") -> Any:
        """Take the answer to the question that was shown."""
        from vmkeep.flows.restore_ledger import plan_id

        answer = super().execute_complete(context, event)
        plan = handed(self.plan, RestorePlan, by="plan")
        if plan_id(plan) != shown:
            raise AirflowFailException(
                f"the plan for VM {plan.target_name} was made anew while the question stood, and nobody has seen it: "
                "trigger a new run"
            )
        user = answer["responded_by_user"] or {}
        return to_plain(Approval(plan=shown, asked=True, by=str(user.get("name", ""))))


def _question(plan: RestorePlan) -> str:
    """Return the plan in words, as preformatted lines, because a VM's name may look like Markdown."""
    from vmkeep.flows.restore_wording import plan_lines

    lines = "\n".join(f"    {line}" for line in (*plan_lines(plan), *plan.warnings))
    return f"What these disks hold now is lost:\n\n{lines}\n"
