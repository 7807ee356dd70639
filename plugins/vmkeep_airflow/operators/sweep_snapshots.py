"""Removes the leftovers of dead runs in vSphere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.errors import TransientError, VmKeepError
from vmkeep.model.job import to_plain
from vmkeep.model.site import Site
from vmkeep_airflow.dagruns import has_ended
from vmkeep_airflow.hooks.fields import MissingConnectionError
from vmkeep_airflow.hooks.guest import guest_login
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.policies import policy_files
from vmkeep_airflow.site import make_site
from vmkeep_airflow.states import skip_itself

if TYPE_CHECKING:
    from vmkeep.flows.sweep import SweepReport, SweepWishes

Place = tuple[str, str]
"""A connection to vSphere and one to a repository."""

_KEPT = 200
"""Findings that the result keeps, those first that ask most of a person. The log has all of them."""


class SweepSnapshotsOperator(SiteOperator):
    """Find the leftovers of ended runs in a vCenter, repair those that are surely ours, and report the others.

    A scheduled run sweeps the vCenter and the repository of each policy, too.

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
        """Sweep each vCenter, and log each finding. Trouble with one of them does not keep others from being swept.

        :raises AirflowSkipException: this is a scheduled run, and the connections are not made yet.
        """
        from vmkeep.flows.sweep import State, merged, run_sweep

        swept: list[SweepReport] = []
        failed: list[str] = []
        places = self._places(context)
        for place in places:
            self.log.info("vSphere connection %s, repository connection %s", *place)
            try:
                swept.append(run_sweep(self._site(place), self._wishes(context)))
            except MissingConnectionError as error:
                if not _is_scheduled(context):
                    raise
                self.log.warning("not swept: %s", error)
            except VmKeepError as error:
                self.log.warning("%s", error)
                failed.append(f"{place[0]}: {error}")
            else:
                self._log(swept[-1])
        report = merged(swept)
        failed += [finding.line for finding in report.of(State.FAILED)]
        if failed:
            raise TransientError(f"leftovers of dead runs could not be removed: {'; '.join(failed)}")
        if not swept:
            skip_itself(context, "nothing to sweep yet: the connections are not made")
        kept = [one for one in report.findings if one.state is not State.IN_USE][:_KEPT]
        return {"counts": to_plain(report.counts), "findings": [to_plain(one) for one in kept]}

    def _wishes(self, context: Context) -> SweepWishes:
        from vmkeep.flows.sweep import SweepWishes

        return SweepWishes(
            dry_run=bool(self.only_find),
            given_up=timedelta(hours=float(self.given_up_after_hours)),
            foreign_age=timedelta(days=float(self.foreign_after_days)),
            has_ended=has_ended(context["ti"]),
            logins=guest_login,
        )

    def _log(self, report: SweepReport) -> None:
        from vmkeep.flows.sweep import State

        asking = (State.FAILED, State.LEFT)
        for finding in report.findings:
            (self.log.warning if finding.state in asking else self.log.info)("%s", finding.line)
        if not report.findings:
            self.log.info("no leftovers")

    def _places(self, context: Context) -> list[Place]:
        """Return what a run sweeps: its own connections, and if it is scheduled, those of all policies."""
        own = (self.vsphere_conn_id, self.repository_conn_id)
        if not _is_scheduled(context):
            return [own]
        of_policies = [(read.policy.vsphere, read.policy.repository) for read in policy_files() if read.policy]
        return list(dict.fromkeys([own, *of_policies]))

    def _site(self, place: Place) -> Site:
        own = place == (self.vsphere_conn_id, self.repository_conn_id)
        return self.site() if own else make_site(vsphere_conn_id=place[0], repository_conn_id=place[1])


def _is_scheduled(context: Context) -> bool:
    run: Any = context.get("dag_run")
    return run is not None and str(getattr(run.run_type, "value", run.run_type)) == "scheduled"
