"""A deletion that dies at any call, and one that starts at any call of a check, a backup or a restore."""

from __future__ import annotations

import pytest

from tests.faults.maintenance.test_last_points_during_deletions import carry_out, in_time, planned, twin_of
from tests.faults.maintenance.test_pins_during_prunes import three
from tests.faults.maintenance.test_prune_power_cuts import PowerCut
from tests.faults.maintenance.test_starting_one_while_another_runs import Interrupted
from tests.unit.maintenance.conftest import BLOCK, block, described, read, small_packs, write
from vmkeep.errors import NotFoundError
from vmkeep.maintenance import delete_points, plan_deletion
from vmkeep.testing import FaultyStore

__all__ = ["in_time", "small_packs", "three"]


def left_in(vault):
    """Take points that are gone from the model, and return them."""
    gone = set(vault.held) - set(vault.open().point_refs())
    vault.held = {ref: blocks for ref, blocks in vault.held.items() if ref not in gone}
    return gone


@pytest.mark.parametrize("verb", ["write", "delete"])
def test_a_deletion_that_dies_after_any_call_is_whole_or_undone_and_can_be_done_again(three, verb):
    named = min(three.held)
    for after in range(100):
        vault = twin_of(three)
        faulty = FaultyStore(vault.store)
        faulty.fail(verb, after=after, times=10**6, with_=PowerCut)
        try:
            delete_points(vault.open(faulty), planned(vault, named))
            break
        except PowerCut:
            assert left_in(vault) <= {named}
        vault.assert_whole()
        if named in vault.held:
            assert delete_points(vault.open(), planned(vault, named)).points_deleted == (named,)
        else:
            with pytest.raises(NotFoundError, match="no restore point"):
                plan_deletion(vault.open(), [named])
        left_in(vault)
        vault.assert_whole()
        vault.back_up([block(1), block(90 + after)])
        vault.prune()
        vault.assert_whole()
    assert after > 1


def test_a_check_that_a_deletion_overtakes_finds_no_fault(three):
    named = min(three.held)
    counted = Interrupted(three.store, -1, lambda: None)
    three.open(counted).check(read_data=True)
    for at in range(counted.calls):
        vault = twin_of(three)
        during = Interrupted(vault.store, at, lambda v=vault: carry_out(v, planned(v, named)))
        assert vault.open(during).check(read_data=True) == [], at
        assert left_in(vault) == {named}
        vault.assert_whole()


def test_a_restore_of_a_point_that_is_deleted_meanwhile_is_whole_or_says_that_the_point_is_gone(three):
    named = min(three.held)

    def restore(vault, store):
        repository = vault.open(store)
        return read(repository, repository.load_point(named).images[0].root)

    counted = Interrupted(three.store, -1, lambda: None)
    restore(three, counted)
    outcomes = set()
    for at in range(counted.calls):
        vault = twin_of(three)
        during = Interrupted(vault.store, at, lambda v=vault: carry_out(v, planned(v, named)))
        try:
            outcomes.add("whole" if restore(vault, during) == three.held[named] else "wrong")
        except NotFoundError as error:
            outcomes.add("gone" if named in str(error) else "no name")
    assert outcomes == {"whole", "gone"}


def test_a_backup_that_begins_with_blocks_of_a_point_that_is_deleted_meanwhile_is_whole(three):
    named = min(three.held)
    blocks = [*three.held[named], block(70)]

    def back_up(vault, store):
        repository = vault.open(store)
        with repository.open_writer(run="beside") as out:
            root = write(repository, out, blocks)
            out.flush()
        vault.held[repository.seal(described(root, "beside", number=50, size=len(blocks) * BLOCK))] = blocks

    counted = Interrupted(twin_of(three).store, -1, lambda: None)
    back_up(twin_of(three), counted)
    for at in range(counted.calls):
        vault = twin_of(three)
        during = Interrupted(vault.store, at, lambda v=vault: carry_out(v, planned(v, named)))
        back_up(vault, during)
        assert left_in(vault) == {named}
        vault.assert_whole()


def test_two_deletions_of_one_point_at_once_delete_it_once_and_neither_fails(three):
    named = min(three.held)
    plan = planned(three, named)
    counted = Interrupted(twin_of(three).store, -1, lambda: None)
    delete_points(twin_of(three).open(counted), plan)
    for at in range(counted.calls):
        vault = twin_of(three)
        during = Interrupted(vault.store, at, lambda v=vault: carry_out(v, plan))
        delete_points(vault.open(during), plan)
        assert left_in(vault) == {named}
        vault.assert_whole()
        assert list(vault.store.list("forgettings/")) == []
