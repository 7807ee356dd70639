"""Deletions and prunes that meet: a VM never loses its last good point, unless somebody said that this is meant."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from tests.faults.maintenance.test_pins_during_prunes import KEEP_ONE, Meanwhile, three
from tests.faults.maintenance.test_prune_power_cuts import twin_of as twin_of_2001
from tests.faults.maintenance.test_starting_one_while_another_runs import Interrupted
from tests.patience import HANG
from tests.unit.maintenance.conftest import block, small_packs
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.clock import now
from vmkeep.errors import StaleError
from vmkeep.maintenance import delete_points, execute, plan_deletion
from vmkeep.repository.notes import Lost

__all__ = ["small_packs", "three"]

LAST = "no good restore point would be left of vm"


@pytest.fixture(autouse=True)
def in_time(three):
    """The store's clock agrees with this machine's, because a deletion asks for that."""
    three.store.time = now()


def twin_of(vault):
    twin = twin_of_2001(vault)
    twin.store.time = vault.store.time
    return twin


@pytest.fixture
def two(three):
    """A repository with two points of one VM."""
    three.forget(min(three.held))
    return three


def planned(vault, *refs):
    """Plan a deletion while it leaves a good point."""
    plan = plan_deletion(vault.open(), refs)
    assert plan.bare == ()
    return plan


def carry_out(vault, plan, store=None):
    """Carry a deletion out; return whether it was not refused."""
    try:
        delete_points(vault.open(store), plan)
    except StaleError:
        return False
    return True


def assert_one_is_left(vault):
    """A good point is left, everything that is left is whole, and no record."""
    vault.held = {ref: vault.held[ref] for ref in vault.open().point_refs()}
    assert vault.held
    assert list(vault.store.list("forgettings/")) == []
    vault.assert_whole()


def test_a_deletion_between_the_plan_and_the_record_of_another_leaves_the_last_point(two):
    first, second = sorted(two.held)
    one, other = planned(two, first), planned(two, second)

    store = Meanwhile(two.store, "/candidates", lambda: carry_out(two, other))

    with pytest.raises(StaleError, match=rf"{LAST}: .*try again.*--last"):
        delete_points(two.open(store), one)
    assert_one_is_left(two)


def test_two_deletions_that_have_both_put_their_records_do_not_both_delete(two):
    plans = [planned(two, ref) for ref in sorted(two.held)]
    both = threading.Barrier(2, timeout=HANG)

    class Together(WrappingStore):
        """A store that goes on from a record only when both are there."""

        def put(self, key, data):
            created = super().put(key, data)
            if key.endswith("/candidates"):
                both.wait()
            return created

    done = []
    other = threading.Thread(target=lambda: done.append(carry_out(two, plans[1], Together(two.store))))
    other.start()
    done.append(carry_out(two, plans[0], Together(two.store)))
    other.join()

    assert len(done) == 2
    assert done != [True, True]
    assert_one_is_left(two)


def test_a_deletion_at_any_call_of_another_leaves_a_good_point(two):
    def act(vault, store=None, happens=lambda: None):
        plans = [planned(vault, ref) for ref in sorted(vault.held)]
        interrupted = Interrupted(vault.store, store, lambda: happens(plans[1]))
        return carry_out(vault, plans[0], interrupted), interrupted.calls

    _, calls = act(twin_of(two), -1)
    outcomes = set()
    for at in range(calls):
        vault, others = twin_of(two), []
        done, _ = act(vault, at, lambda plan, v=vault, o=others: o.append(carry_out(v, plan)))
        outcomes.add((done, *others))
        assert_one_is_left(vault)
    assert outcomes == {(True, False), (False, True)}


def test_a_deletion_at_any_call_of_a_prune_leaves_a_good_point(three):
    last = max(three.held)
    plan = three.plan(rule=KEEP_ONE)
    counted = Interrupted(twin_of(three).store, -1, lambda: None)
    execute(twin_of(three).open(counted), plan)
    for at in range(counted.calls):
        vault = twin_of(three)
        named = planned(vault, last)
        execute(vault.open(Interrupted(vault.store, at, lambda v=vault, n=named: carry_out(v, n))), plan)
        assert_one_is_left(vault)


def test_a_prune_at_any_call_of_a_deletion_leaves_a_good_point(three):
    last = max(three.held)
    plan = three.plan(rule=KEEP_ONE)
    named = planned(three, last)
    counted = Interrupted(twin_of(three).store, -1, lambda: None)
    assert carry_out(twin_of(three), named, counted)
    for at in range(counted.calls):
        vault = twin_of(three)
        carry_out(vault, named, Interrupted(vault.store, at, lambda v=vault: execute(v.open(), plan)))
        assert_one_is_left(vault)


def test_a_prune_keeps_a_vms_points_if_the_kept_one_is_damaged_by_now(three):
    three.back_up([block(50)], vm="db")
    three.back_up([block(51)], vm="db")
    of_vm = sorted(ref for ref in three.held if ref.startswith("vm/"))
    of_db = sorted(ref for ref in three.held if ref.startswith("db/"))
    plan = three.plan(rule=KEEP_ONE)
    three.open().marks.mark_damaged(of_vm[-1], [Lost(name="disk")])

    report = execute(three.open(), plan)

    assert report.points_forgotten == (of_db[0],)
    assert set(report.points_kept) == set(of_vm[:-1])
    assert all(LAST in why for why in report.points_kept.values())


def test_points_of_a_deletion_that_died_count_only_if_that_is_meant(two):
    first, second = sorted(two.held)
    two.open().forgettings.begin([first])

    plan = plan_deletion(two.open(), [second])
    assert [point.ref for point in plan.bare] == [second]
    assert delete_points(two.open(), plan).points_deleted == (second,)


def begun_long_ago(vault, ref, minutes=61):
    """Return the id of a record that was put more than an hour ago."""
    vault.store.time = now() - timedelta(minutes=minutes)
    record = vault.open().forgettings.begin([ref])
    vault.store.time = now()
    return record


@pytest.mark.parametrize("minutes", [61, -61], ids=["long ago", "by a clock that was ahead and was put back since"])
def test_a_deletion_that_died_before_it_decided_counts_for_an_hour_only(two, minutes):
    first, second = sorted(two.held)
    died = begun_long_ago(two, first, minutes)

    plan = plan_deletion(two.open(), [second])
    assert plan.bare == ()
    assert delete_points(two.open(), plan).points_deleted == (second,)
    assert two.open().forgettings.decide(died, [first]) == frozenset()  # if it lives after all, it looks again


@pytest.mark.parametrize(("hours", "counts"), [(-2, True), (2, False)], ids=["behind", "ahead"])
def test_the_age_of_a_deletion_is_judged_by_the_stores_clock_alone(two, hours, counts):
    two.store.time = now() + timedelta(hours=hours)
    first, second = sorted(two.held)
    two.open().forgettings.begin([first])
    if not counts:
        two.store.time += timedelta(minutes=61)

    bare = plan_deletion(two.open(), [second]).bare

    assert [point.ref for point in bare] == ([second] if counts else [])


def test_a_deletion_that_has_decided_counts_however_old_it_is(two):
    first, second = sorted(two.held)
    record = begun_long_ago(two, first)
    vault_time = two.store.time
    two.store.time = vault_time - timedelta(minutes=61)
    two.open().forgettings.decide(record, [first])
    two.store.time = vault_time

    plan = plan_deletion(two.open(), [second])
    assert [point.ref for point in plan.bare] == [second]


def test_a_slow_deletion_that_decides_before_it_is_given_up_is_seen(two):
    first, second = sorted(two.held)
    slow = begun_long_ago(two, first)
    plan = plan_deletion(two.open(), [second])
    two.open().forgettings.decide(slow, [first])

    with pytest.raises(StaleError, match=LAST):
        delete_points(two.open(), plan)


def test_a_record_that_has_decided_claims_only_what_it_takes(two):
    first, second = sorted(two.held)
    record = two.open().forgettings.begin([first])
    two.open().forgettings.decide(record, [])

    assert carry_out(two, planned(two, second))


def test_a_record_that_cannot_be_read_may_take_any_point(two):
    first, second = sorted(two.held)
    record = two.open().forgettings.begin([first])
    two.store.replace(f"forgettings/{record}/candidates", b"damaged")

    assert [point.ref for point in plan_deletion(two.open(), [second]).bare] == [second]


def test_a_refusal_keeps_the_points_of_all_vms(two):
    two.back_up([block(50)], vm="db")
    other = two.back_up([block(51)], vm="db")
    first, second = sorted(ref for ref in two.held if ref.startswith("vm/"))
    plan = planned(two, first, other)
    delete_points(two.open(), planned(two, second))

    assert not carry_out(two, plan)
    assert {first, other} <= set(two.open().point_refs())
