"""Takes the snapshot of a backup."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTerminated

from vmkeep.errors import LimitReachedError, VmKeepError
from vmkeep.flows.backup_values import Preflight
from vmkeep.model.job import to_plain
from vmkeep.model.site import Site
from vmkeep.model.wording import counted
from vmkeep_airflow.dagruns import has_ended, own_dag_run, owner_text, snapshots_of_others
from vmkeep_airflow.hooks.guest import guest_login
from vmkeep_airflow.operators.ending import EndingOperator
from vmkeep_airflow.states import ended_already
from vmkeep_airflow.steps import HeldStill


class SnapshotOperator(EndingOperator):
    """Take the snapshot from which all disks are copied. A setup task: ``RemoveSnapshotOperator`` is its teardown.

    Airflow does not run the teardown of a setup that failed. So this task itself removes its own half-made
    snapshot, and the snapshots that an earlier try or ended runs left on this VM.

    :param preflight: a ``Preflight`` as a dict. Templated.
    :param used_by: ids of the tasks that use the snapshot, up to the seal.
    :returns: a ``HeldStill`` as a dict.
    :raises AirflowFailException: somebody cleared one of those tasks alone, and Airflow this task with it.
    """

    template_fields: Sequence[str] = (*EndingOperator.template_fields, "preflight")

    def __init__(self, *, preflight: Any, used_by: Collection[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.preflight = preflight
        self.used_by = used_by

    def step(self, context: Context) -> Any:
        """Take the snapshot, under the run key of this try."""
        from vmkeep.flows import backup
        from vmkeep.flows.leftovers import Fate

        site = self.site()
        found = self.handed("preflight", Preflight, by="preflight")
        ti = context["ti"]
        owner = own_dag_run(ti)
        for earlier in range(1, ti.try_number):
            self._remove(site, found, owner.run_key(earlier))
        if ti.try_number > 1:
            self._require_use(context)
        for left in snapshots_of_others(site, context, moref=found.vm.moref):
            if left.fate is Fate.REMOVE:
                self._remove(site, found, left.run)
        run = owner.run_key(ti.try_number)
        found = replace(found, request=replace(found.request, run=run, owner=owner_text(owner)))
        try:
            taken = backup.take_snapshot(site, found, has_ended=has_ended(ti), logins=guest_login)
        except LimitReachedError:
            raise  # nothing was touched, and this try goes on later
        except BaseException:
            self._remove(site, found, run)
            raise
        self.warn(taken.warnings)
        self.log.info("snapshot %s of %s: %s", taken.snapshot, found.vm.name, taken.consistency)
        return to_plain(HeldStill(preflight=found, taken=taken))

    def _require_use(self, context: Context) -> None:
        """Fail before a snapshot is taken, if a task that would use it keeps what it made of an earlier one."""
        if kept := ended_already(context, self.used_by):
            raise AirflowFailException(
                f"no snapshot is taken, because task {', '.join(kept)} was not cleared, too, and belongs to an earlier "
                "snapshot of this run; a point that the run has sealed stays as it is: trigger a new run, or clear the "
                "whole run"
            )

    def _remove(self, site: Site, found: Preflight, run: str) -> None:
        from vmkeep.flows import backup

        if found.vm.moref is None:
            return
        try:
            removal = backup.remove_snapshot(site, found.vm.moref, run, vcenter=found.vm.vcenter, logins=guest_login)
        except VmKeepError as error:
            self.log.warning("a snapshot of run %s may be left for snapshot_sweep: %s", run, error)
        else:
            if removal.snapshots_removed:
                self.log.info("removed %s of run %s", counted(removal.snapshots_removed, "half-made snapshot"), run)

    def on_kill(self) -> None:
        """Stop waiting for vSphere, so that a half-made snapshot is removed before this process dies."""
        raise AirflowTaskTerminated("stopped while the snapshot was being taken")
