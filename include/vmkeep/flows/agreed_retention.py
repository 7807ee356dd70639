"""Remembers the retention that two people have agreed on, and finds the points that go by no such agreement.

    runs/agreed-retention/notes/rules    the repository's own rule and those of policies, with the name of who said yes

A rule that keeps less is as good as a deletion: the next prune carries it out. So where a second person is demanded, an
orchestrator lets a prune forget only points that the rules of the last agreement drop, too, and asks about all others.
A longer retention, a new policy or a point more each night needs no question, and so nobody gets used to saying yes.

The agreement lies in the repository, where nobody who only uses the orchestrator can write it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import groupby
from typing import Final

from vmkeep.clock import now
from vmkeep.errors import CorruptError, NotFoundError, UsageError
from vmkeep.flows.retention import simulate
from vmkeep.maintenance import time_for_rules
from vmkeep.model.job import from_json, to_json
from vmkeep.model.wording import counted
from vmkeep.repository import Repository
from vmkeep.repository.notes import AGREED_RETENTION
from vmkeep.retention import (
    PolicyRule,
    PolicyRules,
    RetentionDecision,
    RetentionRule,
    decide_by_policy,
    parse_rule,
    parse_zone,
)

_RULES: Final = "rules"
_OWN: Final = ""
"""Stands for the repository's own rule among the names of policies."""
_VMS: Final = 100
"""VMs that a question names."""
_NOBODY: Final = "nobody has agreed to its rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRule:
    """One rule, as text."""

    policy: str
    """Empty: the repository's own rule."""
    rule: str
    """Empty: none, so that all points stay, or a policy leaves it to the repository's own."""
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The rules of one agreement, sorted by policy."""

    rules: tuple[NamedRule, ...]
    by: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The rules by which a prune decides."""

    rule: RetentionRule | None
    zone: tzinfo
    policies: PolicyRules

    def named(self) -> tuple[NamedRule, ...]:
        """Return the rules as text. Those that nobody can tell now are left out, because no point goes by them."""
        own = NamedRule(policy=_OWN, rule=_text(self.rule), zone=str(self.zone))
        known = (
            NamedRule(policy=name, rule=_text(each.rule), zone=str(each.zone))
            for name, each in sorted(self.policies.rules.items())
            if not each.unknown
        )
        return (own, *known)

    @property
    def id(self) -> str:
        """The id of exactly these rules."""
        return hashlib.sha256(to_json(self.named())).hexdigest()[:32]


def load_agreement(repository: Repository) -> Agreement | None:
    """Return the last agreement; ``None``: there is none that can be read, so that nothing is agreed."""
    try:
        return from_json(Agreement, repository.run(AGREED_RETENTION).load(_RULES))
    except (NotFoundError, CorruptError, ValueError):
        return None


def keep_agreement(repository: Repository, retention: Retention, *, by: str) -> None:
    """Keep the agreement to rules, in place of the last one. A rule that is not known now stays as it was agreed."""
    before = load_agreement(repository)
    rules = {each.policy: each for each in (before.rules if before else ())}
    rules |= {each.policy: each for each in retention.named()}
    kept = Agreement(rules=tuple(rules[name] for name in sorted(rules)), by=by, at=now())
    repository.run(AGREED_RETENTION).store(_RULES, to_json(kept))


def not_agreed(
    verdicts: Sequence[RetentionDecision], agreement: Agreement | None, *, at: datetime
) -> list[RetentionDecision]:
    """Return the decisions to let a point go that the agreed rules would keep.

    :param verdicts: the decisions about all points by the rules of now.
    :param at: the time for which they were made.
    """
    going = [each for each in verdicts if not each.keep]
    if agreement is None or not going:
        return going
    own, zone, policies = _agreed(agreement)
    agreed = decide_by_policy([each.point for each in verdicts], own, policies, now=at, zone=zone)
    dropped = {each.point.ref for each in agreed if not each.keep}
    return [each for each in going if each.point.ref not in dropped]


def find_not_agreed(repository: Repository, retention: Retention) -> list[RetentionDecision]:
    """Return the points that a prune would forget now and that the agreed rules keep. Reads manifests and marks."""
    at = time_for_rules(repository.blobs)
    found = simulate(repository, retention.rule, at=at, zone=retention.zone, policies=retention.policies)
    return not_agreed(found.verdicts, load_agreement(repository), at=at)


def question_lines(
    retention: Retention, agreement: Agreement | None, going: Sequence[RetentionDecision], *, once: bool
) -> Iterator[str]:
    """Yield the lines of the question whether these points may go.

    :param going: the points that nobody has agreed to lose.
    :param once: the rules are for this run only.
    """
    by_vm = [list(of_vm) for _, of_vm in groupby(going, key=lambda each: each.point.vm_key)]
    yield f"{counted(len(going), 'restore point')} of {counted(len(by_vm), 'VM')} would be deleted by these rules:"
    before = {each.policy: each for each in (agreement.rules if agreement else ())}
    for each in retention.named():
        if (was := before.get(each.policy)) != each:
            told = f", agreed was {_words(was)}" if was else ", nobody has agreed to it yet"
            yield f"{f'policy {each.policy}' if each.policy else 'the repository'}: {_words(each)}{told}"
    yield "A yes is for this run only." if once else "A yes is for all runs that go by these rules, until they change."
    for of_vm in by_vm[:_VMS]:
        first, last = of_vm[0].point, of_vm[-1].point
        times = f"{first.taken_at:%Y-%m-%d %H:%M}" + (f" to {last.taken_at:%Y-%m-%d %H:%M}" if len(of_vm) > 1 else "")
        yield f"{first.vm_name or first.vm_key}: {counted(len(of_vm), 'point')}, {times}"
    if len(by_vm) > _VMS:
        yield f"and {counted(len(by_vm) - _VMS, 'VM')} more; the log of this task names all points"


def _agreed(agreement: Agreement) -> tuple[RetentionRule | None, tzinfo, PolicyRules]:
    """Return the agreed rules. One that this program or this machine cannot read keeps everything."""
    own, zone = None, parse_zone("UTC")
    policies = {}
    for each in agreement.rules:
        try:
            rule, its_zone = parse_rule(each.rule) if each.rule else None, parse_zone(each.zone)
        except UsageError as error:
            if each.policy != _OWN:
                policies[each.policy] = PolicyRule(unknown=str(error))
            continue
        if each.policy == _OWN:
            own, zone = rule, its_zone
        else:
            policies[each.policy] = PolicyRule(rule=rule, zone=its_zone)
    return own, zone, PolicyRules(rules=policies, missing=_NOBODY)


def _text(rule: RetentionRule | None) -> str:
    return str(rule) if rule is not None else ""


def _words(rule: NamedRule) -> str:
    none = "its own rule is none" if rule.policy else "all points"
    return f"{rule.rule or none} ({rule.zone})"
