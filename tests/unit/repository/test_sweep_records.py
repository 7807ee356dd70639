"""Records of sweeps: the packs that are condemned, and the decision which of them a sweep deletes."""

from __future__ import annotations

import pytest

from tests.crowded import most_at_once
from tests.unit.maintenance.counted import CountedStore
from vmkeep.blobs.parallel import AT_ONCE
from vmkeep.errors import CorruptError, StoreError
from vmkeep.maintenance.packsweep import settle
from vmkeep.repository.frames.packs import pack_key
from vmkeep.repository.notes.forgetting import Forgettings
from vmkeep.repository.notes.sweeprecords import SweepRecords
from vmkeep.testing import FaultyStore

A, B, C = (bytes([number]) * 16 for number in (1, 2, 3))


@pytest.fixture
def records(repository):
    return repository.sweep_records


def test_condemned_packs_are_avoided_until_the_plan_is_withdrawn(records):
    first, second = records.condemn([A, B]), records.condemn([C])

    assert {plan.id: plan.packs for plan in records.plans()} == {first: {A, B}, second: {C}}
    assert records.avoided() == {A, B, C}
    records.withdraw(first)
    assert records.avoided() == {C}


def test_a_damaged_plan_condemns_nothing_and_stops_nobody(records, repository):
    plan = records.condemn([A])
    repository.blobs.replace(f"plans/{plan}", b"rubbish")

    assert [(found.id, found.packs) for found in records.plans()] == [(plan, frozenset())]
    assert records.avoided() == frozenset()


def test_an_undecided_sweep_may_take_all_its_candidates(records):
    sweep = records.begin_sweep([A, B])

    (found,) = records.sweeps()
    assert (found.id, found.takes, found.off_limits, found.over) == (sweep, None, {A, B}, False)
    assert records.avoided() == {A, B}


def test_a_decided_sweep_takes_what_was_decided_also_when_it_is_over(records):
    sweep = records.begin_sweep([A, B])
    assert records.decide(sweep, [A]) == {A}
    records.finish_sweep(sweep)
    records.finish_sweep(sweep)

    (found,) = records.sweeps()
    assert (found.off_limits, found.over) == ({A}, True)
    assert records.avoided() == {A}
    assert records.over() == {sweep: True}


def test_who_decides_first_has_decided(records):
    sweep = records.begin_sweep([A, B])

    assert records.decide(sweep, ()) == frozenset()
    assert records.decide(sweep, [A, B]) == frozenset()
    assert records.avoided() == frozenset()


def test_a_sweep_that_was_forgotten_before_it_decided_takes_nothing(records, repository):
    """Others ended it while its process stood still; points were sealed since that count on what it would take."""
    sweep = records.begin_sweep([A, B])
    records.decide(sweep, [])
    records.finish_sweep(sweep)
    records.forget_sweep(sweep)

    assert records.decide(sweep, [A]) == frozenset()
    assert list(repository.blobs.list("sweeps/")) == []


def test_a_sweep_forgotten_while_another_process_decides_it_takes_nothing_more(records, repository):
    sweep = records.begin_sweep([A, B])
    records.decide(sweep, [A])

    class Forgetting(FaultyStore):
        def get(self, key):
            records.forget_sweep(sweep)
            return super().get(key)

    assert SweepRecords(Forgetting(repository.blobs), repository.framer).decide(sweep, []) == frozenset()


def test_what_a_forgotten_sweep_decides_is_carried_out_by_nobody(records, repository):
    """Its process stood still, decides at last, and is killed before it looks whether its record is there."""
    sweep = records.begin_sweep([A, B])
    records.decide(sweep, [])
    records.finish_sweep(sweep)
    records.forget_sweep(sweep)
    repository.blobs.put(pack_key(A), b"needed by now")

    class PowerCut(BaseException):
        pass

    store = FaultyStore(repository.blobs)
    store.fail("size", with_=PowerCut)
    with pytest.raises(PowerCut):
        SweepRecords(store, repository.framer).decide(sweep, [A])
    assert [blob.key for blob in repository.blobs.list("sweeps/")] == [f"sweeps/{sweep}/takes"]

    assert records.sweeps() == []
    assert records.decide(sweep, []) == frozenset()
    settle(repository)
    assert repository.blobs.get(pack_key(A)) == b"needed by now"


def test_points_are_not_forgotten_by_a_record_that_was_removed_before_it_was_decided(repository):
    forgettings = repository.forgettings
    record = forgettings.begin(["vm/20260101T000000Z-a"])
    forgettings.end(record)

    assert forgettings.decide(record, ["vm/20260101T000000Z-a"]) == frozenset()
    assert list(repository.blobs.list("forgettings/")) == []


def test_points_are_not_forgotten_by_a_record_that_is_half_removed(repository):
    record = repository.forgettings.begin(["vm/20260101T000000Z-a"])
    store = FaultyStore(repository.blobs)
    store.fail("delete", after=1, with_=StoreError("the connection is lost"))
    with pytest.raises(StoreError):
        Forgettings(store, repository.framer).end(record)

    assert repository.forgettings.decide(record, ["vm/20260101T000000Z-a"]) == frozenset()


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_a_sweep_that_is_half_forgotten_takes_nothing_again(records, repository, removed):
    sweep = records.begin_sweep([A])
    records.decide(sweep, [A])
    records.finish_sweep(sweep)
    repository.blobs.put(pack_key(A), b"stored again, with the same content")
    store = FaultyStore(repository.blobs)
    store.fail("delete", after=removed, with_=StoreError("the connection is lost"))

    with pytest.raises(StoreError):
        SweepRecords(store, repository.framer).forget_sweep(sweep)

    settle(repository)
    assert repository.blobs.get(pack_key(A))


def test_a_forgotten_sweep_leaves_nothing(records, repository):
    sweep = records.begin_sweep([A])
    records.decide(sweep, [A])
    records.finish_sweep(sweep)
    records.forget_sweep(sweep)

    assert records.sweeps() == []
    assert list(repository.blobs.list("sweeps/")) == []


@pytest.mark.parametrize("harm", [b"", b"rubbish"])
def test_an_unreadable_sweep_stops_who_deletes_and_not_who_writes(records, repository, harm):
    sweep = records.begin_sweep([A])
    repository.blobs.replace(f"sweeps/{sweep}/candidates", harm)

    with pytest.raises(CorruptError, match=f"sweeps/{sweep}/candidates"):
        records.sweeps()
    assert records.avoided() == frozenset()


def test_what_is_no_list_of_packs_is_damage(records, repository):
    key = "plans/x"
    for content in (b"[]", b"{}", b'{"packs": "00"}', b'{"packs": 1}'):
        from vmkeep.repository import Kind

        repository.blobs.replace(key, repository.framer.wrap(Kind.NOTE, content, name=key))
        assert [plan.packs for plan in records.plans()] == [frozenset()]


def test_two_views_of_one_repository_see_the_same(records, repository):
    records.condemn([A])

    assert SweepRecords(repository.blobs, repository.framer).avoided() == {A}


def test_a_process_reads_each_record_once_and_knows_at_once_which_are_gone(records, repository):
    store = CountedStore(repository.blobs)
    watching = SweepRecords(store, repository.framer)
    plan, decided, open_still = records.condemn([A]), records.begin_sweep([B]), records.begin_sweep([C])
    records.decide(decided, [B])
    assert watching.avoided() == {A, B, C}
    assert [each.off_limits for each in sorted(watching.sweeps(), key=lambda each: each.id == open_still)] == [{B}, {C}]
    store.calls.clear()

    assert watching.avoided() == {A, B, C}
    assert store.calls == {"list plans": 1, "list sweeps": 1, "get sweeps": 1}, "only a decision may have come"
    records.decide(open_still, [])
    records.forget_sweep(decided)
    records.withdraw(plan)
    assert watching.avoided() == frozenset()
    assert [each.off_limits for each in watching.sweeps()] == [frozenset()]


@pytest.mark.parametrize(
    ("prefix", "read"),
    [("plans/", SweepRecords.plans), ("sweeps/", SweepRecords.sweeps), ("sweeps/", SweepRecords.avoided)],
)
def test_records_are_read_side_by_side(records, repository, prefix, read):
    for _ in range(AT_ONCE):
        records.condemn([A])
        records.decide(records.begin_sweep([B]), [B])

    at_once = most_at_once(
        repository.blobs, prefix, lambda store: read(SweepRecords(store, repository.framer)), wanted=AT_ONCE
    )

    assert at_once == AT_ONCE
