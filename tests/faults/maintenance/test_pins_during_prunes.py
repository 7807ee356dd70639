"""A pin that is set while a prune runs which wants its point: it holds, or says that it came too late."""

from __future__ import annotations

import threading

import pytest

from tests.faults.maintenance.test_prune_power_cuts import PowerCut, twin_of
from tests.faults.maintenance.test_starting_one_while_another_runs import Interrupted
from tests.patience import HANG
from tests.unit.maintenance.conftest import BLOCK, NOW, AgingStore, Vault, block, small_packs
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.errors import ConflictError, NotFoundError
from vmkeep.maintenance.prune import execute
from vmkeep.repository.unlock import descriptor
from vmkeep.retention import RetentionRule
from vmkeep.testing import FaultyStore

__all__ = ["small_packs"]

KEEP_ONE = RetentionRule(keep_last=1)


@pytest.fixture
def three():
    """A repository with three points, of which a rule keeps the last."""
    store = AgingStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    vault = Vault(store)
    for number in range(3):
        vault.back_up([block(10 + number), block(1)])
    return vault


def pin(vault, ref, store=None):
    """Pin a point; return whether that is said to hold."""
    try:
        vault.open(store).marks.pin(ref, reason="court order", by="jane")
    except (ConflictError, NotFoundError):
        return False
    return True


def assert_kept(vault, ref, *, holds):
    """A pin that holds keeps its point in all prunes to come; nothing is left of one that came too late."""
    for _ in range(2):
        marks = vault.open().marks
        assert marks.is_pinned(ref, at=NOW) == holds
        if holds:
            assert ref in vault.open().point_refs()
        vault.prune(rule=KEEP_ONE)
    vault.held = {held: vault.held[held] for held in vault.open().point_refs()}
    assert (ref in vault.held) == holds
    vault.assert_whole()


def test_a_pin_at_any_call_of_a_prune_holds_or_says_that_it_came_too_late(three):
    ref = min(three.held)
    counted = Interrupted(twin_of(three).store, -1, lambda: None)
    twin_of(three).prune(rule=KEEP_ONE, store=counted)
    outcomes = []
    for at in range(counted.calls):
        vault = twin_of(three)
        held = []
        vault.prune(rule=KEEP_ONE, store=Interrupted(vault.store, at, lambda v=vault, h=held: h.append(pin(v, ref))))
        assert_kept(vault, ref, holds=held[0])
        outcomes += held
    assert outcomes.index(False) > 10  # it holds up to some call, and comes too late from there on
    assert not any(outcomes[outcomes.index(False) :])


def test_a_prune_at_any_call_of_a_pin_keeps_its_point_or_the_pin_says_it_is_late(three):
    ref = min(three.held)
    counted = Interrupted(twin_of(three).store, -1, lambda: None)
    assert pin(twin_of(three), ref, counted)
    outcomes = set()
    for at in range(counted.calls):
        vault = twin_of(three)
        held = pin(vault, ref, Interrupted(vault.store, at, lambda v=vault: v.prune(rule=KEEP_ONE)))
        assert_kept(vault, ref, holds=held)
        outcomes.add(held)
    assert outcomes == {True, False}


@pytest.mark.parametrize("pinned_at", range(0, 30, 6))
def test_two_prunes_and_a_pin_among_their_calls(three, pinned_at):
    ref = min(three.held)
    for at in range(0, 40, 8):
        vault = twin_of(three)
        held = []

        def second(vault=vault, held=held):
            store = Interrupted(vault.store, pinned_at, lambda: held.append(pin(vault, ref)))
            vault.prune(rule=KEEP_ONE, store=store)

        vault.prune(rule=KEEP_ONE, store=Interrupted(vault.store, at, second))
        assert_kept(vault, ref, holds=bool(held and held[0]))


class Meanwhile(WrappingStore):
    """A store in which something happens once, right before a blob is put or deleted whose key ends like this."""

    def __init__(self, inner, end, happens):
        super().__init__(inner)
        self._end = end
        self._due = [happens]

    def put(self, key, data):
        self._meet(key)
        return super().put(key, data)

    def delete(self, key):
        self._meet(key)
        super().delete(key)

    def _meet(self, key):
        if self._due and key.endswith(self._end):
            self._due.pop()()


def test_a_prune_that_a_pin_has_ended_deletes_no_point_by_that_record(three):
    """Else a second pin relies on the first one's veto, while the prune has looked at its point for the last time."""
    first, second = sorted(three.held)[:2]
    holds = {}
    store = Meanwhile(three.store, "/takes", lambda: holds.update({first: pin(three, first)}))
    store = Meanwhile(store, second, lambda: holds.update({second: pin(three, second)}))

    three.prune(rule=KEEP_ONE, store=store)

    assert holds == {first: True, second: False}
    assert list(three.store.list("forgettings/")) == []
    assert_kept(three, first, holds=True)
    assert second not in three.held


def test_a_prune_that_lost_its_record_deletes_no_point_that_was_pinned_since(three):
    first, second = sorted(three.held)[:2]
    holds = []

    def days_pass():
        for record in three.open().forgettings.all():
            three.open().forgettings.end(record.id)
        holds.append(pin(three, second))

    passed = threading.Event()

    class Asleep(Meanwhile):
        """A store that answers nothing about the second point's pin before the days have passed."""

        def get(self, key):
            if key == f"marks/{second}/pin":
                assert passed.wait(HANG)
            return super().get(key)

    def wake():
        days_pass()
        passed.set()

    three.prune(rule=KEEP_ONE, store=Asleep(three.store, first, wake))

    assert holds == [True]
    assert_kept(three, second, holds=True)


def test_a_pin_of_a_point_that_goes_between_two_looks_says_that_it_is_late(three):
    ref = min(three.held)
    forgettings = three.open().forgettings
    record = forgettings.begin([ref])
    forgettings.decide(record, [ref])

    class Gone(WrappingStore):
        """A store in which the prune deletes the point, and ends, once the pin was put."""

        def list(self, prefix):
            if prefix == "forgettings/":
                self.inner.delete(f"points/{ref}")
                forgettings.end(record)
            return super().list(prefix)

    assert not pin(three, ref, Gone(three.store))


def test_the_pin_of_a_point_that_a_prune_lets_stay_can_be_set_anew_beside_it(three):
    first, second = sorted(three.held)[:2]
    plan = three.plan(rule=KEEP_ONE)
    assert pin(three, first)
    holds = []

    execute(three.open(Meanwhile(three.store, second, lambda: holds.append(pin(three, first)))), plan)

    assert holds == [True]
    assert_kept(three, first, holds=True)


def test_a_prune_that_died_at_any_write_never_lets_a_pin_promise_what_is_gone(three):
    ref = min(three.held)
    outcomes = []
    for cuts in range(1000):
        vault = twin_of(three)
        store = FaultyStore(vault.store)
        store.fail("write", after=cuts, times=10**6, with_=PowerCut)
        try:
            vault.prune(rule=KEEP_ONE, store=store)
        except PowerCut:
            held = pin(vault, ref)
            assert_kept(vault, ref, holds=held)
            outcomes.append(held)
            continue
        break
    assert {True, False} == set(outcomes)


def test_a_pin_that_came_too_late_leaves_an_earlier_one_as_it_was(three):
    ref = min(three.held)
    marks = three.open().marks
    marks.pin(ref, reason="first", by="jane")
    three.open().forgettings.decide(three.open().forgettings.begin([ref]), [ref])

    assert not pin(three, ref)

    assert three.open().marks.pin_of(ref).reason == "first"


def test_the_records_of_a_prune_are_removed_with_it_and_those_of_a_dead_one_in_time(three):
    three.prune(rule=KEEP_ONE)
    assert list(three.store.list("forgettings/")) == []
    three.held = {held: three.held[held] for held in three.open().point_refs()}
    three.open().forgettings.begin([max(three.held)])
    three.prune()
    assert list(three.store.list("forgettings/"))
    three.store.pass_time(hours=24 * 8)
    three.prune()
    assert list(three.store.list("forgettings/")) == []


def test_a_record_that_cannot_be_read_is_vetoed_or_counts_against_the_pin(three):
    ref = min(three.held)
    forgettings = three.open().forgettings
    undecided = forgettings.begin([ref])
    three.store.replace(f"forgettings/{undecided}/candidates", b"damaged")
    assert pin(three, ref)
    assert forgettings.decide(undecided, [ref]) == frozenset()

    decided = forgettings.begin([max(three.held)])
    forgettings.decide(decided, [])
    three.store.replace(f"forgettings/{decided}/takes", b"damaged")
    assert not pin(three, max(three.held))
