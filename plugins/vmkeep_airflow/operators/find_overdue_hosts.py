"""Looks for ESXi hosts whose newest bundle is too old, whether ``host_config_backup`` runs or not."""

from __future__ import annotations

from collections.abc import Iterator

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.errors import VmKeepError
from vmkeep.model.wording import counted
from vmkeep_airflow.alarms import tell_each, wishes_about
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.hooks.fields import MissingConnectionError
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.policies import policy_files
from vmkeep_airflow.site import make_site

_USUAL = ("vsphere_default", "vmkeep_default")
"""The connections that ``host_config_backup`` uses by schedule."""
_SHOWN = 20
"""Hosts that a message lists."""


class FindOverdueHostsOperator(BaseOperator):
    """Name each host whose newest good bundle is too old, or that has none although others of its vCenter have.

    It asks the connections of ``host_config_backup``, and those of all policies. A vCenter that does not answer hides
    no other one. A vCenter whose hosts have no bundle at all is left alone, because nobody asked for any. Mail goes to
    the people of the policies of that vCenter.

    :returns: the overdue hosts, by the connection to their vCenter, in words.
    """

    @leaving_reason
    def execute(self, context: Context) -> dict[str, list[str]]:
        """Look at all vCenters, tell people, and fail if there is a problem."""
        from vmkeep.flows.host_ages import overdue_hosts

        policies = [read.policy for read in policy_files() if read.policy is not None]
        found: dict[str, list[str]] = {}
        problems: dict[str, list[str]] = {}
        for vsphere, repository in dict.fromkeys([_USUAL, *((one.vsphere, one.repository) for one in policies)]):
            try:
                overdue = overdue_hosts(make_site(vsphere_conn_id=vsphere, repository_conn_id=repository))
            except MissingConnectionError as error:
                self.log.warning("not looked at: %s", error)
            except VmKeepError as error:
                problems.setdefault(vsphere, []).append(f"nobody can tell which hosts are overdue: {error}")
            else:
                found.setdefault(vsphere, []).extend(overdue)
                if overdue:
                    problems.setdefault(vsphere, []).append(_told(overdue, repository))
        # Pushed by hand, because Airflow keeps no result of a task that raises.
        context["ti"].xcom_push(key="return_value", value=found)
        if problems:
            lines = [f"{vsphere}: {why}" for vsphere, each in problems.items() for why in each]
            raise AirflowFailException("; ".join([*lines, *_tell(problems)]))
        return found


def _told(overdue: list[str], repository: str) -> str:
    more = f" and {len(overdue) - _SHOWN} more" if len(overdue) > _SHOWN else ""
    listed = ", ".join(overdue[:_SHOWN])
    return f"{counted(len(overdue), 'ESXi host')} without a young bundle in {repository}: {listed}{more}"


def _tell(problems: dict[str, list[str]]) -> Iterator[str]:
    """Tell the people of each vCenter's policies once. Yield why some were not reached."""
    for vsphere, each in problems.items():
        notice = Notice(kind=NoticeKind.HOSTS, about=vsphere, subject=f"vmkeep: {vsphere}: hosts", lines=each)
        yield from tell_each(wishes_about(vsphere=vsphere), notice)
