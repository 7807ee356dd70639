"""Removes the leftovers of dead runs in vSphere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from vmkeep.errors import TransientError, VmKeepError
from vmkeep.model.site import Site
from vmkeep_airflow.dagruns import LeftoverDecision, decided, has_ended
from vmkeep_airflow.hooks.fields import MissingConnectionError
from vmkeep_airflow.hooks.guest import guest_login
from vmkeep_airflow.operators.base import SiteOperator


class SweepSnapshotsOperator(SiteOperator):
    """Remove the leftovers of ended runs in a vCenter: snapshots, and half-made VMs of restores.

    Guests that such runs have left frozen are thawed first. Access holds, which keep VMs from Storage vMotion, are
    ended too, through VDDK on this worker.

    Airflow itself tells whether a run has ended. It may not know a run, because the run is of the command line, of
    another Airflow, or deleted. Leftovers of such a run are removed only if the run is silent and old. A VM that was
    there before is never removed, and neither is one that is on. Only the mark is taken off these.

    :param given_up_after_hours: age in hours from which a silent run counts as old. Templated.
    :returns: the numbers of guests that were thawed, of array hooks that were called, of snapshots that were removed,
        are in use and are unknown, and of VMs removed and released.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "given_up_after_hours")

    def __init__(self, *, given_up_after_hours: Any = 48, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.given_up_after_hours = given_up_after_hours

    def step(self, context: Context) -> Any:
        """Look at every snapshot and every marked VM. A failure at one does not stop the others.

        :raises AirflowSkipException: this is a scheduled run, and the connections are not made yet.
        """
        site = self._site_of(context)
        after = timedelta(hours=float(self.given_up_after_hours))
        failed: list[str] = []
        counts: dict[str, int] = {"vms_resumed": self._resume(site, context, after, failed)}
        counts["guests_thawed"] = self._thaw(site, context, failed)
        counts |= self._sweep_snapshots(site, context, after, failed)
        counts["array_hooks_ended"] = self._end_hooks(site, context, failed)
        counts["vms_removed"] = self._sweep_vms(site, context, after, failed)
        counts["vms_let_go"] = self._let_go(site, context, after, failed)
        if failed:
            raise TransientError(f"leftovers of dead runs could not be removed: {'; '.join(failed)}")
        return counts

    def _site_of(self, context: Context) -> Site:
        try:
            return self.site()
        except MissingConnectionError as error:
            run: Any = context["dag_run"]
            if str(getattr(run.run_type, "value", run.run_type)) != "scheduled":
                raise
            raise AirflowSkipException(f"nothing to sweep yet: {error}") from error

    def _sweep_snapshots(self, site: Site, context: Context, after: timedelta, failed: list[str]) -> dict[str, int]:
        from vmkeep.flows import backup

        counts = dict.fromkeys(LeftoverDecision, 0)
        for found, decision in decided(site, context, given_up_after=after):
            counts[decision] += 1
            self.log.info("VM %s: snapshot %s of run %s: %s", found.vm.name, found.snapshot, found.run, decision)
            if decision is LeftoverDecision.REMOVE:
                try:
                    backup.remove_snapshot(site, found.vm.moref, found.run, logins=guest_login)
                except VmKeepError as error:
                    self.log.warning("VM %s: %s", found.vm.name, error)
                    failed.append(f"a snapshot of VM {found.vm.name}")
        return {str(decision): count for decision, count in counts.items()}

    def _resume(self, site: Site, context: Context, after: timedelta, failed: list[str]) -> int:
        from vmkeep.flows import suspension

        found = suspension.sweep_suspended(site, has_ended=has_ended(context["ti"]), given_up=after)
        for left in found:
            state = "in use" if left.alive else left.problem or ("resumed" if left.resumed else "was not suspended")
            self.log.info("VM %s, which run %s suspended: %s", left.vm, left.run, state)
        failed += [f"VM {left.vm.name}, which is suspended," for left in found if left.problem]
        return sum(left.resumed for left in found)

    def _sweep_vms(self, site: Site, context: Context, after: timedelta, failed: list[str]) -> int:
        from vmkeep.flows import restore
        from vmkeep.flows.leftovers import find_run_vms

        removed = 0
        for found in find_run_vms(site, has_ended=has_ended(context["ti"]), given_up=after):
            state = "in use" if found.alive else "dead"
            self.log.info("VM %s (%s) of the restore of run %s: %s", found.vm.name, found.vm.moref, found.run, state)
            if found.alive:
                continue
            try:
                removed += restore.clean_up(site, found.run)
            except VmKeepError as error:
                self.log.warning("VM %s: %s", found.vm.name, error)
                failed.append(f"VM {found.vm.name}")
        return removed

    def _thaw(self, site: Site, context: Context, failed: list[str]) -> int:
        from vmkeep.flows import guest_thaws

        thawed = 0
        for left in guest_thaws.find_left(site, has_ended=has_ended(context["ti"])):
            note, state = left.note, "in use" if left.alive else "dead"
            self.log.info("VM %s: its guest was frozen by run %s: %s", note.vm, note.run, state)
            if left.alive:
                continue
            if (problem := guest_thaws.thaw_dead(site, left, guest_login)) is None:
                thawed += 1
            else:
                self.log.warning("%s", problem)
                failed.append(f"the frozen guest of VM {note.vm}")
        return thawed

    def _end_hooks(self, site: Site, context: Context, failed: list[str]) -> int:
        from vmkeep.flows import array_hooks

        found = array_hooks.sweep(site, has_ended=has_ended(context["ti"]))
        for left in found:
            self.log.info("array hook of VM %s, run %s: %s", left.note.vm, left.note.facts.run, left.state)
        failed += [f"the array hook's second call of VM {left.note.vm.name}" for left in found if left.problem]
        return sum(left.called for left in found)

    def _let_go(self, site: Site, context: Context, after: timedelta, failed: list[str]) -> int:
        from vmkeep.flows import held_vms

        held = held_vms.find_held(site, has_ended=has_ended(context["ti"]), given_up=after)
        done = held_vms.let_go(site, held)
        for line in done.lines:
            self.log.info("%s", line)
        failed += [f"the access hold on VM {vm.vm.name}" for vm in done.failed]
        return len(done.freed)
