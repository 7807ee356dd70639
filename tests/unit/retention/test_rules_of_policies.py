"""A VM's points go by the rule of its policy or of the repository; and none goes while that rule is not known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from vmkeep.flows.pruning import rules_of
from vmkeep.policy import read_folder
from vmkeep.retention import NO_POLICIES, PointFacts, PolicyRule, PolicyRules, RetentionRule, decide_by_policy

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LAST = RetentionRule(keep_last=1)
MANY = PolicyRules(rules={"gold": PolicyRule(rule=RetentionRule(keep_last=3)), "plain": PolicyRule()})


def points(*policies, vm="vm", **facts):
    """A point for each policy, a day apart, the last one of today."""
    first = NOW - timedelta(days=len(policies))
    return [
        PointFacts(ref=f"{vm}/{at}", vm_key=vm, taken_at=first + timedelta(days=at), policy=policy, **facts)
        for at, policy in enumerate(policies)
    ]


def gone(found, rule=LAST, policies=MANY):
    return [each.point.ref for each in decide_by_policy(found, rule, policies, now=NOW, zone=UTC) if not each.keep]


def test_a_vm_of_a_policy_keeps_what_its_policy_says_and_every_other_vm_what_the_repository_says():
    found = [*points(*["gold"] * 5), *points(*[None] * 5, vm="other")]
    decisions = decide_by_policy(found, LAST, MANY, now=NOW, zone=UTC)
    assert [each.point.ref for each in decisions if each.keep] == ["other/4", "vm/2", "vm/3", "vm/4"]
    assert {each.point.vm_key: each.rule for each in decisions} == {
        "other": "repository: last 1", "vm": "policy gold: last 3",
    }  # fmt: skip


def test_a_point_made_by_hand_does_not_hand_its_vm_to_the_repositorys_rule():
    assert gone(points("gold", "gold", "gold", "gold", None)) == ["vm/0", "vm/1"]


def test_the_newest_point_that_names_a_policy_tells_the_rule_of_all_points_of_its_vm():
    assert gone(points(None, None, "plain", "gold")) == ["vm/0"]
    assert gone(points(None, None, None, "plain")) == ["vm/0", "vm/1", "vm/2"]


def test_a_night_with_another_policy_takes_no_point_from_the_rule_that_promised_to_keep_it():
    assert gone(points("gold", "gold", "gold", "gold", "plain")) == ["vm/0", "vm/1"]
    assert gone(points("gold", "gold", "plain", "gold")) == ["vm/0"]


def test_points_of_an_earlier_policy_age_by_its_rule_which_counts_all_points_of_the_vm():
    assert gone(points("gold", "gold", "plain", "plain", "plain"), rule=RetentionRule(keep_last=4)) == ["vm/0"]


def test_a_newer_point_of_another_policy_does_not_stand_for_the_year_of_an_earlier_one():
    yearly = PolicyRules(rules={"gold": PolicyRule(rule=RetentionRule(keep_yearly=2)), "plain": PolicyRule()})
    assert gone(points("gold", "gold", "plain", "plain"), policies=yearly) == ["vm/0", "vm/2"]


def test_a_point_stays_whose_own_policy_has_faults_and_an_own_policy_that_is_gone_holds_none():
    policies = PolicyRules(rules={"plain": PolicyRule(), "broken": PolicyRule(unknown="its policy file has faults")})
    assert gone(points("broken", "gone", "plain"), policies=policies) == ["vm/1"]


def test_points_stay_of_an_earlier_policy_for_which_no_rule_is_set():
    assert gone(points("plain", "plain", "gold", "gold", "gold", "gold"), rule=None) == ["vm/2"]


@pytest.mark.parametrize("rule", [LAST, None])
def test_no_point_goes_of_a_policy_whose_file_is_gone_or_has_faults(tmp_path, rule):
    (tmp_path / "gold.yaml").write_text("name: gold\n")
    policies = rules_of(read_folder(tmp_path))
    found = [*points(*["gold"] * 4), *points(*["gone"] * 4, vm="other")]
    decisions = decide_by_policy(found, rule, policies, now=NOW, zone=UTC)
    assert {each.point.vm_key: str(each.reasons[0]) for each in decisions} == {
        "vm": "policy gold: its policy file gold.yaml has faults ('vmkeep policy check' lists them)",
        "other": "policy gone: its policy file is gone",
    }


def test_a_program_that_knows_no_policies_lets_no_point_of_one_go():
    assert gone([*points(*["gold"] * 4), *points(None, None, vm="other")], policies=NO_POLICIES) == ["other/0"]


def test_no_point_goes_while_the_manifest_that_would_name_the_policy_cannot_be_read():
    unread = points("gold", "gold", "gold", "gold", None, readable=False, good=False)[-1:]
    assert gone([*points("gold", "gold", "gold", "gold"), *unread]) == []


def test_a_vm_with_no_rule_at_all_keeps_everything_and_a_policy_without_one_leaves_it_to_the_repository():
    assert gone(points(None, None, "plain"), rule=None) == []
    assert gone(points(None, None, "plain")) == ["vm/0", "vm/1"]


def test_a_point_from_the_future_tells_no_policy():
    future = PointFacts(ref="vm/f", vm_key="vm", taken_at=NOW + timedelta(days=400), policy="plain")
    assert gone([*points("gold", "gold", "gold", "gold"), future]) == ["vm/0"]


def test_the_days_of_a_policys_rule_begin_in_the_time_zone_of_its_window(tmp_path):
    (tmp_path / "daily.yaml").write_text(
        "name: daily\nselection: name:*\nretention: {daily: 2}\n"
        "window: {start: '22:00', end: '06:00', time_zone: Europe/Berlin}\n"
    )
    policies = rules_of(read_folder(tmp_path))
    assert policies.of("daily") == PolicyRule(rule=RetentionRule(keep_daily=2), zone=ZoneInfo("Europe/Berlin"))
    times = ["2026-11-18T22:30Z", "2026-11-18T23:30Z", "2026-11-19T22:30Z"]
    found = [
        PointFacts(ref=f"vm/{at}", vm_key="vm", taken_at=datetime.fromisoformat(time), policy="daily")
        for at, time in enumerate(times)
    ]
    assert gone(found, rule=None, policies=policies) == ["vm/1"]
