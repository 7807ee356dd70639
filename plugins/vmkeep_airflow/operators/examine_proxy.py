"""Examines the proxy whose worker runs the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.errors import VmKeepError
from vmkeep.model.site import Site
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.hooks.repository import RepositoryHook
from vmkeep_airflow.hooks.vsphere import VsphereHook


class ExamineProxyOperator(BaseOperator):
    """Examine this machine, and from it a vCenter and a repository, by the checks of ``vmkeep doctor``.

    Changes nothing in a vCenter. In the repository, a small probe is written and removed again.

    :param vsphere_conn_id: Airflow connection to vCenter or ESXi. Templated.
    :param repository_conn_id: Airflow connection to the repository. Templated.
    :returns: the number of checks by their outcome.
    :raises AirflowFailException: a check found a fault. The log has all checks, each with what to do.
    """

    template_fields: Sequence[str] = ("vsphere_conn_id", "repository_conn_id")

    def __init__(
        self, *, vsphere_conn_id: str = "vsphere_default", repository_conn_id: str = "vmkeep_default", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.vsphere_conn_id = vsphere_conn_id
        self.repository_conn_id = repository_conn_id

    @leaving_reason
    def execute(self, context: Context) -> dict[str, int]:
        """Examine, log each check, and fail if there is a fault."""
        from vmkeep.flows.doctor import State, examine, machine_subject
        from vmkeep.flows.repositories import cache_folder

        vsphere = VsphereHook(self.vsphere_conn_id)
        try:
            site = Site(repository="", vddk=vsphere.vddk, disk_drivers=vsphere.disk_drivers)
            subjects = [
                vsphere.subject(proxy=True),
                RepositoryHook(self.repository_conn_id).subject(),
                machine_subject(site, cache=cache_folder()),
            ]
        except VmKeepError as error:
            raise AirflowFailException(str(error)) from error
        report = examine(subjects)
        for check in report.checks:
            log = self.log.info if check.state is State.OK else self.log.warning
            log("%s: %s", check.about, check.in_words)
        # Pushed by hand, because Airflow keeps no result of a task that raises.
        context["ti"].xcom_push(key="return_value", value=report.counts)
        if not report.fit:
            faults = [f"{check.about}: {check.in_words}" for check in report.checks if check.state is State.FAULT]
            raise AirflowFailException("\n".join(faults))
        return report.counts
