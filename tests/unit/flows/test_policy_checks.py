"""Which checks of a policy are due after its backups, and which of its VMs are not proved in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.flows.proved_points import WHEN, new_repository, prove, seal
from vmkeep.catalog import VmStanding
from vmkeep.clock import now
from vmkeep.flows.check_values import Level
from vmkeep.flows.policy_checks import CheckJob, checks_due, do_checks, is_due, jobs_for
from vmkeep.flows.unproved import proofs_of_policy
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.policy import BootRules, Verification
from vmkeep.repository import Repository

WEEK = timedelta(days=7)
EVERYTHING = Verification(
    file_systems=timedelta(0), digests=WEEK, boot=BootRules(turn=WEEK, seconds=90, wait_for=("login",)),
    proved_within=timedelta(days=30),
)  # fmt: skip


def policy_of(rules: Verification) -> Any:
    return SimpleNamespace(name="nightly", verification=rules)


@pytest.fixture
def repository() -> Repository:
    return new_repository()


def levels(repository: Repository, refs: set[str] | None, at: datetime) -> dict[str, tuple[Level, ...]]:
    due = checks_due(repository, policy_of(EVERYTHING), refs, at=at)
    return {job.point: job.levels for job in due.jobs}


def test_the_newest_point_of_each_vm_of_the_policy_is_checked_and_no_other(repository):
    first, second = seal(repository, "a"), seal(repository, "a", day=1)
    other, by_hand = seal(repository, "b", policy="weekly"), seal(repository, "c", policy=None)

    due = checks_due(repository, policy_of(EVERYTHING), {first, second, other, by_hand, "elsewhere/x"}, at=WHEN)

    assert [(job.point, job.name, job.boot_seconds, job.boot_signs) for job in due.jobs] == [
        (second, "name of a", 90, ("login",))
    ]


def test_a_check_with_a_turn_is_due_once_the_last_one_of_the_vm_is_so_old_also_if_its_point_is_gone(repository):
    old = seal(repository, "a")
    prove(repository, old, ProofKind.DIGESTS, ProofResult.PASSED, at=WHEN)
    prove(repository, old, ProofKind.BOOT, ProofResult.PASSED, at=WHEN - timedelta(days=1))
    repository.proofs.forget(old)
    new = seal(repository, "a", day=6)

    assert levels(repository, {new}, WHEN + timedelta(days=5)) == {new: (Level.FILE_SYSTEMS,)}
    assert levels(repository, {new}, WHEN + timedelta(days=6)) == {new: (Level.FILE_SYSTEMS, Level.BOOT)}
    assert levels(repository, {new}, WHEN + WEEK) == {new: (Level.FILE_SYSTEMS, Level.ALL, Level.BOOT)}


def test_a_check_that_failed_ends_no_turn_and_one_that_could_not_tell_does(repository):
    old = seal(repository, "a")
    prove(repository, old, ProofKind.DIGESTS, ProofResult.PASSED, at=WHEN - 2 * WEEK)
    prove(repository, old, ProofKind.DIGESTS, ProofResult.FAILED, at=WHEN)
    prove(repository, old, ProofKind.BOOT, ProofResult.UNDECIDED, at=WHEN)
    new = seal(repository, "a", day=1)

    assert levels(repository, {new}, WHEN + timedelta(days=1)) == {new: (Level.FILE_SYSTEMS, Level.ALL)}


def test_a_failed_check_counts_no_more_once_a_later_one_told_more_and_none_that_is_older_than_the_last_pass(repository):
    old = seal(repository, "a")
    for days, kind, result in (
        (-2, ProofKind.DIGESTS, ProofResult.FAILED),
        (-1, ProofKind.DIGESTS, ProofResult.PASSED),
        (-2, ProofKind.BOOT, ProofResult.FAILED),
        (-1, ProofKind.BOOT, ProofResult.UNDECIDED),
    ):
        prove(repository, old, kind, result, at=WHEN + timedelta(days=days))
    new = seal(repository, "a", day=1)

    assert levels(repository, {new}, WHEN + timedelta(days=1)) == {new: (Level.FILE_SYSTEMS,)}


def test_a_failed_check_that_is_older_than_a_pass_of_a_point_that_is_gone_is_not_done_again(repository):
    stays, goes = seal(repository, "a"), seal(repository, "a", day=1)
    prove(repository, stays, ProofKind.DIGESTS, ProofResult.FAILED, at=WHEN)
    prove(repository, goes, ProofKind.DIGESTS, ProofResult.PASSED, at=WHEN + timedelta(days=1))
    repository.proofs.forget(goes)
    new = seal(repository, "a", day=2)

    assert Level.ALL not in levels(repository, {new}, WHEN + timedelta(days=2))[new]


def test_a_check_whose_clock_was_years_ahead_ends_no_turn(repository):
    old = seal(repository, "a")
    for result in ProofResult.PASSED, ProofResult.UNDECIDED:
        prove(repository, old, ProofKind.DIGESTS, result, at=now() + timedelta(days=700))
    prove(repository, old, ProofKind.DIGESTS, ProofResult.PASSED, at=WHEN)
    new = seal(repository, "a", day=8)

    assert Level.ALL in levels(repository, {new}, WHEN + timedelta(days=8))[new]


def test_a_run_by_hand_checks_everything_of_every_vm_whatever_its_turn(repository):
    refs = [seal(repository, vm) for vm in "ab"]
    prove(repository, refs[0], ProofKind.BOOT, ProofResult.PASSED, at=WHEN)

    assert levels(repository, None, WHEN) == dict.fromkeys(refs, (Level.FILE_SYSTEMS, Level.ALL, Level.BOOT))


def test_a_policy_that_asks_for_nothing_has_no_check(repository):
    ref = seal(repository, "a")

    assert checks_due(repository, policy_of(Verification()), {ref}, at=WHEN).jobs == ()
    (job,) = checks_due(repository, policy_of(Verification(file_index=True)), {ref}, at=WHEN).jobs
    assert (job.levels, job.file_index) == ((), True)
    assert not Verification(proved_within=WEEK).checks
    assert EVERYTHING.checks


@given(st.uuids(), st.integers(1, 90), st.integers(1, 14), st.dates(date(2026, 1, 1), date(2026, 12, 31)))
def test_the_first_check_of_every_vm_comes_within_one_turn_whatever_its_backups_rhythm(key, days, rhythm, begin):
    start = datetime.combine(begin, datetime.min.time(), UTC)
    step = timedelta(days=rhythm)
    backups = [start + number * step for number in range(1, days // rhythm + 2)]

    assert any(is_due(timedelta(days=days), None, at, vm_key=str(key), before=at - step) for at in backups)


def test_the_first_checks_of_a_fleet_are_spread_over_the_days_of_a_turn():
    fleet = [f"5029ab12-{number}" for number in range(3000)]
    day = timedelta(days=1)

    by_day = [
        sum(is_due(WEEK * 4, None, at, vm_key=vm, before=at - day) for vm in fleet)
        for at in (WHEN + number * day for number in range(28))
    ]
    first = sum(is_due(WEEK * 4, None, WHEN, vm_key=vm, before=None) for vm in fleet)

    assert sum(by_day) == len(fleet)
    assert max(*by_day, first) < 2 * len(fleet) / 28


def test_a_turn_is_as_long_as_it_says_though_each_check_ends_after_its_plan():
    last = WHEN + timedelta(hours=1)

    assert is_due(timedelta(days=1), last, WHEN + timedelta(days=1), vm_key="a", before=WHEN)
    assert is_due(WEEK, last, WHEN + WEEK, vm_key="a", before=WHEN)
    assert not is_due(WEEK, last, WHEN + timedelta(days=6), vm_key="a", before=WHEN)


def test_a_first_check_that_failed_is_done_again_with_the_next_point(repository):
    prove(repository, seal(repository, "a"), ProofKind.BOOT, ProofResult.FAILED, at=WHEN)
    new = seal(repository, "a", day=1)

    assert Level.BOOT in levels(repository, {new}, WHEN + timedelta(days=1))[new]


def test_a_retry_does_only_the_checks_that_its_run_has_not_done(repository, monkeypatch):
    ref = seal(repository, "a")
    prove(repository, ref, ProofKind.DIGESTS, ProofResult.FAILED, at=WHEN, run="run-1")
    prove(repository, ref, ProofKind.WRITTEN, ProofResult.PASSED, at=WHEN, run="another")
    job = CheckJob(point=ref, name="a", levels=(Level.WRITTEN, Level.ALL))

    done = list(do_checks(repository, job, by="DAG x", run="run-1"))

    assert [(proof.kind, proof.result) for proof in done] == [("written", "undecided"), ("digests", "failed")], (
        "no disk"
    )
    assert done[0].at > WHEN, "the sample was read by this run"


def test_points_are_found_by_name_or_selector_before_the_first_one_is_checked(repository):
    refs = [seal(repository, vm) for vm in "ab"]

    jobs = jobs_for(repository, ["latest:name of a", refs[0]], "", levels=["boot"], boot_seconds=9, boot_signs=["x"])

    assert [(job.point, job.levels, job.boot_seconds, job.boot_signs) for job in jobs] == [
        (refs[0], (Level.BOOT,), 9, ("x",))
    ]


def test_a_vm_that_only_a_vcenter_tells_of_is_not_proved_and_each_vm_is_counted_once(repository):
    ref = seal(repository, "a")
    by_hand = seal(repository, "b", policy=None)
    taken = [
        VmStanding(vm=f"vc/{name}", name=name, policy=policy, asked=True, ref=point, obstacle=obstacle)
        for name, policy, point, obstacle in (
            ("name of a", "nightly", ref, None), ("name of b", "nightly", by_hand, None),
            ("new", "nightly", None, None), ("other", "weekly", None, None),
            ("template", "nightly", None, "it is a template"),
        )
    ]  # fmt: skip
    prove(repository, by_hand, ProofKind.BOOT, ProofResult.PASSED, at=WHEN)

    told = proofs_of_policy(repository, policy_of(EVERYTHING), at=WHEN, standings=taken)

    assert [vm.line for vm in told.unproved] == ["name of a: never proved", "new: never proved"]
    assert told.watched == 3
    assert proofs_of_policy(repository, policy_of(EVERYTHING), at=WHEN).watched == 1


def test_a_vm_whose_last_proof_that_counts_is_too_old_is_named_and_no_other(repository):
    for vm in "abcd":
        seal(repository, vm)
    seal(repository, "e", policy="weekly")
    refs = {ref[0]: ref for ref in repository.point_refs()}
    prove(repository, refs["a"], ProofKind.BOOT, ProofResult.PASSED, at=WHEN)
    prove(repository, refs["b"], ProofKind.BOOT, ProofResult.PASSED, at=WHEN - timedelta(days=1))
    prove(repository, refs["b"], ProofKind.DIGESTS, ProofResult.PASSED, at=WHEN)
    prove(repository, refs["c"], ProofKind.BOOT, ProofResult.UNDECIDED, at=WHEN)
    prove(repository, refs["d"], ProofKind.RESTORE, ProofResult.PASSED, at=WHEN)

    late = proofs_of_policy(repository, policy_of(EVERYTHING), at=WHEN + timedelta(days=30)).unproved

    assert [vm.line for vm in late] == [
        "name of b: last proved 31 d ago, by boot",
        "name of c: never proved",
        "name of d: never proved",  # a restore without a probe was none
    ]
    by_digests = replace(EVERYTHING, proved_by=ProofKind.DIGESTS)
    told = proofs_of_policy(repository, policy_of(by_digests), at=WHEN)
    assert [vm.vm_key for vm in told.unproved] == ["a", "c", "d"]
    assert proofs_of_policy(repository, policy_of(Verification()), at=WHEN).unproved == ()
