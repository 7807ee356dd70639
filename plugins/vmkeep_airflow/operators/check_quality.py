"""Checks the data quality of every repository that a policy names, by a checkpoint of Great Expectations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError

from vmkeep.errors import UsageError, VmKeepError
from vmkeep.model.wording import agreeing, counted
from vmkeep.policy import NotifyWhen, Policy
from vmkeep.retention import parse_rule, parse_zone
from vmkeep_airflow.alarms import tell_each
from vmkeep_airflow.assets import ANNOUNCED, WINDOWS
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.hooks.fields import MissingConnectionError
from vmkeep_airflow.hooks.repository import RepositoryHook
from vmkeep_airflow.hooks.vsphere import VsphereHook
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.policies import CHECKS, policy_files
from vmkeep_airflow.site import repository_site
from vmkeep_airflow.states import PROBLEMS

if TYPE_CHECKING:
    from vmkeep.flows.capacity import RetentionTerms
    from vmkeep.flows.quality import Inventory, QualityReport
    from vmkeep.quality import Judgement

log = logging.getLogger(__name__)

_SHOWN = 20
"""Findings of one expectation that the log and a mail list. The page that the command line writes has more."""


class CheckQualityOperator(BaseOperator):
    """Check the points of each repository against the suite, and tell people of failures.

    The vCenters of the policies are asked for their VMs. A repository or a vCenter that cannot be asked hides no other
    one. Reports stay in the catalog of the repository's connection. Safe to retry: a check changes no point.
    It ends well also if it finds a failure, because Airflow drops the events of a task that fails: the problems are
    left for a later task.

    :returns: of each repository the result, and the number of findings by expectation.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(outlets=[ANNOUNCED], **kwargs)

    @leaving_reason
    def execute(self, context: Context) -> dict[str, Any]:
        """Check all repositories, tell people, and leave the problems for a later task."""
        policies = [read.policy for read in policy_files() if read.policy is not None]
        found: dict[str, Any] = {}
        problems: dict[str, list[str]] = {}
        for repository in dict.fromkeys(policy.repository for policy in policies):
            try:
                report = with_checks_at_work(_checked(repository, policies), lambda each: _at_work(context["ti"], each))
            except MissingConnectionError as error:
                self.log.warning("not looked at: %s", error)
            except VmKeepError as error:
                problems[repository] = [f"its data quality cannot be checked: {error}"]
            else:
                for line in lines_of(report):
                    self.log.info("%s", line)
                found[repository] = {"result": report.result, **{one.id: one.found for one in report.judgements}}
                if not report.is_good:
                    problems[repository] = list(problems_of(report))
        if problems:
            untold = list(_tell(context, problems, policies))
            listed = [f"repository {name}: {'; '.join(each)}" for name, each in problems.items()]
            for line in (left := [*listed, *untold]):
                self.log.error("%s", line)
            context["ti"].xcom_push(key=PROBLEMS, value=left)
        return found


def _checked(repository: str, policies: Sequence[Policy]) -> QualityReport:
    from vmkeep.flows.quality import check_quality
    from vmkeep.flows.repositories import open_site_repository

    site = repository_site(repository)
    own = [policy for policy in policies if policy.repository == repository]
    inventories = list(_inventories(own, policies))
    with open_site_repository(site) as opened:
        return check_quality(opened, own, inventories, catalog=site.catalog, retention=_retention(repository))


def _retention(repository: str) -> RetentionTerms | None:
    """Return the retention that a prune of the repository goes by; ``None``: the connection's own rule has a fault."""
    from vmkeep.flows.capacity import RetentionTerms
    from vmkeep.flows.pruning import rules_of

    place = RepositoryHook(repository).get_conn()
    try:
        rule = parse_rule(place.retention) if place.retention else None
        zone = parse_zone(place.time_zone)
    except UsageError as error:
        log.warning("the points that go next are not noted, because connection %s has a fault: %s", repository, error)
        return None
    return RetentionTerms(rule=rule, zone=zone, policies=rules_of(policy_files()))


def _inventories(own: Sequence[Policy], policies: Sequence[Policy]) -> Iterator[Inventory]:
    """Yield the vCenters of some policies, each with all policies that may take its VMs."""
    from vmkeep.flows.quality import Inventory

    for vsphere in dict.fromkeys(policy.vsphere for policy in own):
        try:
            vcenter = VsphereHook(vsphere).get_conn()
        except MissingConnectionError:  # the report says for which policies no vCenter was asked
            continue
        takers = tuple(policy for policy in policies if policy.vsphere == vsphere)
        yield Inventory(vcenter=vcenter, policies=takers)


def with_checks_at_work(report: QualityReport, at_work: Callable[[str], int]) -> QualityReport:
    """Return a report that says of VMs without a young proof if checks of their policy are at work, and may prove them.

    They stay failures, because nobody knows here which VMs those checks are about, or whether they will pass.

    :param at_work: returns the number of runs of a DAG that have not ended.
    """
    known: dict[str, str] = {}

    def words(policy: str) -> str:
        if policy not in known:
            number = at_work(f"{CHECKS}{policy}") if policy else 0
            runs = f"{counted(number, 'run')} of {CHECKS}{policy} {agreeing(number, 'is', 'are')} at work"
            known[policy] = f"; maybe being checked now: {runs}" if number else ""
        return known[policy]

    def told(one: Judgement) -> Judgement:
        if one.id != "proof-age":
            return one
        findings = tuple(replace(each, text=f"{each.text}{words(each.policy)}") for each in one.findings)
        return replace(one, findings=findings)

    return replace(report, judgements=tuple(told(one) for one in report.judgements))


def _at_work(ti: Any, dag_id: str) -> int:
    """Return the number of runs of a DAG that have not ended; 0 also if Airflow does not tell."""
    try:
        return int(ti.get_dr_count(dag_id=dag_id, states=["queued", "running"]))
    except (AirflowRuntimeError, ServerResponseError) as error:
        log.warning("whether %s is at work is not known: %s", dag_id, error)
        return 0


def lines_of(report: QualityReport) -> Iterator[str]:
    """Yield a report as lines of a log: each expectation, and the first of its findings with the remedy."""
    yield f"{report.location}: {report.result}; {report.points} points of {report.vms} VMs, {report.seconds:.1f} s"
    yield from (f"could not be looked at: {gap}" for gap in report.gaps)
    yield from (f"limit of this check: {note}" for note in report.notes)
    for one in report.judgements:
        yield f"{one.id}: {one.result}{f' ({why})' if (why := one.skipped or one.gap) else ''}: {one.title}"
        yield from (f"  {finding.severity}: {finding.line}" for finding in one.findings[:_SHOWN])
        if one.found > _SHOWN:
            yield f"  and {one.found - _SHOWN} more"
        if one.found:
            yield f"  {one.meaning} {one.remedy}"


def problems_of(report: QualityReport) -> Iterator[str]:
    """Yield a sentence for each expectation that failed, with the first of its findings, and for each gap."""
    for one in report.failed:
        shown = "; ".join(finding.line for finding in one.findings[:_SHOWN])
        more = f"; and {one.found - _SHOWN} more" if one.found > _SHOWN else ""
        yield f"{one.id}, {counted(one.found, 'finding')}: {shown}{more}"
    yield from report.gaps


def _tell(context: Context, problems: dict[str, list[str]], policies: Sequence[Policy]) -> Iterator[str]:
    """Tell the people of each policy whose repository has problems. Yield why some were not reached."""
    run = str(context["ti"].run_id)
    for policy in policies:
        wish = policy.notifications
        why = problems.get(policy.repository)
        if not why or wish.when is NotifyWhen.NEVER:
            continue
        extra: dict[str, Any] = {"policy": policy.name, "run": run, "problems": why, "vms": {}}
        context["outlet_events"][ANNOUNCED].add(WINDOWS, extra=extra)
    for repository, why in problems.items():
        wishes = [policy.notifications for policy in policies if policy.repository == repository]
        subject = f"vmkeep: {repository}: data quality"
        yield from tell_each(wishes, Notice(kind=NoticeKind.QUALITY, about=repository, subject=subject, lines=why))
