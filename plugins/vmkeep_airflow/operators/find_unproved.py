"""Looks for VMs that were not proved good for too long, as recovery plans and policies demand it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.errors import VmKeepError
from vmkeep.model.wording import counted
from vmkeep.policy import Policy
from vmkeep.recovery import RecoveryPlan
from vmkeep_airflow.alarms import tell_each, wishes_about
from vmkeep_airflow.metrics import send_unproved
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.plans import faults_of_plans, sound_plans
from vmkeep_airflow.policies import policy_files
from vmkeep_airflow.site import repository_site

_SHOWN = 20
"""VMs that a message lists."""


class FindUnprovedOperator(BaseOperator):
    """Name each VM of a plan or a policy whose last proof is older than its ``proved_within``, or that has none.

    For a plan only recoveries and drills count, for a policy the proofs that it says. It asks the repository of each,
    and no vCenter. A plan or policy that cannot be asked about hides no other one. Mail goes to the people of the
    policies that use the repository.

    :returns: the overdue VMs in words, of each plan by its name, and of each policy as ``policy NAME``.
    """

    def execute(self, context: Context) -> dict[str, list[str]]:
        """Look at all plans and policies, tell people, and fail if there is a problem."""
        found: dict[str, list[str]] = {}
        problems: dict[str, list[str]] = {}
        for what, repository, look in _watches():
            try:
                found[what.removeprefix("plan ")] = lines = look()
            except VmKeepError as error:
                why = f"{what}: nobody can tell which VMs are proved: {error}"
                problems.setdefault(repository, []).append(why)
            else:
                send_unproved(what, len(lines))
                if lines:
                    problems.setdefault(repository, []).append(_told(what, lines))
        # Pushed by hand, because Airflow keeps no result of a task that raises.
        context["ti"].xcom_push(key="return_value", value=found)
        faults = [f"plan with a fault: {line}" for line in faults_of_plans()]
        if problems or faults:
            told = [*faults, *(line for each in problems.values() for line in each), *_tell(problems)]
            raise AirflowFailException("; ".join(told))
        return found


def _watches() -> Iterator[tuple[str, str, Callable[[], list[str]]]]:
    """Yield each plan and policy that has a ``proved_within``, its repository's connection, and the look at its VMs."""
    for _, plan in sound_plans():
        if plan.drill is not None and plan.drill.proved_within is not None:
            yield f"plan {plan.name}", plan.drill.repository, partial(_of_plan, plan, plan.drill.repository)
    for policy in (read.policy for read in policy_files()):
        if policy is not None and policy.verification.proved_within is not None:
            yield f"policy {policy.name}", policy.repository, partial(_of_policy, policy)


def _of_policy(policy: Policy) -> list[str]:
    from vmkeep.flows.repositories import open_site_repository
    from vmkeep.flows.unproved import unproved_of_policy

    with open_site_repository(repository_site(policy.repository)) as repository:
        return [vm.line for vm in unproved_of_policy(repository, policy)]


def _of_plan(plan: RecoveryPlan, connection: str) -> list[str]:
    from vmkeep.flows.proof_ages import watch_proofs
    from vmkeep.flows.repositories import open_site_repository

    site = repository_site(connection)
    with open_site_repository(site) as repository:
        return [*watch_proofs(repository, plan, catalog=site.catalog or "sqlite://").lines]


def _told(what: str, lines: list[str]) -> str:
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{what}: {counted(len(lines), 'VM')} not proved in time: {', '.join(lines[:_SHOWN])}{more}"


def _tell(problems: dict[str, list[str]]) -> Iterator[str]:
    """Tell the people of each repository's policies. Yield why some were not reached."""
    for repository, each in problems.items():
        subject = "vmkeep: VMs not proved restorable"
        notice = Notice(kind=NoticeKind.PROOFS, about=repository, subject=subject, lines=each)
        yield from tell_each(wishes_about(repository=repository), notice)
