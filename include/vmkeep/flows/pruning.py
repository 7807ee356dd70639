"""Prune a repository: a plan to show, and its execution."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta, tzinfo
from pathlib import Path

from vmkeep.clock import now
from vmkeep.flows.upkeep import grace_margins, refresh_catalog
from vmkeep.maintenance import PrunePlan, PruneReport, execute, time_for_rules
from vmkeep.maintenance import plan_prune as plan_by_margins
from vmkeep.model.job import Progress
from vmkeep.policy import PolicyFile, read_folder
from vmkeep.repository import Repository
from vmkeep.retention import NO_POLICIES, PolicyRule, PolicyRules, RetentionRule

__all__ = ["PrunePlan", "PruneReport", "execute_prune", "plan_prune", "policy_rules", "rules_of"]


def plan_prune(
    repository: Repository,
    rule: RetentionRule | None,
    *,
    grace: timedelta,
    zone: tzinfo,
    policies: PolicyRules = NO_POLICIES,
    shown: bool = False,
) -> PrunePlan:
    """Find out which points and packs can go now. Changes nothing.

    :param rule: tells which points stay of VMs whose policy has no rule of its own; ``None``: all points.
    :param grace: the age from which a pack may be condemned, and the time that a condemned pack stays.
    :param policies: the rules of the policies that points may name.
    :param shown: the plan is only shown, so that a store that is read-only can be asked, too.
    """
    at = time_for_rules(repository.blobs, shown=shown) if rule or policies.any_rule else now()
    margins = grace_margins(grace)
    return plan_by_margins(repository, rule, margins=margins, now=at, zone=zone, policies=policies, shown=shown)


def policy_rules(folder: Path | None) -> PolicyRules:
    """Return the retention of the policies in a folder; ``None``: no policies are known.

    :raises NotFoundError: there is no such folder.
    """
    return NO_POLICIES if folder is None else rules_of(read_folder(folder))


def rules_of(files: Iterable[PolicyFile]) -> PolicyRules:
    """Return the retention of each policy. The rule of a file with faults is not known, so no point of it goes."""
    return PolicyRules(rules={read.path.stem: _rule_of(read) for read in files})


def _rule_of(read: PolicyFile) -> PolicyRule:
    if read.policy is None:
        return PolicyRule(unknown=f"its policy file {read.path.name} has faults ('vmkeep policy check' lists them)")
    return PolicyRule(rule=read.policy.retention, zone=read.policy.window.zone)


def execute_prune(
    repository: Repository, plan: PrunePlan, *, catalog: str | None, on_progress: Callable[[Progress], None]
) -> PruneReport:
    """Carry out a plan, and take forgotten points out of the catalog."""
    report = execute(repository, plan, on_progress=on_progress)
    if report.points_forgotten:
        refresh_catalog(catalog, repository)
    return report
