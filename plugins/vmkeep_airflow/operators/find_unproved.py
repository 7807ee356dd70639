"""Looks for VMs that were not proved good for too long, as recovery plans and policies demand it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.errors import VmKeepError
from vmkeep.model.wording import counted
from vmkeep.policy import Policy
from vmkeep.recovery import RecoveryPlan
from vmkeep_airflow.alarms import tell_each, wishes_about
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.metrics import send_unproved
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.plans import faults_of_plans, sound_plans
from vmkeep_airflow.policies import policy_files
from vmkeep_airflow.site import make_site, repository_site

if TYPE_CHECKING:
    from vmkeep.flows.unproved import VmStanding

_SHOWN = 20
"""VMs that a message lists."""


class FindUnprovedOperator(BaseOperator):
    """Name each VM of a plan or a policy whose last proof is older than its ``proved_within``, or that has none.

    For a plan only recoveries and drills count, for a policy the proofs that it says. It asks the repository of each,
    and the vCenter of each policy, because no restore point tells of a VM that has none. A vCenter that does not answer
    is a problem, too, and hides nothing that the repository tells. A plan or policy that cannot be asked about hides no
    other one. Mail goes to the people of the policies that use the repository.

    :returns: the overdue VMs in words, of each plan by its name, and of each policy as ``policy NAME``.
    """

    @leaving_reason
    def execute(self, context: Context) -> dict[str, list[str]]:
        """Look at all plans and policies, tell people, and fail if there is a problem."""
        found: dict[str, list[str]] = {}
        problems: dict[str, list[str]] = {}
        for what, repository, look in _watches():
            try:
                lines, gap = look()
            except VmKeepError as error:
                why = f"{what}: nobody can tell which VMs are proved: {error}"
                problems.setdefault(repository, []).append(why)
                continue
            found[what.removeprefix("plan ")] = lines
            send_unproved(what, len(lines))
            told = [_told(what, lines)] if lines else []
            told += [f"{what}: nobody can tell which VMs have no restore point: {gap}"] if gap else []
            if told:
                problems.setdefault(repository, []).extend(told)
        # Pushed by hand, because Airflow keeps no result of a task that raises.
        context["ti"].xcom_push(key="return_value", value=found)
        faults = [f"plan with a fault: {line}" for line in faults_of_plans()]
        if problems or faults:
            told = [*faults, *(line for each in problems.values() for line in each), *_tell(problems)]
            raise AirflowFailException("; ".join(told))
        return found


_Look = Callable[[], tuple[list[str], str]]
"""Returns the VMs that were not proved in time, in words, and why some may be missing; empty: none is."""
_Place = tuple[str, str]
"""The connections of a repository and of a vCenter."""


def _watches() -> Iterator[tuple[str, str, _Look]]:
    """Yield each plan and policy that has a ``proved_within``, its repository's connection, and the look at its VMs."""
    for _, plan in sound_plans():
        if plan.drill is not None and plan.drill.proved_within is not None:
            yield f"plan {plan.name}", plan.drill.repository, partial(_of_plan, plan, plan.drill.repository)
    policies = [read.policy for read in policy_files() if read.policy is not None]
    standings = cache(partial(_standings_at, policies))
    for policy in policies:
        if policy.verification.proved_within is not None:
            yield f"policy {policy.name}", policy.repository, partial(_of_policy, policy, standings)


def _standings_at(policies: Sequence[Policy], place: _Place) -> tuple[tuple[VmStanding, ...], str]:
    """Return the VMs of a vCenter, or the reason why nobody knows them."""
    from vmkeep.flows.repositories import open_site_repository
    from vmkeep.flows.unproved import standings_at

    repository, vsphere = place
    takers = [policy for policy in policies if policy.vsphere == vsphere]
    try:
        site = make_site(vsphere_conn_id=vsphere, repository_conn_id=repository)
        assert site.vcenter is not None
        with open_site_repository(site) as opened:
            return standings_at(opened, site.vcenter, takers, catalog=site.catalog or "sqlite://"), ""
    except VmKeepError as error:
        return (), str(error)


def _of_policy(
    policy: Policy, standings_of: Callable[[_Place], tuple[tuple[VmStanding, ...], str]]
) -> tuple[list[str], str]:
    from vmkeep.flows.repositories import open_site_repository
    from vmkeep.flows.unproved import proofs_of_policy

    standings, gap = standings_of((policy.repository, policy.vsphere))
    with open_site_repository(repository_site(policy.repository)) as repository:
        return [vm.line for vm in proofs_of_policy(repository, policy, standings=standings).unproved], gap


def _of_plan(plan: RecoveryPlan, connection: str) -> tuple[list[str], str]:
    from vmkeep.flows.proof_ages import watch_proofs
    from vmkeep.flows.repositories import open_site_repository

    site = repository_site(connection)
    with open_site_repository(site) as repository:
        return [*watch_proofs(repository, plan, catalog=site.catalog or "sqlite://").lines], ""


def _told(what: str, lines: list[str]) -> str:
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{what}: {counted(len(lines), 'VM')} not proved in time: {', '.join(lines[:_SHOWN])}{more}"


def _tell(problems: dict[str, list[str]]) -> Iterator[str]:
    """Tell the people of each repository's policies. Yield why some were not reached."""
    for repository, each in problems.items():
        subject = "vmkeep: VMs not proved restorable"
        notice = Notice(kind=NoticeKind.PROOFS, about=repository, subject=subject, lines=each)
        yield from tell_each(wishes_about(repository=repository), notice)
