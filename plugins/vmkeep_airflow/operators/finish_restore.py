"""Hands the restored VM over to its user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.clock import now
from vmkeep.model.job import DiskWrite, to_plain
from vmkeep_airflow import secondperson
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.metrics import send_restore
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.runnotes import way_back
from vmkeep_airflow.steps import ReadyTarget
from vmkeep_airflow.xcoms import handed


class FinishRestoreOperator(SiteOperator):
    """Put the NVRAM back, release the VM, switch it on as asked, and report. A second call changes nothing.

    :param ready: a ``ReadyTarget`` as a dict. Templated.
    :param writes: the ``DiskWrite`` of each disk as a dict. Templated.
    :returns: the ``Restored`` as a dict.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*SiteOperator.template_fields, "ready", "writes")

    def __init__(self, *, ready: Any, writes: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ready = ready
        self.writes = writes

    def step(self, context: Context) -> Any:
        """Finish the restore."""
        from vmkeep.flows import restore

        ready = self.handed("ready", ReadyTarget, by="prepare_target")
        writes = [handed(write, DiskWrite, by="write_disk") for write in (() if self.writes is None else self.writes)]
        restored = restore.finish_restore(self.site(), ready.plan, ready.target, writes)
        if ready.plan.writes_over:
            secondperson.forget(self.site(), context, restore.plan_id(ready.plan))
        self.warn(restored.warnings)
        state = "powered on" if restored.powered_on else "left powered off"
        self.log.info("%s restored from %s, %s", restored.vm.name, restored.point, state)
        for line in way_back(to_plain(restored)):
            self.log.info("%s", line)
        begun: Any = context["dag_run"].start_date
        send_restore(restored, lasted=now() - begun if begun else None)
        return to_plain(restored)
