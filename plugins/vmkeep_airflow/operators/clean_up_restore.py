"""Removes the half-made VM of a restore that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.model.wording import counted
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.steps import ReadyTarget


class CleanUpRestoreOperator(SiteOperator):
    """Stop the writes that still run, and remove a new VM that was not finished. Teardown of ``PrepareTargetOperator``.

    A VM that was there before is never removed. It stays off, partly written.

    :param ready: a ``ReadyTarget`` as a dict. Templated.
    :returns: the number of removed VMs.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*SiteOperator.template_fields, "ready")

    def __init__(self, *, ready: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ready = ready

    def step(self, context: Context) -> Any:
        """Clean up. After a restore that has finished there is nothing to do."""
        from vmkeep.flows import restore

        ready = self.handed("ready", ReadyTarget, by="prepare_target")
        removed = restore.clean_up(self.site(), ready.target.run)
        if removed:
            self.log.warning("removed %s, begun and not finished", counted(removed, "VM"))
        return {"vms_removed": removed}
