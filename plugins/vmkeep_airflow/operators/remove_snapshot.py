"""Removes a backup's snapshot, and allows Storage vMotion of the VM again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.flows.backup_values import Preflight
from vmkeep.model.job import to_plain
from vmkeep.model.site import Site
from vmkeep.model.wording import counted
from vmkeep_airflow.dagruns import own_runs
from vmkeep_airflow.hooks.guest import guest_login
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.steps import HeldStill
from vmkeep_airflow.xcoms import handed


class RemoveSnapshotOperator(SiteOperator):
    """Remove the run's snapshot. Teardown of ``SnapshotOperator``.

    Airflow may start this task while killed copies are still alive, so it first fences them and waits for them. A
    setup that somebody marked as a success by hand has left no result. Then every snapshot of this DAG run is removed.

    :param held: a ``HeldStill`` as a dict. Templated.
    :param preflight_task_id: the task that left a ``Preflight``. Only a run without ``held`` reads it.
    :returns: the ``Removal`` as a dict.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "held")

    def __init__(self, *, held: Any, preflight_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.held = held
        self.preflight_task_id = preflight_task_id

    def step(self, context: Context) -> Any:
        """Fence the copies, remove the snapshot, consolidate the disks. Fail if anything is left."""
        if self.held is None:
            return self._remove_what_is_owned(self.site(), context)
        from vmkeep.flows import backup

        held = self.handed("held", HeldStill, by="snapshot")
        pre = held.preflight
        removal = backup.remove_snapshot(
            self.site(),
            held.taken.vm,
            pre.request.run,
            vcenter=pre.vm.vcenter,
            logins=guest_login,
            ends_run=True,
        )
        self.warn(removal.warnings)
        self.log.info(
            "%s removed, %d copies had to be fenced",
            counted(removal.snapshots_removed, "snapshot"),
            removal.copies_fenced,
        )
        return to_plain(removal)

    def _remove_what_is_owned(self, site: Site, context: Context) -> dict[str, int]:
        from vmkeep.flows import backup

        ti: Any = context["ti"]
        left = ti.xcom_pull(task_ids=self.preflight_task_id)
        found = handed(left, Preflight, by=self.preflight_task_id)
        removed = 0
        for run in own_runs(site, context, moref=found.vm.moref):
            removal = backup.remove_snapshot(
                site, found.vm.moref or "", run, vcenter=found.vm.vcenter, logins=guest_login
            )
            removed += removal.snapshots_removed
        self.log.warning("task snapshot left no result; %s of this run removed", counted(removed, "snapshot"))
        return {"snapshots_removed": removed}
