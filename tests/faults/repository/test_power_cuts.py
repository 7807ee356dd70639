"""The power fails after every single write: what was sealed stays readable, and a retry finishes the job."""

from __future__ import annotations

import copy

import pytest

from vmkeep.errors import StoreError
from vmkeep.testing import FaultyStore

BLOCK = 65536


def copied(store):
    """The same disk before the power fails, to cut it elsewhere."""
    twin = copy.copy(store)
    twin._blobs = dict(store._blobs)
    return twin


@pytest.mark.parametrize("kind", ["full", "incremental"])
def test_a_power_cut_between_any_two_puts_loses_at_most_the_run_in_progress(store, vm, changes, power_cut, kind):
    first = vm.back_up(store, "run-1")
    extents = changes(vm, 5)
    fields = {} if kind == "full" else {"extents": extents, "parent": first.images[0].root}
    cuts = 0
    for after in range(1000):
        survivor = copied(store)
        faulty = FaultyStore(survivor)
        faulty.fail("write", after=after, times=10**6, with_=power_cut)
        try:
            vm.back_up(faulty, "run-2", **fields)
            break
        except power_cut:
            cuts += 1
        vm.assert_every_sealed_point_is_readable(survivor, at_least=[first.ref])
        again = vm.back_up(survivor, "run-2", **fields)
        vm.assert_every_sealed_point_is_readable(survivor, at_least=[first.ref, again.ref])

    assert cuts >= 4
    assert [key.split("/")[0] for call, key in faulty.calls if call == "put"][-2:] == ["points", "sealed"]


@pytest.mark.parametrize("lost", range(12))
def test_a_lost_reply_is_no_lost_backup_and_no_second_point(store, vm, changes, lost):
    from vmkeep.blobs.wrappers.settling import SettlingStore

    vm.back_up(store, "run-1")
    changes(vm, 6)
    faulty = FaultyStore(store)
    faulty.fail("put", after=lost, with_=StoreError("connection reset"), reply_lost=True)

    second = vm.back_up(SettlingStore(faulty), "run-2")

    assert [key for call, key in faulty.calls if call == "put" and key.startswith("points/")] == [
        f"points/{second.ref}"
    ]
    vm.assert_every_sealed_point_is_readable(store, at_least=[second.ref])


def test_a_failing_store_fails_the_backup_and_harms_nothing(store, vm, changes):
    first = vm.back_up(store, "run-1")
    changes(vm, 7)
    for after in range(1000):
        survivor = copied(store)
        faulty = FaultyStore(survivor)
        faulty.fail("write", after=after, with_=StoreError("reset"))
        try:
            vm.back_up(faulty, "run-2")
            break
        except StoreError:
            vm.assert_every_sealed_point_is_readable(survivor, at_least=[first.ref])
    assert after >= 4
