"""Backs up the configurations of ESXi hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.errors import SomeFailedError
from vmkeep_airflow.operators.base import SiteOperator

if TYPE_CHECKING:
    from vmkeep.flows.host_configs import HostBackups, HostResult

_NAMED = 200
"""Greatest number of hosts that the result lists. The log has a line for each host."""


class BackUpHostsOperator(SiteOperator):
    """Back up the configuration of each host as a restore point. A host that fails stops no other.

    Safe to retry: a retry takes only the hosts that this run has not yet backed up.

    :param hosts: names, managed object ids or hardware UUIDs of hosts; empty: all hosts of the vCenter. Templated.
    :returns: the number of hosts that were backed up and that failed, with the reason of each failure, the hosts in
        lockdown, and the restore points, also if the task fails.
    :raises AirflowFailException: some hosts were not backed up, and no retry can help.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "hosts")

    def __init__(self, *, hosts: Any = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hosts = hosts

    def step(self, context: Context) -> Any:
        """Back up all hosts, then fail if some were not backed up."""
        from vmkeep.flows.host_configs import HostBackupRequest, back_up_hosts

        request = HostBackupRequest(
            run=f"hosts/{context['run_id']}", hosts=tuple(filter(None, (text.strip() for text in self.hosts or ())))
        )
        done = back_up_hosts(self.site(), request, on_result=self._tell)
        result = _counters(done)
        try:
            done.require_all()
        except SomeFailedError:
            context["ti"].xcom_push(
                key="return_value", value=result
            )  # because Airflow keeps no result of a task that raises
            raise
        return result

    def _tell(self, result: HostResult) -> None:
        lockdown = f" (the host is in lockdown mode: {result.lockdown})" if result.lockdown else ""
        if result.point is None:
            self.log.error("host %s: not backed up: %s", result.name, result.problem)
            return
        self.log.info("host %s: %s%s", result.name, result.point, lockdown)
        self.warn([f"host {result.name}: {warning}" for warning in result.warnings])


def _counters(done: HostBackups) -> dict[str, Any]:
    """Return the counts of a run, with names where something is to be said."""
    good = [result for result in done.results if result.point is not None]
    return {
        "hosts_backed_up": len(good),
        "hosts_failed": len(done.failed),
        "failed": {result.name: result.problem for result in done.failed[:_NAMED]},
        "in_lockdown": [result.name for result in done.results if result.lockdown][:_NAMED],
        "points": [result.point for result in good[:_NAMED]],
    }
