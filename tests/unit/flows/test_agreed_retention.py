"""Points go without a question only by rules that were agreed on; a longer retention needs no agreement."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.flows.agreed_retention import (
    Agreement,
    Retention,
    keep_agreement,
    load_agreement,
    not_agreed,
    note_in_force,
    question_lines,
)
from vmkeep.repository import create_repository, open_repository
from vmkeep.retention import PointFacts, PolicyRule, PolicyRules, RetentionRule, decide_by_policy

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAILY = RetentionRule(keep_daily=7)
SHORT = RetentionRule(keep_daily=3)
LONG = RetentionRule(keep_daily=14)


def points(*, policy=None, days=10, vm="vm"):
    taken = [NOW - timedelta(days=day) for day in reversed(range(days))]
    return [PointFacts(ref=f"{vm}/{at:%d}", vm_key=vm, vm_name=vm, taken_at=at, policy=policy) for at in taken]


def retention(own=None, zone=UTC, **policies):
    rules = {name: each if isinstance(each, PolicyRule) else PolicyRule(rule=each) for name, each in policies.items()}
    return Retention(rule=own, zone=zone, policies=PolicyRules(rules=rules))


def agreed(rules):
    return Agreement(rules=rules.named(), by="joe", at=NOW)


def beyond(facts, rules, agreement):
    verdicts = decide_by_policy(facts, rules.rule, rules.policies, now=NOW, zone=rules.zone)
    return [each.point.ref for each in not_agreed(verdicts, agreement, at=NOW)]


@pytest.mark.parametrize(
    ("before", "after", "policy", "asked"),
    [
        (None, retention(DAILY), None, 3),  # nobody has agreed to anything
        (retention(DAILY), retention(DAILY), None, 0),
        (retention(DAILY), retention(LONG), None, 0),
        (retention(DAILY), retention(SHORT), None, 4),
        (retention(), retention(DAILY), None, 3),  # no rule had kept all of them
        (retention(SHORT, gold=DAILY), retention(SHORT, gold=SHORT), "gold", 4),
        (retention(SHORT), retention(SHORT, gold=SHORT), "gold", 7),  # a new policy
        (retention(SHORT, gold=PolicyRule()), retention(SHORT, gold=PolicyRule()), "gold", 0),
        (retention(SHORT, gold=DAILY), retention(SHORT, gold=PolicyRule(unknown="it has faults")), "gold", 0),
        (retention(DAILY, gold=SHORT), retention(DAILY, gold=PolicyRule()), "gold", 0),  # now by the longer own rule
    ],
)
def test_only_points_that_the_agreed_rules_keep_are_asked_about(before, after, policy, asked):
    assert len(beyond(points(policy=policy), after, agreed(before) if before else None)) == asked


def test_the_days_of_an_agreed_rule_begin_in_its_own_time_zone():
    noons = [PointFacts(ref=f"vm/{hour}", vm_key="vm", taken_at=NOW - timedelta(hours=hour)) for hour in range(40)]
    berlin = retention(RetentionRule(keep_daily=2), ZoneInfo("Europe/Berlin"))
    auckland = retention(RetentionRule(keep_daily=2), ZoneInfo("Pacific/Auckland"))
    assert beyond(noons, berlin, agreed(berlin)) == []
    assert beyond(noons, auckland, agreed(berlin)) != []


@pytest.mark.parametrize("broken", [{"rule": "daily many"}, {"zone": "Mars/Olympus"}])
@pytest.mark.parametrize("policy", ["", "gold"])
def test_an_agreement_that_cannot_be_read_lets_nothing_go(broken, policy):
    rules = retention(DAILY, gold=DAILY)
    damaged = replace(agreed(rules), rules=tuple(
        replace(each, **broken) if each.policy == policy else each for each in rules.named()
    ))  # fmt: skip
    assert len(beyond(points(policy=policy or None), rules, damaged)) == 3


rules_of_all_kinds = st.builds(
    RetentionRule, keep_last=st.integers(1, 5), keep_daily=st.none() | st.integers(1, 9), keep_weekly=st.none(),
)  # fmt: skip


@given(rules_of_all_kinds, rules_of_all_kinds, st.integers(1, 12))
def test_without_a_question_never_more_goes_than_by_the_agreed_rules(before, after, days):
    facts, old, new = points(days=days), retention(before), retention(after)
    asked = set(beyond(facts, new, agreed(old)))
    going, allowed = (set(beyond(facts, rules, None)) for rules in (new, old))
    assert going - asked <= allowed
    assert asked.isdisjoint(allowed)


@pytest.fixture
def repository(tmp_path):
    create_repository(str(tmp_path / "repository"))
    with open_repository(str(tmp_path / "repository")) as opened:
        yield opened


def agree(repository, rules):
    keep_agreement(repository, rules, by="joe")


def test_a_longer_rule_that_was_in_force_is_not_undone_without_a_question(repository):
    agree(repository, retention(DAILY))
    note_in_force(repository, retention(LONG))
    assert len(beyond(points(), retention(DAILY), load_agreement(repository))) == 3, "the longer rule keeps them"
    assert beyond(points(), retention(LONG), load_agreement(repository)) == []
    agree(repository, retention(DAILY))
    assert beyond(points(), retention(DAILY), load_agreement(repository)) == [], "because a yes is to these rules"


def test_a_rule_in_force_is_noted_once_and_only_beside_an_agreement(repository):
    note_in_force(repository, retention(LONG))
    assert load_agreement(repository) is None
    agree(repository, retention(DAILY))
    for rules in (retention(DAILY), retention(LONG), retention(DAILY), retention(LONG)):
        note_in_force(repository, rules)
    assert len(load_agreement(repository).since) == 1


def test_a_policy_whose_file_has_faults_keeps_the_rules_that_were_in_force(repository):
    broken = PolicyRule(unknown="it has faults")
    agree(repository, retention(DAILY, gold=DAILY))
    note_in_force(repository, retention(DAILY, gold=LONG))
    note_in_force(repository, retention(DAILY, gold=broken))
    assert len(load_agreement(repository).since) == 1, "because nothing else has changed"
    agree(repository, retention(SHORT, gold=broken))
    back = retention(SHORT, gold=DAILY)
    assert len(beyond(points(policy="gold"), back, load_agreement(repository))) == 3
    assert beyond(points(), back, load_agreement(repository)) == []


@given(st.lists(rules_of_all_kinds, min_size=1, max_size=4), rules_of_all_kinds, st.integers(1, 12))
def test_without_a_question_only_points_go_that_every_rule_in_force_since_the_yes_drops(earlier, after, days):
    facts = points(days=days)
    agreement = replace(agreed(retention(earlier[0])), since=tuple(retention(each).named() for each in earlier[1:]))
    going = set(beyond(facts, retention(after), None))
    unasked = going - set(beyond(facts, retention(after), agreement))
    assert unasked == going.intersection(*(beyond(facts, retention(each), None) for each in earlier))


def test_the_question_names_the_longer_rule_that_was_in_force(repository):
    agree(repository, retention(DAILY))
    note_in_force(repository, retention(LONG))
    agreement = load_agreement(repository)
    verdicts = decide_by_policy(points(), DAILY, PolicyRules(), now=NOW, zone=UTC)
    lines = question_lines(retention(DAILY), agreement, not_agreed(verdicts, agreement, at=NOW), once=False)
    assert "the repository: daily 7 (UTC), was agreed, but since then it was daily 14 (UTC)" in list(lines)


def test_the_question_names_the_rules_that_changed_and_the_points_of_each_vm():
    facts = [*points(vm="app01"), *points(vm="db01")]
    after, before = retention(SHORT, gold=DAILY), agreed(retention(DAILY, gold=DAILY))
    verdicts = decide_by_policy(facts, after.rule, after.policies, now=NOW, zone=UTC)
    going = not_agreed(verdicts, before, at=NOW)
    assert list(question_lines(after, before, going, once=False)) == [
        "8 restore points of 2 VMs would be deleted by these rules:",
        "the repository: daily 3 (UTC), agreed was daily 7 (UTC)",
        "A yes is for all runs that go by these rules, until they change.",
        "app01: 4 points, 2026-11-21 12:00 to 2026-11-24 12:00",
        "db01: 4 points, 2026-11-21 12:00 to 2026-11-24 12:00",
    ]
    assert "A yes is for this run only." in list(question_lines(after, before, going, once=True))


def test_a_question_about_a_large_site_stays_short():
    facts = [each for number in range(150) for each in points(vm=f"vm{number:03}", days=9)]
    verdicts = decide_by_policy(facts, DAILY, PolicyRules(), now=NOW, zone=UTC)
    lines = list(question_lines(retention(DAILY), None, not_agreed(verdicts, None, at=NOW), once=False))
    assert len(lines) == 104
    assert lines[-1] == "and 50 VMs more; the log of this task names all points"
