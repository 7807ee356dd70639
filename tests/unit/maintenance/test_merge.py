"""Merging the index: nothing is lost at any instant, nothing is written more often than it pays."""

from __future__ import annotations

import math
import random
import threading
from array import array
from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.maintenance.conftest import BLOCK, AgingStore, Vault, block, write
from vmkeep.blobs import parallel
from vmkeep.maintenance import merge
from vmkeep.maintenance.merge import MergeReport, MergeSource, execute_merge, plan_merge
from vmkeep.repository import Kind, Repository
from vmkeep.repository.frames.keys import Keys
from vmkeep.repository.frames.packs import PackContents, pack_key
from vmkeep.repository.index import segmentloader
from vmkeep.repository.index.index import Index
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import FaultyStore, MemoryStore

MASTER = b"m" * 32


def opened(store, *, encrypted=False):
    if not any(blob.key == descriptor.KEY for blob in store.list("")):
        made = descriptor.new_descriptor(block_size=65536, compression="zstd")
        descriptor.create(store, made, Keys(MASTER, repository=made.id) if encrypted else None)
    made = descriptor.load(store)
    return Repository(store, made, keys=Keys(MASTER, repository=made.id) if encrypted else None)


def add_segment(repository, digests, pack):
    count = len(digests)
    repository.blobs.put(pack_key(pack), b"pack")
    repository.index.store_segment(
        [
            PackContents(
                pack_id=pack,
                kind=Kind.BLOCK,
                offsets=array("I", [32 + 1000 * row for row in range(count)]),
                lengths=array("I", [1000] * count),
                raw_lengths=array("I", [4096] * count),
                digests=b"".join(digests),
                checksum=0,
            )
        ]
    )


def places(repository):
    """Every entry of the index, as a sorted list."""
    fresh = Index(repository.blobs, repository.framer)
    fresh.refresh()
    assert not fresh.damaged
    found = []
    for columns in fresh.columns():
        digests = columns.digests()
        for row in range(len(digests)):
            pack, kind = columns.table[columns.packs[row]]
            found.append((digests[row].tobytes(), pack, kind, int(columns.offsets[row]), int(columns.lengths[row])))
    return sorted(found)


def merged(repository):
    return execute_merge(repository, plan_merge(repository))


def segments(repository):
    return sum(1 for _ in repository.blobs.list("index/"))


def pack_of(number):
    return number.to_bytes(2, "big") + bytes(14)


def fill(repository, count, size, seed=1):
    chance = random.Random(seed)
    for number in range(count):
        add_segment(repository, [chance.randbytes(32) for _ in range(size)], pack_of(number + 256 * seed))


few = st.integers(0, 30).map(lambda number: bytes([number * 8]) * 32) | st.binary(min_size=32, max_size=32)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(few, min_size=1, max_size=8), min_size=2, max_size=6), st.integers(2, 40), st.booleans())
def test_after_a_merge_everything_is_where_it_was(groups, part, encrypted):
    repository = opened(MemoryStore(), encrypted=encrypted)
    for number, group in enumerate(groups):
        add_segment(repository, group, pack_of(number))
    before = places(repository)
    with mock.patch.object(merge, "_PART", part):
        report = merged(repository)

    assert places(repository) == before
    assert report.dangling == report.twins == 0
    fresh = Index(repository.blobs, repository.framer)
    fresh.refresh()
    for digest, _, _, _, _ in before:
        found = {(place.pack, place.offset) for row in fresh.rows for place in row.find_all(digest)}
        assert found == {(pack, offset) for other, pack, _, offset, _ in before if other == digest}


def test_parts_have_ranges_of_their_own_and_are_one_row():
    repository = opened(MemoryStore())
    fill(repository, 20, 100)
    with mock.patch.object(merge, "_PART", 300):
        merged(repository)
        plan = plan_merge(repository)

        assert segments(repository) == plan.segments == 7
        assert plan.rows == 1
        assert not plan.sources
        assert merged(repository) == MergeReport()


def test_entries_that_are_listed_twice_are_listed_once_then():
    repository = opened(MemoryStore())
    fill(repository, 4, 50)
    copies = [repository.blobs.get(blob.key) for blob in repository.blobs.list("index/")]
    before = places(repository)
    for number, copy in enumerate(copies):
        repository.blobs.put(f"index/{number:032x}", copy)
    report = merged(repository)

    assert report.twins == 200
    assert places(repository) == before


def test_a_block_stored_twice_keeps_both_places():
    repository = opened(MemoryStore())
    digests = [bytes([number]) * 32 for number in range(9)]
    add_segment(repository, digests, pack_of(1))
    add_segment(repository, digests, pack_of(2))
    before = places(repository)

    assert merged(repository).twins == 0
    assert len(places(repository)) == 18
    assert places(repository) == before


def swept(repository, *packs):
    """Leave the record of a sweep that has deleted the packs and is over."""
    records = repository.sweep_records
    sweep = records.begin_sweep(packs)
    records.decide(sweep, packs)
    for pack in packs:
        repository.blobs.delete(pack_key(pack))
    records.finish_sweep(sweep)


def test_entries_of_packs_that_a_sweep_has_deleted_are_left_out():
    repository = opened(MemoryStore())
    fill(repository, 3, 10)
    before = places(repository)
    add_segment(repository, [bytes([number]) * 32 for number in range(7)], pack_of(7777))
    swept(repository, pack_of(7777))
    report = merged(repository)

    assert report.dangling == 7
    assert places(repository) == before


def test_only_entries_of_deleted_packs_leave_no_segment():
    repository = opened(MemoryStore())
    for number in range(3):
        add_segment(repository, [bytes([number]) * 32], pack_of(number))
    swept(repository, *map(pack_of, range(3)))

    assert merged(repository).segments_written == 0
    assert segments(repository) == 0


def folder_of(key):
    return key[: len("packs/xx")]


def everything(_key):
    return "packs"


@pytest.mark.parametrize("mounted", [everything, folder_of], ids=["packs", "packs/xx"])
def test_a_merge_keeps_the_entries_of_packs_that_are_on_a_disk_that_is_not_mounted(mounted):
    """A backup that fails meanwhile leaves packs in the empty folder, so the number of packs says nothing."""
    vault = vault_of(range(1, 5))
    disks = sorted({mounted(blob.key) for blob in vault.store.list("packs/")})
    for number, away in enumerate(disks):
        packs = {
            blob.key: vault.store.get(blob.key) for blob in vault.store.list("packs/") if mounted(blob.key) == away
        }
        for key in packs:
            vault.store.delete(key)
        with vault.open().open_writer(run=f"fails beside {away}") as out:
            write(vault.open(), out, [block(100 + number)])
            out.flush()
        before = places(vault.open())
        repository = vault.open()

        report = execute_merge(repository, merge_of_all(repository))

        assert report.dangling == 0
        assert set(places(vault.open())) == set(before)
        for key, content in packs.items():
            vault.store.put(key, content)
        vault.assert_whole()


def test_entries_of_a_pack_that_is_lost_go_with_a_prune_once_no_point_needs_them():
    vault = vault_of([1, 2])
    there = vault.packs
    lost = vault.back_up([block(3)])
    for pack in vault.packs - there:
        vault.store.delete(pack_key(pack))
    repository = vault.open()
    assert execute_merge(repository, merge_of_all(repository)).dangling == 0
    vault.forget(lost)
    vault.prune()  # condemns what only the index names
    vault.prune()

    assert {pack for _, pack, _, _, _ in places(vault.open())} <= vault.packs
    vault.assert_whole()


def vault_of(seeds):
    vault = Vault(AgingStore())
    descriptor.create(vault.store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    for seed in seeds:
        vault.back_up([block(seed)])
    return vault


def merge_of_all(repository):
    """Return the plan of a merge of all segments, whether it pays or not."""
    plan = plan_merge(repository)
    sources = tuple(
        MergeSource(key=key, size=size, entries=segment.entries, first=segment.first, last=segment.last)
        for key, size, segment in repository.stored_index.stored()
    )
    assert len(sources) > 1
    return replace(plan, sources=sources)


class PowerCut(BaseException):
    """The process dies here."""


def test_a_power_cut_at_any_write_of_a_merge_loses_nothing_and_the_next_ends_it():
    cut = 0
    for survived in range(16):
        disk = MemoryStore()
        repository = opened(disk)
        fill(repository, 6, 30)
        before = places(repository)
        store = FaultyStore(disk)
        store.fail("write", after=survived, times=10**6, with_=PowerCut)
        with mock.patch.object(merge, "_PART", 50), mock.patch.object(parallel, "AT_ONCE", 1):
            try:
                merged(opened(store))
            except PowerCut:
                cut += 1
            assert set(places(repository)) == set(before)
            while plan_merge(repository).sources:
                merged(repository)
        assert set(places(repository)) == set(before)
    assert cut == 14  # 4 puts and 6 deletions, and 4 of its try


def test_of_two_merges_of_the_same_segments_both_may_end():
    store = MemoryStore()
    one, other = opened(store), opened(store)
    fill(one, 6, 30)
    before = places(one)
    plans = plan_merge(one), plan_merge(other)
    execute_merge(one, plans[0])
    second = execute_merge(other, plans[1])

    assert second == MergeReport()  # all that it wanted was gone
    assert places(one) == before


class Between(FaultyStore):
    """Lets another merge run before a write."""

    def __init__(self, inner, after):
        super().__init__(inner)
        self.after, self.other = after, lambda: None

    def _now(self):
        self.after -= 1
        if self.after == 0:
            self.other()

    def put(self, key, data):
        self._now()
        return super().put(key, data)

    def delete(self, key):
        self._now()
        super().delete(key)


@pytest.mark.parametrize("after", range(1, 11))
def test_a_merge_in_the_middle_of_another_loses_nothing(after):
    disk = MemoryStore()
    repository = opened(disk)
    fill(repository, 6, 30)
    before = places(repository)
    store = Between(disk, after)
    store.other = lambda: merged(opened(disk))
    with mock.patch.object(merge, "_PART", 50), mock.patch.object(parallel, "AT_ONCE", 1):
        merged(opened(store))
        assert set(places(repository)) == set(before)
        while plan_merge(repository).sources:
            merged(repository)
    assert set(places(repository)) == set(before)


def test_look_ups_find_everything_at_any_instant_of_merges_by_others():
    store = MemoryStore()
    repository = opened(store)
    digests = [bytes([number]) * 32 for number in range(200)]
    for number in range(20):
        add_segment(repository, digests[number * 10 : number * 10 + 10], pack_of(number))
    over = threading.Event()
    failures = []

    def look():
        reader = opened(store)
        while not over.is_set():
            reader.index.refresh()
            failures.extend(digest for digest in digests if reader.index.find(digest) is None)
            failures.extend(reader.index.damaged)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    with mock.patch.object(merge, "_PART", 40):
        for number in range(20, 30):
            add_segment(repository, [random.Random(number).randbytes(32)], pack_of(number))
            merged(repository)
    over.set()
    for thread in threads:
        thread.join()

    assert not failures


def test_a_damaged_segment_is_left_alone_and_stays_a_finding():
    repository = opened(MemoryStore())
    fill(repository, 5, 20)
    key = next(repository.blobs.list("index/")).key
    blob = bytearray(repository.blobs.get(key))
    blob[200] ^= 1
    repository.blobs.replace(key, blob)
    with mock.patch.object(segmentloader, "_VERIFIED", 100):  # a large one is not verified when it is opened
        report = merged(Repository(repository.blobs, repository.descriptor))

    assert report.segments_removed == 4
    assert bytes(blob) == repository.blobs.get(key)


def test_every_night_something_is_merged_and_little_is_written_again():
    repository = opened(MemoryStore())
    chance, nights, rewritten, rows = random.Random(3), 60, 0, 0
    with mock.patch.object(merge, "_PART", 100):
        for night in range(nights):
            add_segment(repository, [chance.randbytes(32) for _ in range(10)], pack_of(night))
            rewritten += merged(repository).entries
            rows = max(rows, plan_merge(repository).rows)

    assert rows <= 6
    assert rewritten / (nights * 10) <= math.log(nights, 1.5) + 2


def test_a_large_row_is_left_alone_until_it_is_worth_writing_again():
    repository = opened(MemoryStore())
    with mock.patch.object(merge, "_PART", 100):
        fill(repository, 16, 25)
        merged(repository)
        large = {blob.key for blob in repository.blobs.list("index/")}
        fill(repository, 4, 25, seed=2)
        merged(repository)
        assert large < {blob.key for blob in repository.blobs.list("index/")}
        fill(repository, 8, 25, seed=3)
        merged(repository)

        assert not large & {blob.key for blob in repository.blobs.list("index/")}
    assert len(places(repository)) == 28 * 25


def test_a_merge_takes_on_no_more_than_fits_into_memory():
    repository = opened(MemoryStore())
    fill(repository, 30, 20)
    before = places(repository)
    rounds = 0
    with mock.patch.object(merge, "_AT_ONCE_BYTES", 5000):
        while (plan := plan_merge(repository)).sources:
            assert sum(source.size for source in plan.sources) <= 5000 or len(plan.sources) == 2
            execute_merge(repository, plan)
            rounds += 1

    assert rounds > 3
    assert places(repository) == before
