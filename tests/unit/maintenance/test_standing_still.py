"""A process that stands still while it rewrites the index, until others take it for dead, harms nobody later on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.maintenance.conftest import NONE, block
from tests.unit.maintenance.test_gathered_merge import few_are_many
from vmkeep.errors import StaleError
from vmkeep.maintenance.gathered_merge import merge_gathered
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.merge import execute_merge, plan_merge
from vmkeep.maintenance.repair import repair_index
from vmkeep.repository.checks import pack_id_of
from vmkeep.repository.folders import INDEX, RUNS, SWEEPS
from vmkeep.testing import FaultyStore

IMPATIENT = Margins(young_for=timedelta(), condemned_for=timedelta(), left_for=timedelta(hours=1))


class Still(FaultyStore):
    """A store at which the process stands still for hours right before it puts a segment for the first time."""

    def __init__(self, vault, *, meanwhile):
        super().__init__(vault.store)
        self._meanwhile = meanwhile

    def put(self, key, data):
        if key.startswith(INDEX) and self._meanwhile:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return super().put(key, data)


def forget_and_prune(vault, ref):
    """Forget a point, delete its packs, and remove what tells of both, as prunes of many days do."""

    def meanwhile():
        vault.forget(ref)
        vault.prune()
        for _ in range(3):
            vault.store.pass_time(10)
            vault.prune(margins=IMPATIENT)
        assert list(vault.store.list(SWEEPS)) == []
        assert list(vault.store.list(RUNS)) == []

    return meanwhile


def named_and_missing(vault):
    """Return the packs that the index names although they do not exist."""
    index = vault.open().fresh_index()
    return {row.tobytes() for columns in index.columns() for row in columns.pack_ids} - vault.packs


def merge(repository):
    execute_merge(repository, plan_merge(repository))


def merge_few(repository):
    with few_are_many():
        merge_gathered(repository)


@pytest.mark.parametrize("rewrite", [merge, merge_few, repair_index])
def test_a_rewriting_that_stood_still_leaves_nothing_that_others_count_on(vault, rewrite):
    for number in range(1, 4):
        vault.back_up([block(number)])
    before = {blob.key for blob in vault.store.list(INDEX)}
    going = vault.back_up([block(9)])
    if rewrite is repair_index:
        for key in {blob.key for blob in vault.store.list(INDEX)} - before:
            vault.store.delete(key)

    with pytest.raises(StaleError, match="start it again"):
        rewrite(vault.open(Still(vault, meanwhile=forget_and_prune(vault, going))))

    vault.assert_whole()
    vault.back_up([block(9)])  # would count on a block that is gone
    vault.prune()
    vault.assert_whole()
    assert not named_and_missing(vault)


def test_a_prune_that_stood_still_leaves_nothing_that_others_count_on(vault):
    vault.back_up([block(1)])
    both = vault.back_up([block(7)]), vault.back_up([block(9)])
    repository = vault.open()
    merge(repository)  # so that one segment names the packs of both
    vault.forget(both[0])

    with pytest.raises(StaleError, match="start it again"):
        vault.prune(store=Still(vault, meanwhile=forget_and_prune(vault, both[1])))

    vault.assert_whole()
    vault.back_up([block(9)])
    vault.prune()
    vault.assert_whole()
    assert not named_and_missing(vault)


def test_a_prune_takes_a_pack_out_of_the_index_that_nothing_needs_and_that_does_not_exist(vault):
    vault.back_up([block(1)])
    going = vault.back_up([block(9)])
    kept = {blob.key: vault.store.get(blob.key) for blob in vault.store.list(INDEX)}
    forget_and_prune(vault, going)()
    for key, content in kept.items():
        vault.store.put(key, content)
    assert len(vault.open().check()) == len(named_and_missing(vault)) > 0

    assert vault.prune(margins=Margins()).packs_condemned == len(named_and_missing(vault))

    vault.assert_whole()  # a check excuses what is condemned
    vault.back_up([block(9)])
    vault.prune(margins=NONE)
    vault.assert_whole()
    assert not named_and_missing(vault)


def test_a_pack_that_a_point_needs_and_that_does_not_exist_stays_in_the_index(vault):
    vault.back_up([block(1)])
    contents = {blob.key: vault.store.get(blob.key) for blob in vault.store.list("packs/")}
    lost = max(contents, key=lambda key: len(contents[key]))
    vault.store.delete(lost)

    assert vault.plan().condemned == {}

    vault.store.put(lost, contents[lost])
    vault.assert_whole()


def test_a_prune_keeps_a_condemned_pack_in_the_index_that_a_point_needs_and_that_is_out_of_sight(vault):
    """A seal that misses a pack condemns it, because it cannot know that only its disk is not mounted."""
    vault.back_up([block(1)])
    contents = {blob.key: vault.store.get(blob.key) for blob in vault.store.list("packs/")}
    away = max(contents, key=lambda key: len(contents[key]))
    vault.store.delete(away)
    vault.open().sweep_records.condemn([pack_id_of(away)])

    assert vault.prune().lost_blocks == 1

    assert pack_id_of(away) in vault.open().sweep_records.avoided()
    vault.store.put(away, contents[away])
    vault.assert_whole()
    assert vault.prune().packs_pardoned == 1
    vault.assert_whole()
