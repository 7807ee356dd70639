"""Remembers the retention that two people have agreed on, and finds the points that go by no such agreement.

    runs/agreed-retention/notes/rules    the repository's own rule and those of policies, with the name of who said yes

A rule that keeps less is as good as a deletion: the next prune carries it out. So where a second person is demanded, an
orchestrator lets a prune forget only points that the rules of the last agreement drop, too, and asks about all others.
A longer retention, a new policy or a point more each night needs no question, and so nobody gets used to saying yes.
But whoever has set a longer retention counts on it. So the rules that a prune went by since the last yes are noted
beside the agreement, and a point that any of them keeps is asked about, too.

The agreement lies in the repository, where nobody who only uses the orchestrator can write it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from itertools import groupby
from typing import Final

from vmkeep.clock import now
from vmkeep.errors import CorruptError, NotFoundError, UsageError
from vmkeep.flows.retention import simulate
from vmkeep.lateclass import dataclass
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
    """The rules of one agreement, sorted by policy, and others that were in force since then."""

    rules: tuple[NamedRule, ...]
    by: str = ""
    at: datetime | None = None
    since: tuple[tuple[NamedRule, ...], ...] = ()
    """Other rules, each time of all policies, that a prune went by since the agreement and that needed no question."""


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
    """Keep the agreement to rules, in place of the last one and of all that were in force since.

    A rule that is not known now stays as it was agreed and in force: nobody was asked about it.
    """
    before = load_agreement(repository)
    rules = _with(before.rules if before else (), retention)
    since = [_with(each, retention) for each in (before.since if before else ())]
    _store(repository, Agreement(rules=rules, by=by, at=now(), since=_others(rules, since)))


def note_in_force(repository: Repository, retention: Retention) -> None:
    """Note beside the agreement that a prune goes by these rules, because no later one may fall behind them unasked.

    A rule that is not known now counts as the last one that was in force.
    """
    before = load_agreement(repository)
    if before is None:
        return  # nothing is agreed, so that every point is asked about
    rules = _with((before.rules, *before.since)[-1], retention)
    since = _others(before.rules, [*before.since, rules])
    if since != before.since:
        _store(repository, replace(before, since=since))


def not_agreed(
    verdicts: Sequence[RetentionDecision], agreement: Agreement | None, *, at: datetime
) -> list[RetentionDecision]:
    """Return the decisions to let a point go that the agreed rules, or any in force since then, would keep.

    :param verdicts: the decisions about all points by the rules of now.
    :param at: the time for which they were made.
    """
    going = [each for each in verdicts if not each.keep]
    if agreement is None or not going:
        return going
    points = [each.point for each in verdicts]
    unasked = {each.point.ref for each in going}
    for rules in (agreement.rules, *agreement.since):
        own, zone, policies = _read(rules)
        by_these = decide_by_policy(points, own, policies, now=at, zone=zone)
        unasked &= {each.point.ref for each in by_these if not each.keep}
    return [each for each in going if each.point.ref not in unasked]


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
    for each in retention.named():
        if told := _changes(each, agreement):
            yield f"{f'policy {each.policy}' if each.policy else 'the repository'}: {_words(each)}, {told}"
    yield "A yes is for this run only." if once else "A yes is for all runs that go by these rules, until they change."
    for of_vm in by_vm[:_VMS]:
        first, last = of_vm[0].point, of_vm[-1].point
        times = f"{first.taken_at:%Y-%m-%d %H:%M}" + (f" to {last.taken_at:%Y-%m-%d %H:%M}" if len(of_vm) > 1 else "")
        yield f"{first.vm_name or first.vm_key}: {counted(len(of_vm), 'point')}, {times}"
    if len(by_vm) > _VMS:
        yield f"and {counted(len(by_vm) - _VMS, 'VM')} more; the log of this task names all points"


def _changes(rule: NamedRule, agreement: Agreement | None) -> str:
    """Say how a rule differs from the agreed one and from those in force since then; empty: in nothing."""
    was = next((each for each in (agreement.rules if agreement else ()) if each.policy == rule.policy), None)
    in_force = (each for rules in (agreement.since if agreement else ()) for each in rules)
    others = [each for each in in_force if each.policy == rule.policy and each not in (rule, was)]
    since = "; ".join(dict.fromkeys(_words(each) for each in others))
    if was == rule:
        return f"was agreed, but since then it was {since}" if since else ""
    told = f"agreed was {_words(was)}" if was else "nobody has agreed to it yet"
    return f"{told}, and since then it was {since}" if since else told


def _with(rules: Iterable[NamedRule], retention: Retention) -> tuple[NamedRule, ...]:
    """Return the rules of now, and those from ``rules`` of all policies whose rule is not known now."""
    named = {each.policy: each for each in (*rules, *retention.named())}
    return tuple(named[name] for name in sorted(named))


def _others(rules: tuple[NamedRule, ...], since: Iterable[tuple[NamedRule, ...]]) -> tuple[tuple[NamedRule, ...], ...]:
    """Return each of ``since`` once, and without ``rules``."""
    return tuple(each for each in dict.fromkeys(since) if each != rules)


def _store(repository: Repository, agreement: Agreement) -> None:
    repository.run(AGREED_RETENTION).store(_RULES, to_json(agreement))


def _read(rules: Iterable[NamedRule]) -> tuple[RetentionRule | None, tzinfo, PolicyRules]:
    """Return rules from their text. One that this program or this machine cannot read keeps everything."""
    own, zone = None, parse_zone("UTC")
    policies = {}
    for each in rules:
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
