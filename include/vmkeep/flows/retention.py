"""Tries a retention rule on a repository: tells the points that it keeps now or at another time. Removes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from vmkeep.errors import NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.maintenance import point_facts
from vmkeep.model.selector import names_meant
from vmkeep.repository import Repository
from vmkeep.retention import (
    NO_POLICIES,
    PointFacts,
    PolicyRules,
    RetentionDecision,
    RetentionRule,
    decide,
    decide_by_policy,
    expected_points,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """The decisions of a rule about points that exist, and about points that a forecast expects."""

    rule: RetentionRule | None
    """The rule of VMs whose policy has none of its own."""
    at: datetime
    verdicts: tuple[RetentionDecision, ...]
    """The decisions about points that exist."""
    expected: tuple[RetentionDecision, ...]
    """The decisions about points that backups would make until then."""


def simulate(
    repository: Repository,
    rule: RetentionRule | None,
    *,
    at: datetime,
    zone: tzinfo,
    days: int = 0,
    vm: str | None = None,
    policies: PolicyRules | None = None,
) -> Simulation:
    """Apply a rule as of a time, or some days later, assuming that every VM keeps its backup schedule.

    :param zone: the time zone in which days, weeks and months begin.
    :param days: forecast the state that many days after ``at``.
    :param vm: only this VM, by name or key.
    :param policies: the rules of policies, each for the VMs that it backs up; ``None``: try the rule on all VMs.
    :raises NotFoundError: the VM has no restore point.
    """
    end = at + timedelta(days=days)
    points = _of_vm(point_facts(repository, at=end), vm)
    coming = expected_points(points, now=at, until=end) if days else []
    verdicts = _decided([*points, *coming], rule, policies, now=end, zone=zone)
    refs = {point.ref for point in coming}
    return Simulation(
        rule=rule,
        at=end,
        verdicts=tuple(verdict for verdict in verdicts if verdict.point.ref not in refs),
        expected=tuple(verdict for verdict in verdicts if verdict.point.ref in refs),
    )


def _decided(
    points: list[PointFacts], rule: RetentionRule | None, policies: PolicyRules | None, *, now: datetime, zone: tzinfo
) -> list[RetentionDecision]:
    if policies is None and rule is not None:
        return decide(points, rule, now=now, zone=zone)
    return decide_by_policy(points, rule, policies or NO_POLICIES, now=now, zone=zone)


def _of_vm(points: list[PointFacts], vm: str | None) -> list[PointFacts]:
    if vm is None:
        return points
    meant = names_meant(vm)
    keys = {point.vm_key for point in points if point.vm_key == vm or point.vm_name in meant}
    chosen = [point for point in points if point.vm_key in keys]  # by key, because some manifests do not tell the name
    if not chosen:
        raise NotFoundError(f"no restore point of a VM '{vm}'; see 'vmkeep point list'")
    return chosen
