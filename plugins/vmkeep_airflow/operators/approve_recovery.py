"""Asks a person which groups of a recovery may begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import TaskAwaitingInput

from vmkeep.recovery import RecoveryPlan, parse_plan
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.plans import text_of_plan
from vmkeep_airflow.verbatim import listed

ALL = "all"
"""Stands for every group, among those that are approved."""
PLAN_TEXT = "plan"
"""Key under which the task leaves the text of the plan."""
_SHOWN = "shown"
"""Argument with which Airflow calls the task again: the text of the plan that the question was about."""
NONE = "none of them"
"""The answer that approves no group."""


class ApproveRecoveryOperator(HITLOperator):
    """Ask a person about the groups that need an approval and have none. Otherwise pass at once.

    Nothing is changed before the answer. If nobody answers in time, none of them is approved: the groups before them
    are restored, and the run stops there. To be asked again about the rest, clear this task with the ones behind it:
    the recovery goes on with everything that is not done.

    The plan is read once, here. Its text is left for the task that carries it out, so that an edit of the file after
    the question changes nothing, and a worker that has no plan files needs none.

    :param plan: the name of a plan file of this Airflow, or the text of a plan. Templated.
    :param approved: names of the groups that are approved already, or ``all``. Templated.
    :returns: the names of the groups that are approved, or ``all``.
    """

    template_fields: Sequence[str] = ("plan", "approved")

    def __init__(self, *, plan: Any, approved: Any = (), **kwargs: Any) -> None:
        super().__init__(
            subject="Which groups may begin?", body="", options=[NONE], defaults=[NONE], multiple=True, **kwargs
        )
        self.plan = plan
        self.approved = approved

    @leaving_reason
    def execute(self, context: Context) -> Any:
        """Ask, or pass at once."""
        given = [str(name) for name in self.approved or ()]
        self.plan = text_of_plan(str(self.plan))
        context["ti"].xcom_push(key=PLAN_TEXT, value=self.plan)
        if not (asked := self._asked(context)):
            self.log.info("nobody has to be asked")
            return given
        self.options = [*asked, NONE]
        self.body = _question(self._sound(context), asked)
        try:
            return super().execute(context)
        except TaskAwaitingInput as waiting:
            waiting.kwargs = {_SHOWN: self.plan}
            raise

    @leaving_reason
    def execute_complete(self, context: Context, event: dict[str, Any], shown: str = "") -> Any:
        """Take the answer.

        :param shown: the text of the plan that the question was about; empty: an older vmkeep has asked.
        """
        self.plan = shown or text_of_plan(str(self.plan))
        context["ti"].xcom_push(key=PLAN_TEXT, value=self.plan)
        self.options = [*self._asked(context), NONE]
        answer = super().execute_complete(context, event)
        chosen = [name for name in answer["chosen_options"] if name != NONE]
        self.log.info("approved: %s", ", ".join(chosen) or "no group")
        return [*(str(name) for name in self.approved or ()), *chosen]

    def _asked(self, context: Context) -> list[str]:
        given = {*(self.approved or ())}
        groups = self._sound(context).groups
        return [group.name for group in groups if group.approval and ALL not in given and group.name not in given]

    def _sound(self, context: Context) -> RecoveryPlan:
        plan = parse_plan(str(self.plan), path="plan")
        for line in plan.lines:
            self.log.error("%s", line)
        return plan.sound()


def _question(plan: RecoveryPlan, asked: Sequence[str]) -> str:
    """Return the plan's name and the order of its groups."""
    groups = listed(
        f"{number}. {group.name}{' (asked for)' if group.name in asked else ''}"
        for number, group in enumerate(plan.groups, 1)
    )
    head = listed([f"Plan {plan.name} restores its groups in this order, up to the first one that is not approved:"])
    return f"{head}\n---\n\n{groups}"
