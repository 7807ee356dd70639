"""Removes the leftovers of dead runs in vSphere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from vmkeep.errors import TransientError
from vmkeep.model.job import to_plain
from vmkeep.model.site import Site
from vmkeep_airflow.dagruns import has_ended
from vmkeep_airflow.hooks.fields import MissingConnectionError
from vmkeep_airflow.hooks.guest import guest_login
from vmkeep_airflow.operators.base import SiteOperator

if TYPE_CHECKING:
    from vmkeep.flows.sweep import SweepReport

_KEPT = 200
"""Findings that the result keeps, those first that ask most of a person. The log has all of them."""


class SweepSnapshotsOperator(SiteOperator):
    """Find the leftovers of ended runs in a vCenter, repair those that are surely ours, and report the others.

    Suspended VMs, frozen guests, disks on this proxy, snapshots, array hooks, half-made VMs of restores, access holds
    and disks to consolidate are repaired. Old snapshots of somebody else are only reported.

    Airflow itself tells whether a run has ended. It may not know a run, because the run is of the command line, of
    another Airflow, or deleted. Leftovers of such a run are removed only if the run is silent, and old if it may be of
    another Airflow. A VM that was there before is never removed, and neither is one that is on. Only the mark is taken
    off these.

    :param given_up_after_hours: age in hours from which a silent run counts as dead in any case. Templated.
    :param foreign_after_days: age in days from which snapshots of somebody else are reported. Templated.
    :param only_find: find, and change nothing. Templated.
    :returns: the numbers of findings by kind and state, and the findings that are not in use.
    """

    template_fields: Sequence[str] = (
        *SiteOperator.template_fields,
        "given_up_after_hours",
        "foreign_after_days",
        "only_find",
    )

    def __init__(
        self, *, given_up_after_hours: Any = 48, foreign_after_days: Any = 3, only_find: Any = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.given_up_after_hours = given_up_after_hours
        self.foreign_after_days = foreign_after_days
        self.only_find = only_find

    def step(self, context: Context) -> Any:
        """Sweep the vCenter, and log each finding.

        :raises AirflowSkipException: this is a scheduled run, and the connections are not made yet.
        """
        from vmkeep.flows.sweep import State, SweepWishes, run_sweep

        site = self._site_of(context)
        wishes = SweepWishes(
            dry_run=bool(self.only_find),
            given_up=timedelta(hours=float(self.given_up_after_hours)),
            foreign_age=timedelta(days=float(self.foreign_after_days)),
            has_ended=has_ended(context["ti"]),
            logins=guest_login,
        )
        report = run_sweep(site, wishes)
        self._log(report)
        if failed := report.of(State.FAILED):
            raise TransientError(
                f"leftovers of dead runs could not be removed: {'; '.join(one.line for one in failed)}"
            )
        kept = [one for one in report.findings if one.state is not State.IN_USE][:_KEPT]
        return {"counts": to_plain(report.counts), "findings": [to_plain(one) for one in kept]}

    def _log(self, report: SweepReport) -> None:
        from vmkeep.flows.sweep import State

        asking = (State.FAILED, State.LEFT)
        for finding in report.findings:
            (self.log.warning if finding.state in asking else self.log.info)("%s", finding.line)
        if not report.findings:
            self.log.info("no leftovers")

    def _site_of(self, context: Context) -> Site:
        try:
            return self.site()
        except MissingConnectionError as error:
            run: Any = context["dag_run"]
            if str(getattr(run.run_type, "value", run.run_type)) != "scheduled":
                raise
            raise AirflowSkipException(f"nothing to sweep yet: {error}") from error
