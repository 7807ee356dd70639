"""Handing the restored VM over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.flows.values import RestorePlan, Target
from vmkeep.model.job import DiskWrite, from_plain, to_plain
from vmkeep_airflow.operators.base import SiteOperator


class FinishRestoreOperator(SiteOperator):
    """Remove the temporary snapshot, put the NVRAM back, power on as asked, and report.

    :param plan: a ``RestorePlan`` as a dict. Templated.
    :param target: a ``Target`` as a dict. Templated.
    :param writes: every write's ``DiskWrite`` dict. Templated.
    :returns: the ``Restored`` as a dict.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "plan", "target", "writes")

    def __init__(self, *, plan: Any, target: Any, writes: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.target = target
        self.writes = writes

    def step(self, context: Context) -> Any:
        """Finish."""
        from vmkeep.flows import restore

        plan = from_plain(RestorePlan, self.plan)
        writes = tuple(from_plain(DiskWrite, write) for write in self.writes)
        restored = restore.finish_restore(self.site(), plan, from_plain(Target, self.target), writes)
        self.warn(restored.warnings)
        state = "powered on" if restored.powered_on else "left powered off"
        self.log.info("%s restored from %s, %s", restored.vm_name, restored.point, state)
        return to_plain(restored)
