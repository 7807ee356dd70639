"""Asks a person before a restore is undone or accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.flows.undo_values import Undoable
from vmkeep.model.job import to_plain
from vmkeep_airflow import secondperson
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.operators.asking import AskingAboutVmOperator
from vmkeep_airflow.steps import Approval
from vmkeep_airflow.xcoms import handed


class ApproveUndoOperator(AskingAboutVmOperator):
    """Wait for a person's approval, unless the run says ``yes`` and the installation demands no second person.

    The approval is for the restore that was shown.

    :param found: an ``Undoable`` as a dict. Templated.
    :param yes: nobody is asked. Templated.
    :param undo: whether the restore is to be undone; else it is to be accepted.
    :returns: the ``Approval`` as a dict.
    """

    template_fields: Sequence[str] = (*AskingAboutVmOperator.template_fields, "found", "yes")

    def __init__(self, *, found: Any, yes: Any, undo: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.found = found
        self.yes = yes
        self.undo = undo

    @leaving_reason
    def execute(self, context: Context) -> Any:
        """Ask a person, or pass at once."""
        from vmkeep.flows.undo_wording import lines_of_question

        found = handed(self.found, Undoable, by="find")
        if self.yes and not secondperson.is_demanded():
            self.log.info("nobody has to be asked, because the run says yes")
            return to_plain(Approval(plan=found.id, asked=False))
        verb = "Undo" if self.undo else "Accept"
        lines = tuple(lines_of_question(found, undo=self.undo))
        return self.ask(context, subject=f"{verb} the restore of {found.vm.name}?", lines=lines, shown=found.id)

    @leaving_reason
    def execute_complete(self, context: Context, event: dict[str, Any], shown: str = "") -> Any:
        """Take the answer to the question that was shown."""
        by = super().execute_complete(context, event, shown)
        return to_plain(Approval(plan=shown, asked=True, by=by))
