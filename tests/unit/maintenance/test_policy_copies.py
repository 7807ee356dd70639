"""The points of a policy that a second repository gets: those that it lacks, and none that it has forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.maintenance.conftest import BLOCK, AgingStore, Vault, block
from vmkeep.clock import now
from vmkeep.flows.policy_copies import copy_until, points_to_copy
from vmkeep.repository.unlock import descriptor


@pytest.fixture
def second():
    store = AgingStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="lz4"))
    return Vault(store)


def copy(vault, second, *, until=None):
    source, target = vault.open(), second.open()
    refs = points_to_copy(source, target, "gold")
    done = copy_until(source, target, refs, name="offsite", until=until, on_progress=lambda _event: None)
    return [*refs], done


def test_a_second_repository_begins_with_the_newest_point_and_then_gets_each_one_of_the_policy(vault, second):
    vault.back_up([block(1)], policy="gold")
    first = vault.back_up([block(2)], policy="gold")
    vault.back_up([block(3)], policy="other", vm="other")
    assert copy(vault, second)[0] == [first]
    later = [vault.back_up([block(number)], policy=policy) for number, policy in ((4, "gold"), (5, None), (6, "gold"))]
    refs, done = copy(vault, second)
    assert (refs, done.copied, done.failed, done.left) == ([later[0], later[2]], 2, {}, ())
    assert copy(vault, second)[0] == []
    assert sorted(second.open().point_refs()) == sorted([first, later[0], later[2]])
    assert second.open().check(read_data=True) == []
    assert second.open().load_point(first).policy == "gold"


def test_a_point_that_the_second_repository_has_forgotten_does_not_come_back(vault, second):
    for number in range(1, 3):
        vault.back_up([block(number)], policy="gold")
        copy(vault, second)
    gone, _ = sorted(second.open().point_refs())
    second.store.delete(f"sealed/{gone}")
    second.store.delete(f"points/{gone}")
    assert copy(vault, second)[0] == []


def test_points_that_are_not_copied_in_time_follow_the_next_time(vault, second):
    refs = [vault.back_up([block(number)], policy="gold", vm=f"vm{number}") for number in range(1, 3)]
    _, done = copy(vault, second, until=now())
    assert (done.copied, done.left) == (0, tuple(refs))
    _, done = copy(vault, second, until=now() + timedelta(hours=1))
    assert (done.copied, done.left) == (2, ())
