"""Small segments are merged at the end of a run: few are left whatever the history, and nothing is lost at any call."""

from __future__ import annotations

import random
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from unittest import mock

import pytest

from tests.unit.maintenance.conftest import BLOCK, NONE, AgingStore, Vault, block
from tests.unit.maintenance.counted import CountedStore
from tests.unit.maintenance.test_merge import Between, PowerCut, add_segment, fill, opened, pack_of, places, segments
from vmkeep.blobs import LockMode, LockRule, parallel
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.errors import LockedError, PermissionDeniedError
from vmkeep.flows.few_segments import keep_segments_few
from vmkeep.maintenance import gathered_merge
from vmkeep.maintenance.gathered_merge import merge_gathered
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.merge import execute_merge, plan_merge
from vmkeep.maintenance.tidy import forget_sweeps, remove_dead_runs
from vmkeep.repository import Repository
from vmkeep.repository.frames import pack_key
from vmkeep.repository.index import gathered
from vmkeep.repository.index.gathered import MANY
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import FaultyStore, MemoryStore


@contextmanager
def few_are_many():
    """Let two segments be so many that they are merged."""
    with (
        mock.patch("vmkeep.repository.index.gathered.MANY", 2),
        mock.patch.object(gathered_merge, "MANY", 2),
    ):
        yield


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_many_small_segments_become_one_that_lists_the_same(encrypted):
    repository = opened(MemoryStore(), encrypted=encrypted)
    fill(repository, MANY, 5)
    before = places(repository)

    assert merge_gathered(repository) == MANY
    assert segments(repository) == 1
    assert places(repository) == before
    assert not list(repository.blobs.list("runs/"))


def test_a_run_fetches_no_segment_again_that_it_has_loaded():
    store = CountedStore(MemoryStore())
    fill(opened(store), MANY - 1, 5)
    repository = opened(store)
    assert repository.index.entries
    fill(repository, 1, 40, seed=2)  # eight of one size would be one in memory
    store.calls.clear()

    assert merge_gathered(repository) == MANY
    assert store.calls["get index"] == 0
    assert len(places(opened(store))) == 5 * (MANY - 1) + 40


def test_a_segment_that_another_process_has_deleted_since_it_was_loaded_is_not_put_again():
    store = MemoryStore()
    fill(opened(store), MANY, 5)
    slow = opened(store)
    assert slow.index.entries
    assert merge_gathered(opened(store)) == MANY
    before = {blob.key for blob in store.list("index/")}

    assert merge_gathered(slow) == 0
    assert {blob.key for blob in store.list("index/")} == before


def test_a_run_asks_the_store_nothing_while_few_segments_have_gathered():
    store = FaultyStore(MemoryStore())
    repository = opened(store)
    repository.index  # noqa: B018 - loads it
    fill(repository, MANY - 1, 5)
    store.calls.clear()

    keep_segments_few(repository)

    assert store.calls == []


def test_after_any_number_of_runs_few_segments_are_left_and_little_was_written_again():
    store = FaultyStore(MemoryStore())
    chance, most = random.Random(1), 0
    for number in range(200):
        repository = opened(store)
        repository.index  # noqa: B018 - loads it
        add_segment(repository, [chance.randbytes(32) for _ in range(3)], pack_of(number))
        keep_segments_few(repository)
        most = max(most, segments(repository))

    assert most <= MANY + 3
    assert len(places(opened(store))) == 600
    merges = sum(1 for call in store.calls if call[0] == "put" and call[1].startswith("runs/index-"))
    assert merges <= 200 / (MANY - 3)


def test_a_segment_that_is_much_larger_than_all_smaller_ones_is_left_alone():
    repository = opened(MemoryStore())
    fill(repository, 1, 3000, seed=2)
    large = {blob.key for blob in repository.blobs.list("index/")}
    fill(repository, MANY, 5)

    assert merge_gathered(repository) == MANY
    assert large < {blob.key for blob in repository.blobs.list("index/")}


def test_the_larger_segments_are_left_to_maintenance_where_one_merge_would_take_long():
    sizes = {f"index/{number}": 1 << 20 for number in range(40)}
    assert sum(size for _, size in gathered(sizes)) <= 8 << 20
    assert len(gathered({f"index/{number}": 100 for number in range(1000)})) == 128


def test_a_store_that_locks_its_blobs_is_left_alone():
    store = MemoryStore()
    rule = LockRule(mode=LockMode.GOVERNANCE, days=3)
    made = descriptor.new_descriptor(block_size=65536, compression="zstd", lock=rule)
    repository = Repository(store, made)
    fill(repository, 2 * MANY, 5)

    assert merge_gathered(repository) == 0
    assert segments(repository) == 2 * MANY


@pytest.mark.parametrize("refusal", [LockedError, PermissionDeniedError])
def test_a_store_that_refuses_to_delete_segments_gets_one_more_and_loses_nothing(refusal):
    class Refusing(MemoryStore):
        def delete(self, key):
            if key.startswith("index/"):
                raise refusal(f"{key}: stays")
            super().delete(key)

    runs = 30  # more than one merge takes
    store = FaultyStore(Refusing())
    with mock.patch("vmkeep.repository.index.gathered._MOST", 12):
        for number in range(runs):
            repository = opened(store)
            repository.index  # noqa: B018 - loads it
            add_segment(repository, [number.to_bytes(32, "big")], pack_of(number))
            store.calls.clear()
            keep_segments_few(repository)

    assert len(store.calls) <= 1
    assert segments(repository) == runs + 1
    assert len(set(places(repository))) == runs


def test_a_store_that_refused_is_asked_again_after_the_time_for_which_leftovers_stay():
    vault = Vault(AgingStore())
    descriptor.create(vault.store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))

    class Refusing(WrappingStore):
        def delete(self, key):
            if key.startswith("index/"):
                raise PermissionDeniedError(f"{key}: stays")
            super().delete(key)

    fill(vault.open(), MANY, 5)
    assert merge_gathered(vault.open(Refusing(vault.store))) == 0
    assert merge_gathered(vault.open()) == 0
    vault.store.pass_time(24 * 8)
    remove_dead_runs(vault.open(), Margins(), time=vault.store.time)
    fill(vault.open(), MANY, 5, seed=2)

    assert merge_gathered(vault.open()) == 2 * MANY + 1


def test_a_damaged_segment_is_left_alone_and_the_others_are_merged():
    repository = opened(MemoryStore())
    fill(repository, MANY + 1, 5)
    key = next(repository.blobs.list("index/")).key
    blob = bytearray(repository.blobs.get(key))
    blob[200] ^= 1
    repository.blobs.replace(key, blob)

    assert merge_gathered(opened(repository.blobs)) == MANY
    assert {each.key for each in repository.blobs.list("index/")} > {key}
    assert repository.blobs.get(key) == bytes(blob)


def test_a_segment_whose_bytes_were_never_verified_and_have_rotted_is_neither_copied_nor_deleted(monkeypatch):
    repository = opened(MemoryStore())
    fill(repository, MANY + 1, 5)
    rotten = min(blob.key for blob in repository.blobs.list("index/"))
    monkeypatch.setattr(type(repository.index), "is_whole", lambda _self, key, _segment: key != rotten)

    assert merge_gathered(repository) == MANY
    assert rotten in {blob.key for blob in repository.blobs.list("index/")}


def test_a_power_cut_at_any_write_loses_nothing_and_the_next_run_merges():
    cut = 0
    for survived in range(MANY + 6):
        disk = MemoryStore()
        repository = opened(disk)
        fill(repository, MANY, 5)
        before = places(repository)
        store = FaultyStore(disk)
        store.fail("write", after=survived, times=10**6, with_=PowerCut)
        with mock.patch.object(parallel, "AT_ONCE", 1):
            try:
                merge_gathered(opened(store))
            except PowerCut:
                cut += 1
        assert set(places(repository)) == set(before)
    assert cut == MANY + 5  # a put, the deletions, and 4 of its try


@pytest.mark.parametrize("after", range(1, MANY + 4))
def test_a_merge_in_the_middle_of_another_loses_nothing(after):
    disk = MemoryStore()
    repository = opened(disk)
    fill(repository, MANY, 5)
    before = places(repository)
    store = Between(disk, after)
    store.other = lambda: merge_gathered(opened(disk))
    with mock.patch.object(parallel, "AT_ONCE", 1):
        merge_gathered(opened(store))

    assert set(places(repository)) == set(before)
    fill(repository, MANY, 5, seed=2)
    merge_gathered(repository)
    assert len(places(repository)) == 10 * MANY  # each entry once


class Met:
    """A store at which something happens right before one of its calls."""

    def __init__(self, inner, at, happens):
        self._inner, self._at, self._happens = inner, at, happens
        self.count = 0

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name not in ("put", "replace", "get", "get_range", "size", "list", "delete"):
            return found

        def call(*arguments):
            self.count += 1
            if self.count == self._at:
                self._happens()
            return found(*arguments)

        return call


def with_a_condemned_pack():
    """Return a vault in which the next prune deletes a pack that the index names."""
    vault = Vault(AgingStore())
    descriptor.create(vault.store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    vault.back_up([block(1)])
    vault.back_up([block(2)])
    vault.forget(vault.back_up([block(9)]))
    vault.prune(margins=replace(NONE, condemned_for=timedelta(hours=1)))
    vault.store.pass_time(2)
    return vault


def merging(vault, store, *, loaded):
    """Merge, as a run does that has loaded the index before, or as one that has not."""
    repository = vault.open(store)
    if loaded:
        assert repository.index.entries
    with few_are_many():
        return merge_gathered(repository)


@pytest.mark.parametrize("loaded", [False, True], ids=["fetched", "loaded before"])
def test_a_prune_at_any_call_of_a_merge_harms_no_point_and_leaves_nothing_that_others_count_on(loaded):
    made, at, calls, came_back = with_a_condemned_pack(), 1, 1, 0
    while at <= calls:
        vault = Vault(made.store.twin(), deepcopy(made.held), made.count)
        store = Met(vault.store, at, vault.prune)
        merging(vault, store, loaded=loaded)
        came_back += bool(named(vault) - vault.packs)
        vault.assert_whole()
        vault.back_up([block(9)])  # must not count on a block that is gone
        vault.prune()
        vault.assert_whole()
        at, calls = at + 1, max(calls, store.count)
    assert calls > 10
    assert came_back  # entries of packs that were deleted, as a merge without looking at packs may leave them


def with_a_segment_of_a_past_sweep():
    """Return a vault with the old record of a sweep, and with a segment that names what the sweep deleted."""
    vault = with_a_condemned_pack()
    dangling = {blob.key: vault.store.get(blob.key) for blob in vault.store.list("index/")}
    vault.prune()
    for key, data in dangling.items():
        vault.store.put(key, data)
    vault.store.pass_time(24 * 8)
    assert named(vault) - vault.packs
    return vault


@pytest.mark.parametrize("loaded", [False, True], ids=["fetched", "loaded before"])
def test_a_merge_puts_no_entry_again_whose_pack_was_deleted_before_it_began(loaded):
    vault = with_a_segment_of_a_past_sweep()

    def forget():
        execute_merge(vault.open(), plan_merge(vault.open()))  # leaves these entries out
        assert forget_sweeps(vault.open(), Margins(), time=vault.store.time) == 1

    class Slow(WrappingStore):
        def put(self, key, data):
            if key.startswith("index/"):
                forget()
            return super().put(key, data)

    assert merging(vault, Slow(vault.store), loaded=loaded)
    assert named(vault) <= vault.packs
    vault.back_up([block(9)])
    vault.assert_whole()


def test_a_merge_keeps_entries_of_a_pack_that_its_sweep_could_not_delete():
    vault = with_a_segment_of_a_past_sweep()
    gone = named(vault) - vault.packs
    for pack in gone:
        vault.store.put(pack_key(pack), b"locked")

    with few_are_many():
        assert merge_gathered(vault.open())
    assert gone <= named(vault)


def named(vault):
    return {row.tobytes() for columns in vault.open().fresh_index().columns() for row in columns.pack_ids}
