"""Looks at the vCenters and repositories of all policies before a backup fails because of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.errors import VmKeepError
from vmkeep_airflow.alarms import tell_each, wishes_about
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.hooks.repository import RepositoryHook
from vmkeep_airflow.hooks.vsphere import VsphereHook
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.policies import policy_files

if TYPE_CHECKING:
    from vmkeep.flows.doctor import Check, Subject

ENDING: Final = frozenset({"certificate", "free space"})
"""Checks whose warning is an alarm, because it becomes a fault by waiting."""

Place = tuple[str, str]
"""``vsphere`` or ``repository``, and the name of the connection."""


class ExaminePlacesOperator(BaseOperator):
    """Examine each vCenter and repository that a policy names, by the checks of ``vmkeep doctor``.

    A fault is an alarm, and so is the warning that a certificate ends soon, or that a repository is nearly full. The
    people of the policies that use the place are told once. Changes nothing in a vCenter; a repository gets a small
    probe, which is removed again. A place that does not answer hides no other one.

    :returns: the checks that are no good, in words, by connection.
    """

    @leaving_reason
    def execute(self, context: Context) -> dict[str, list[str]]:
        """Examine all places, tell people, and fail if there is an alarm."""
        problems: dict[Place, list[str]] = {}
        found: dict[str, list[str]] = {}
        for place, subject in self._subjects(problems):
            found[place[1]] = lines = [_line(check) for check in self._alarms(subject)]
            if lines:
                problems[place] = lines
        # Pushed by hand, because Airflow keeps no result of a task that raises.
        context["ti"].xcom_push(key="return_value", value=found)
        if problems:
            lines = [line for each in problems.values() for line in each]
            raise AirflowFailException("; ".join([*lines, *_tell(problems)]))
        return found

    def _subjects(self, problems: dict[Place, list[str]]) -> Iterator[tuple[Place, Subject]]:
        """Yield each place that can be asked, and enter the others as problems."""
        policies = [read.policy for read in policy_files() if read.policy is not None]
        places: dict[Place, None] = {}
        for policy in policies:
            places[("vsphere", policy.vsphere)] = None
            places |= {("repository", name): None for name in (policy.repository, *policy.copies)}
        for kind, name in places:
            try:
                subject = (
                    VsphereHook(name).subject(proxy=False) if kind == "vsphere" else RepositoryHook(name).subject()
                )
            except VmKeepError as error:
                problems[kind, name] = [f"connection {name}: {error}"]
            else:
                yield (kind, name), subject

    def _alarms(self, subject: Subject) -> list[Check]:
        from vmkeep.flows.doctor import State, examine

        checks = examine([subject]).checks
        for check in checks:
            bad = check.state in (State.FAULT, State.WARNING)
            (self.log.warning if bad else self.log.info)("%s: %s", check.state, _line(check))
        return [
            check
            for check in checks
            if check.state is State.FAULT or (check.state is State.WARNING and check.name in ENDING)
        ]


def _line(check: Check) -> str:
    remedy = f": {check.remedy}" if check.remedy else ""
    return f"{check.about}: {check.name}: {check.text}{remedy}"


def _tell(problems: dict[Place, list[str]]) -> Iterator[str]:
    """Tell the people of the policies that use each place once. Yield why some were not reached."""
    for (kind, name), lines in problems.items():
        wishes = wishes_about(vsphere=name) if kind == "vsphere" else wishes_about(repository=name)
        notice = Notice(kind=NoticeKind.PLACES, about=name, subject=f"vmkeep: {name}: what backups need", lines=lines)
        yield from tell_each(wishes, notice)
