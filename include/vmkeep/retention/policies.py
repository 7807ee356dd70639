"""Decides about the points of each VM by the rule of the policy that made them, or by the repository's own rule.

The newest point of a VM that names a policy tells the policy of the VM, for all of its points. A point that a person
made by hand names none, and changes nothing.

A VM may get to another policy for one night only, because somebody edited a tag or switched a policy off. So a point
that names another policy than the VM's goes only if both rules drop it. The rule of that policy counts all points of
the VM, and its own ones represent a day or a year before newer ones of others.

No point of a VM goes while its policy's rule is not known: the policy's file is gone, or has faults, or the program
was given no policies, or the manifest that would name the policy cannot be read. No point goes whose own policy has
faults. An own policy whose file is gone holds nothing once the VM has another one, because it may have been renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime, tzinfo

from vmkeep.lateclass import dataclass
from vmkeep.retention.rule import Cause, KeepReason, PointFacts, RetentionDecision, RetentionRule, decide, points_by_vm


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """The retention of one policy."""

    rule: RetentionRule | None = None
    """``None``: the policy leaves it to the repository's own rule."""
    zone: tzinfo = UTC
    """The time zone in which the days, weeks and months of the rule begin."""
    unknown: str = ""
    """Why nobody can tell the rule, so that no point goes; empty: it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRules:
    """The retention of all policies of a site."""

    rules: Mapping[str, PolicyRule] = field(default_factory=dict)
    """By the policy's name."""
    missing: str = "its policy file is gone"
    """Why the rule of any other policy is not known."""

    def of(self, policy: str) -> PolicyRule:
        """Return the retention of a policy, also of one that is not there."""
        return self.rules.get(policy) or PolicyRule(unknown=self.missing)

    @property
    def any_rule(self) -> bool:
        """Return whether some policy has a rule of its own."""
        return any(each.rule is not None for each in self.rules.values())


NO_POLICIES = PolicyRules(missing="no policies were given to tell its rule")
"""The retention of policies for a program that knows none."""


def decide_by_policy(
    points: Iterable[PointFacts], rule: RetentionRule | None, policies: PolicyRules, *, now: datetime, zone: tzinfo
) -> list[RetentionDecision]:
    """Decide for every point whether it stays, with the reasons, and with the rule that decided.

    :param rule: the repository's own rule, for VMs without a policy that has one; ``None``: there is none.
    :param now: an aware time.
    :param zone: the time zone of the repository's own rule.
    :returns: one decision for each point, sorted by VM, then by time.
    """
    deciding = _Deciding(rule=rule, policies=policies, now=now, zone=zone)
    decisions = [decision for of_vm in points_by_vm(points) for decision in deciding.of_vm(of_vm)]
    return sorted(decisions, key=lambda each: (each.point.vm_key, each.point.taken_at, each.point.ref))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deciding:
    """The rules and the time of one decision about many VMs."""

    rule: RetentionRule | None
    policies: PolicyRules
    now: datetime
    zone: tzinfo

    def of_vm(self, points: Sequence[PointFacts]) -> list[RetentionDecision]:
        """Decide about the points of one VM by its policy, and about those of its earlier policies by these, too."""
        name, of_policy = _policy_of(points, self.policies, self.now)
        decisions = self._by(points, name, of_policy)
        earlier = {point.policy for point in points if point.policy != name and point.policy in self.policies.rules}
        own = {each: self._by(points, each or "", self.policies.rules[each or ""], first=each) for each in earlier}
        return [
            own[decision.point.policy][at] if not decision.keep and decision.point.policy in own else decision
            for at, decision in enumerate(decisions)
        ]

    def _by(
        self, points: Sequence[PointFacts], name: str, of_policy: PolicyRule, *, first: str | None = None
    ) -> list[RetentionDecision]:
        """Decide about all points of one VM by the rule of one policy.

        :param name: empty: no policy, so that the repository's own rule counts.
        """
        if of_policy.unknown:
            why = f"policy {name}: {of_policy.unknown}" if name else of_policy.unknown
            return _all_kept(points, Cause.UNKNOWN_RULE, why)
        if of_policy.rule is not None:
            told = f"policy {name}: {of_policy.rule}"
            return _told(decide(points, of_policy.rule, now=self.now, zone=of_policy.zone, first=first), told)
        if self.rule is not None:
            decided = decide(points, self.rule, now=self.now, zone=self.zone, first=first)
            return _told(decided, f"repository: {self.rule}")
        return _all_kept(points, Cause.NO_RULE, "no retention rule is set for it")


def _policy_of(points: Sequence[PointFacts], policies: PolicyRules, now: datetime) -> tuple[str, PolicyRule]:
    """Return the policy of a VM, by name, and its retention.

    :param points: sorted by time. Those from the future tell nothing, because a clock was wrong.
    """
    past = [point for point in points if point.taken_at <= now]
    named = next((at for at, point in reversed(list(enumerate(past))) if point.policy is not None), None)
    if named is None:
        return "", PolicyRule()
    if any(not point.readable for point in past[named:]):
        return "", PolicyRule(unknown="the manifest that names the VM's policy cannot be read")
    name = past[named].policy or ""
    return name, policies.of(name)


def _all_kept(points: Sequence[PointFacts], cause: Cause, why: str) -> list[RetentionDecision]:
    return [RetentionDecision(point=point, reasons=(KeepReason(cause=cause, text=why),)) for point in points]


def _told(decisions: Sequence[RetentionDecision], rule: str) -> list[RetentionDecision]:
    return [replace(each, rule=rule) for each in decisions]
