"""Asks a person before a VM or a LUN is overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.flows.restore_request import OnConflict
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.model.fieldwords import in_params
from vmkeep.model.job import to_plain
from vmkeep.model.overwrite import Undo
from vmkeep_airflow import secondperson
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.operators.asking import AskingAboutVmOperator
from vmkeep_airflow.states import skip_itself
from vmkeep_airflow.steps import Approval
from vmkeep_airflow.xcoms import handed


class ApproveRestoreOperator(AskingAboutVmOperator):
    """Wait for a person's approval if something is overwritten and the run or the installation asks for one, else pass.

    The approval is for the plan that was shown, and for no other. If the plan is made anew while the question is open,
    the answer fails the run. A rejection fails the run too. Nothing is changed before the approval.

    If the plan has nothing to do, because the VM exists and is kept, or if only a plan was asked for, all later tasks
    are skipped.

    :param plan: a ``RestorePlan`` as a dict. Templated.
    :param on_conflict: an ``OnConflict``. Templated.
    :returns: the ``Approval`` as a dict.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*AskingAboutVmOperator.template_fields, "plan", "on_conflict")

    def __init__(self, *, plan: Any, on_conflict: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.on_conflict = on_conflict

    @leaving_reason
    def execute(self, context: Context) -> Any:
        """Ask a person, or pass at once."""
        from vmkeep.flows.restore_ledger import plan_id

        plan = handed(self.plan, RestorePlan, by="plan")
        if plan.nothing_to_do:
            skip_itself(context, f"VM {plan.target_name} exists and is kept as it is", kept=True)
        if plan.request.dry_run:
            skip_itself(context, f"only the plan for VM {plan.target_name} was asked for: see task plan", dry_run=True)
        asked = self.on_conflict == OnConflict.PROMPT or secondperson.is_demanded()
        if not plan.writes_over or not asked:
            why = "a new VM is made" if plan.target is None else f"on_conflict is {self.on_conflict}"
            self.log.info("nobody has to be asked, because %s", why)
            return to_plain(Approval(plan=plan_id(plan), asked=False))
        named = plan.target_name if plan.target is not None else f"LUN {', '.join(plan.luns_written)}"
        return self.ask(context, subject=f"Overwrite {named}?", lines=tuple(self._question(plan)), shown=plan_id(plan))

    @leaving_reason
    def execute_complete(self, context: Context, event: dict[str, Any], shown: str = "") -> Any:
        """Take the answer to the question that was shown."""
        from vmkeep.flows.restore_ledger import plan_id

        by = super().execute_complete(context, event, shown)
        plan = handed(self.plan, RestorePlan, by="plan")
        if plan_id(plan) != shown:
            raise AirflowFailException(
                f"the plan for VM {plan.target_name} was made anew while the question stood, and nobody has seen it: "
                "trigger a new run"
            )
        return to_plain(Approval(plan=shown, asked=True, by=by))

    def _question(self, plan: RestorePlan) -> Iterator[str]:
        from vmkeep.flows.overwritten import overwritten_lines
        from vmkeep.flows.restore_wording import plan_lines

        if plan.target is not None:
            yield f"{plan.target_name} now:"
            yield from overwritten_lines(self.site(), plan)
            yield ""
        kept = ", except in the snapshot that is kept" if plan.request.over.undo is Undo.SNAPSHOT else ""
        yield f"All that the written disks hold now is lost{kept}:"
        yield from map(in_params, (*plan_lines(plan), *plan.warnings))
