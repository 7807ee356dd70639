"""Looks for VMs of recovery plans that were not proved restorable for too long, whether their drills run or not."""

from __future__ import annotations

from collections.abc import Iterator

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.errors import VmKeepError
from vmkeep.model.wording import counted
from vmkeep.recovery import RecoveryPlan
from vmkeep_airflow.alarms import mail_people
from vmkeep_airflow.plans import faults_of_plans, sound_plans
from vmkeep_airflow.site import repository_site

_SHOWN = 20
"""VMs that a message lists."""


class FindUnprovedOperator(BaseOperator):
    """Name each VM of a recovery plan whose last proof is older than the plan's ``proved_within``, or that has none.

    It asks the repository of each plan, and no vCenter. A plan that cannot be asked about hides no other one. Mail goes
    to the people of the policies that use the repository.

    :returns: the overdue VMs of each plan, in words.
    """

    def execute(self, context: Context) -> dict[str, list[str]]:
        """Look at all plans, tell people, and fail if there is a problem."""
        found: dict[str, list[str]] = {}
        problems: dict[str, list[str]] = {}
        for _, plan in sound_plans():
            if plan.drill is None or plan.drill.proved_within is None:
                continue
            try:
                found[plan.name] = lines = _unproved(plan, plan.drill.repository)
            except VmKeepError as error:
                why = f"plan {plan.name}: nobody can tell which VMs are proved: {error}"
                problems.setdefault(plan.drill.repository, []).append(why)
            else:
                if lines:
                    problems.setdefault(plan.drill.repository, []).append(_told(plan.name, lines))
        # Pushed by hand, because Airflow keeps no result of a task that raises.
        context["ti"].xcom_push(key="return_value", value=found)
        faults = [f"plan with a fault: {line}" for line in faults_of_plans()]
        if problems or faults:
            told = [*faults, *(line for each in problems.values() for line in each), *_tell(problems)]
            raise AirflowFailException("; ".join(told))
        return found


def _unproved(plan: RecoveryPlan, connection: str) -> list[str]:
    from vmkeep.flows.proof_ages import watch_proofs
    from vmkeep.flows.repositories import open_site_repository

    site = repository_site(connection)
    with open_site_repository(site) as repository:
        return [*watch_proofs(repository, plan, catalog=site.catalog or "sqlite://").lines]


def _told(plan: str, lines: list[str]) -> str:
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"plan {plan}: {counted(len(lines), 'VM')} not proved in time: {', '.join(lines[:_SHOWN])}{more}"


def _tell(problems: dict[str, list[str]]) -> Iterator[str]:
    """Tell the people of each repository's policies. Yield why some were not reached."""
    for repository, each in problems.items():
        yield from mail_people(repository, subject="vmkeep: VMs not proved restorable", lines=each)
