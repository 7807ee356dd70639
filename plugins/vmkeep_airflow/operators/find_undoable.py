"""Finds the restore of a VM that can be undone or accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.model.job import to_plain
from vmkeep_airflow.operators.base import SiteOperator


class FindUndoableOperator(SiteOperator):
    """Find the VM, and the restore of it that keeps a snapshot. Nothing is changed.

    :param vm: selects one VM. Templated.
    :param restore: key of the restore; empty: the only one that can be undone. Templated.
    :returns: the ``Undoable`` as a dict. The later steps act on this restore of this VM, or do nothing.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "vm", "restore")

    def __init__(self, *, vm: Any, restore: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vm = vm
        self.restore = restore

    def step(self, context: Context) -> Any:
        """Find the restore, and log it."""
        from vmkeep.flows.undo import find_undoable
        from vmkeep.flows.undo_wording import lines_of

        found = find_undoable(self.site(), self.vm, restore=self.restore or None)
        for line in lines_of(found):
            self.log.info("%s", line)
        return to_plain(found)
