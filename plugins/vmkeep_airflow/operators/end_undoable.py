"""Undoes a restore of a VM, or accepts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.flows.undo_values import Undoable
from vmkeep.model.job import to_plain
from vmkeep_airflow import secondperson
from vmkeep_airflow.dagruns import has_ended, own_dag_run, owner_text
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.steps import Approval


class EndUndoableOperator(SiteOperator):
    """Go back to the snapshot that a restore keeps, or remove it. A second call finds no snapshot, and fails.

    :param found: an ``Undoable`` as a dict. Templated.
    :param approval: an ``Approval`` of it as a dict. Templated.
    :param undo: whether the restore is undone; else it is accepted.
    :param power_on: the VM starts after its restore was undone. Templated.
    :returns: the ``Undone`` as a dict.
    :raises AirflowFailException: the approval is of another restore.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "found", "approval", "power_on")

    def __init__(self, *, found: Any, approval: Any, undo: bool, power_on: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.found = found
        self.approval = approval
        self.undo = undo
        self.power_on = power_on

    def step(self, context: Context) -> Any:
        """Act on the very VM and restore that were shown."""
        from vmkeep.flows.undo import accept_restore, undo_restore

        found = self.handed("found", Undoable, by="find")
        approval = self.handed("approval", Approval, by="approve")
        if approval.plan != found.id:
            raise AirflowFailException("another restore was found meanwhile, and nobody has seen it: trigger a new run")
        secondperson.require_kept(self.site(), context, found.id)
        ti = context["ti"]
        owner = own_dag_run(ti)
        vm = f"moref:{found.vm.moref}"
        if self.undo:
            done = undo_restore(
                self.site(),
                vm,
                run=owner.run_key(ti.try_number),
                restore=found.restore,
                power_on=bool(self.power_on),
                owner=owner_text(owner),
                has_ended=has_ended(ti),
            )
        else:
            done = accept_restore(self.site(), vm, restore=found.restore, has_ended=has_ended(ti))
        secondperson.forget(self.site(), context, found.id)
        self.warn(done.warnings)
        state = "is as it was before" if done.undone else "keeps the state of"
        power = "" if not done.undone else ", powered on" if done.powered_on else ", left powered off"
        self.log.info("VM %s %s restore %s%s; its snapshot is removed", done.vm, state, done.restore, power)
        return to_plain(done)
