"""Looks for VMs whose newest good restore point is older than their policy allows, whether its window opens or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

from airflow.sdk import BaseOperator, Context

from vmkeep.clock import now
from vmkeep.errors import VmKeepError
from vmkeep.model.wording import told_apart
from vmkeep.policy import NotifyWhen, Policy, PolicyFile
from vmkeep_airflow.alarms import tell_each
from vmkeep_airflow.assets import ANNOUNCED, WINDOWS
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.metrics import send_overdue
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.operators.plan_window import opens
from vmkeep_airflow.policies import policy_files
from vmkeep_airflow.states import PROBLEMS
from vmkeep_airflow.windowreports import shown_age, shown_names


class FindOverdueOperator(BaseOperator):
    """Name each VM that is overdue by its policy's ``max_age``, and tell the people whom the policy names.

    It asks the vCenter and the repository of each policy, so that it does not matter whether a window ever opened. A
    policy that cannot be asked about hides no other one. A policy with faults is a problem, too, because nobody knows
    its ``max_age``. It ends well also if it finds some, because Airflow drops the events of a task that fails: the
    problems are left for a later task.

    :returns: the overdue VMs of each policy, in words.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(outlets=[ANNOUNCED], **kwargs)

    @leaving_reason
    def execute(self, context: Context) -> dict[str, Any]:
        """Look at all policies, and tell people."""
        files = policy_files()
        problems = {
            read.path.stem: "its file has faults, so that no window of it opens" for read in files if read.faults
        }
        found: dict[str, list[str]] = {}
        for policy, others in watched(files, cache(partial(opens, context["ti"]))):
            try:
                found[policy.name] = overdue = list(_overdue(policy, others))
            except VmKeepError as error:
                problems[policy.name] = f"nobody can tell which VMs are overdue: {error}"
            else:
                send_overdue(policy.name, len(overdue))
                if overdue:
                    problems[policy.name] = shown_names(overdue, "overdue")
        for line in (f"{name}: {why}" for name, why in problems.items()):
            self.log.error("%s", line)
        self.log.info("policies with a max_age that were looked at: %d", len(found))
        untold = self._tell(context, problems, {read.path.stem: read.policy for read in files})
        listed = [f"policy {name}: {why}" for name, why in problems.items()]
        context["ti"].xcom_push(key=PROBLEMS, value=[*listed, *untold])
        return found

    def _tell(self, context: Context, problems: dict[str, str], policies: dict[str, Policy | None]) -> list[str]:
        """Tell the people of each policy. Return why some were not reached."""
        untold: list[str] = []
        run = str(context["ti"].run_id)
        for name, why in problems.items():
            policy = policies[name]
            wish = policy.notifications if policy else None
            if wish is not None and wish.when is NotifyWhen.NEVER:
                continue
            context["outlet_events"][ANNOUNCED].add(
                WINDOWS, extra={"policy": name, "run": run, "problems": [why], "vms": {}}
            )
            if wish is not None:
                subject = f"vmkeep: {name}: missed backups"
                notice = Notice(kind=NoticeKind.LATE, about=name, subject=subject, lines=[f"policy {name}: {why}"])
                untold += tell_each([wish], notice)
        return untold


def watched(files: Sequence[PolicyFile], is_awake: Callable[[str], bool]) -> Iterator[tuple[Policy, list[Policy]]]:
    """Yield each policy that has a ``max_age``, and the other policies of its vCenter whose windows open.

    A policy whose windows do not open has no VM, so that it hides none from the next one.

    :param is_awake: tells by its name whether the windows of a policy open.
    """
    sound = [read.policy for read in files if read.policy is not None]
    for policy in sound:
        if policy.max_age is not None:
            others = [one for one in sound if one.name != policy.name and one.vsphere == policy.vsphere]
            yield policy, [one for one in others if is_awake(one.name)]


def _overdue(policy: Policy, others: list[Policy]) -> Iterator[str]:
    from vmkeep.flows.windows import named_by_plan, overdue_vms, plan_window
    from vmkeep_airflow.site import make_site

    site = make_site(vsphere_conn_id=policy.vsphere, repository_conn_id=policy.repository)
    at = now()
    plan = plan_window(site, policy, others, opened_at=at, by_hand=True, now=at)
    names = told_apart(named_by_plan(plan))
    yield from (shown_age(vm, names[vm.moref]) for vm in overdue_vms(plan, (), at))
