"""Prune a repository: a plan to show, and its execution."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, tzinfo

from vmkeep.clock import now
from vmkeep.flows.upkeep import grace_margins, refresh_catalog
from vmkeep.maintenance import PrunePlan, PruneReport, execute, time_for_rules
from vmkeep.maintenance import plan_prune as plan_by_margins
from vmkeep.model.job import Progress
from vmkeep.repository import Repository
from vmkeep.retention import RetentionRule

__all__ = ["PrunePlan", "PruneReport", "execute_prune", "plan_prune"]


def plan_prune(repository: Repository, rule: RetentionRule | None, *, grace: timedelta, zone: tzinfo) -> PrunePlan:
    """Find out which points and packs can go now. Changes nothing.

    :param rule: tells which points stay; ``None``: all points.
    :param grace: the age from which a pack may be condemned, and the time that a condemned pack stays.
    """
    at = time_for_rules(repository.blobs) if rule else now()
    return plan_by_margins(repository, rule, margins=grace_margins(grace), now=at, zone=zone)


def execute_prune(
    repository: Repository, plan: PrunePlan, *, catalog: str | None, on_progress: Callable[[Progress], None]
) -> PruneReport:
    """Carry out a plan, and take forgotten points out of the catalog."""
    report = execute(repository, plan, on_progress=on_progress)
    if report.points_forgotten:
        refresh_catalog(catalog, repository)
    return report
