"""Requests go side by side wherever there are many: what counts is the store's latency, and their number is bounded."""

from __future__ import annotations

import os
import random
import threading
from collections import deque
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.crowded import most_at_once
from tests.patience import HANG
from tests.sealed import store_file
from vmkeep.blobs import BlobInfo, BlobStore
from vmkeep.blobs.local import LocalStore
from vmkeep.blobs.parallel import AT_ONCE, SMALL_AT_ONCE, abreast
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.catalog import open_catalog
from vmkeep.errors import CorruptError, StoreError
from vmkeep.maintenance.repair import repair_index, repair_points
from vmkeep.model.point import VmIdentity
from vmkeep.repository import Repository
from vmkeep.repository.checks.packcheck import read_contents
from vmkeep.repository.folders import DAMAGE, INDEX, MARKS
from vmkeep.repository.notes.damage import PackDamage, PackState
from vmkeep.repository.unlock.descriptor_check import require_own
from vmkeep.testing import FaultyStore, MemoryStore

POINTS = 40


@pytest.fixture
def full(make, point):
    """A repository with forty points of twenty VMs, each with packs and a segment of its own."""
    repository = make()
    for number in range(POINTS):
        run = f"run-{number}"
        root, _ = store_file(repository, random.Random(number).randbytes(1 << 17), run=run)
        taken_at = point().taken_at + timedelta(hours=number)
        vm = VmIdentity(name="web", key=f"vm-{number % 20}")
        repository.seal(point(root, id=f"{number:016x}", vm=vm, run=run, taken_at=taken_at))
    return repository


def _reopened(repository: Repository, store) -> Repository:
    return Repository(store, repository.descriptor)


@pytest.mark.parametrize("prefix", ["packs/", "index/", "points/"])
def test_a_check_reads_many_objects_at_a_time_and_a_bounded_number(full, prefix):
    assert most_at_once(full.blobs, prefix, lambda store: _reopened(full, store).check(), wanted=AT_ONCE) == AT_ONCE


def test_points_are_checked_many_at_a_time(full):
    check = lambda store: repair_points(_reopened(full, store))  # noqa: E731

    assert most_at_once(full.blobs, "points/", check, wanted=AT_ONCE) == AT_ONCE
    assert most_at_once(full.blobs, "packs/", check, wanted=AT_ONCE) == AT_ONCE


def test_of_one_vm_the_first_point_goes_ahead_and_the_others_go_together(make, point):
    repository = make()
    for number in range(POINTS):
        run = f"run-{number}"
        taken_at = point().taken_at + timedelta(hours=number)
        root, _ = store_file(repository, random.Random(number).randbytes(1 << 17), run=run)
        repository.seal(point(root, id=f"{number:016x}", run=run, taken_at=taken_at))
    check = lambda store: _reopened(repository, store).check()  # noqa: E731

    assert most_at_once(repository.blobs, "points/", check, wanted=AT_ONCE, ahead=1) == AT_ONCE


def test_footers_are_read_many_at_a_time_when_an_index_is_made_again(full):
    repair = lambda store: repair_index(_reopened(full, store), dry_run=True)  # noqa: E731

    assert most_at_once(full.blobs, "packs/", repair, wanted=AT_ONCE) == AT_ONCE


def test_marks_and_notes_are_read_many_at_a_time(full):
    for ref in full.point_refs():
        full.marks.pin(ref, reason="law", by="me")
    for blob in full.blobs.list("packs/"):
        damage = PackDamage(pack=blob.key.rpartition("/")[2], state=PackState.BROKEN, reason="it is a test")
        full.damage.remember(damage, before=None)

    assert most_at_once(full.blobs, MARKS, lambda store: _reopened(full, store).marks.all(), wanted=AT_ONCE) == AT_ONCE
    assert (
        most_at_once(full.blobs, DAMAGE, lambda store: _reopened(full, store).damage.load(), wanted=AT_ONCE) == AT_ONCE
    )
    assert most_at_once(full.blobs, MARKS, lambda store: _reopened(full, store).check(), wanted=AT_ONCE) == AT_ONCE


def test_a_catalog_reads_more_manifests_at_a_time_than_packs_because_they_are_small(make, point, tmp_path):
    repository, points = make(), SMALL_AT_ONCE + 6
    root, _ = store_file(repository, b"content", run="run")
    for number in range(points):
        taken_at = point().taken_at + timedelta(hours=number)
        repository.manifests.seal(point(root, id=f"{number:016x}", run=f"run-{number}", taken_at=taken_at))

    def rebuild(store) -> None:
        with open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}") as catalog:
            assert catalog.rebuild(_reopened(repository, store)).added == points

    assert most_at_once(repository.blobs, "points/", rebuild, wanted=SMALL_AT_ONCE) == SMALL_AT_ONCE > AT_ONCE


def test_an_index_is_opened_by_many_requests_at_a_time(full):
    use = lambda store: _reopened(full, store).index  # noqa: E731

    assert most_at_once(full.blobs, "index/", use, wanted=AT_ONCE) == AT_ONCE


def test_a_pack_that_is_small_is_checked_by_one_request_and_a_large_one_by_two(full):
    """Packs here hold 128 KiB or a few map pages."""
    store = FaultyStore(full.blobs)
    sizes = {blob.key: blob.size for blob in full.blobs.list("packs/")}

    for key, size in sizes.items():
        before = len(store.calls)
        read_contents(store, full.framer, key, size)
        assert len(store.calls) - before == (2 if size > 32 << 10 else 1)
    assert {size > 32 << 10 for size in sizes.values()} == {True, False}


def test_what_is_found_is_the_same_however_many_look(full, tmp_path):
    """Damage of the first and of the last point of a VM, in a store where sixteen look and in one where few do."""
    refs = list(full.point_refs())
    packs = [blob.key for blob in full.blobs.list("packs/")]
    for key in (packs[3], packs[-5]):
        full.blobs.replace(key, bytes(full.blobs.size(key)))
    folder = LocalStore(tmp_path)
    for blob in full.blobs.list(""):
        folder.put(blob.key, full.blobs.get(blob.key))

    many, few = _reopened(full, full.blobs).check(), _reopened(full, folder).check()

    assert many
    assert many == few
    assert len(refs) == POINTS


def test_in_a_local_folder_calls_that_compute_are_no_more_than_there_are_cores(tmp_path):
    asked, threads = [], set()
    items = (asked.append(number) or number for number in range(1000))

    results = abreast(LocalStore(tmp_path), lambda _number: threads.add(threading.get_ident()), items, computes=True)
    next(results)

    assert len(asked) == 4 * (os.cpu_count() or 1), "more than a few items for each core are asked for ahead"
    deque(results, maxlen=0)
    assert len(threads) <= (os.cpu_count() or 1)


def test_a_long_computation_keeps_no_core_from_the_calls_behind_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    overtaken = threading.Event()

    def call(number: int) -> int:
        if number == 0:
            assert overtaken.wait(HANG), "nothing began while the first call was at work, though a core was free"
        elif number == 3:
            overtaken.set()
        return number

    assert list(abreast(LocalStore(tmp_path), call, range(5), computes=True)) == [0, 1, 2, 3, 4]


def test_results_come_in_the_order_of_the_items():
    store = MemoryStore()

    assert list(abreast(store, lambda number: number * 2, range(100))) == [number * 2 for number in range(100)]
    assert list(abreast(store, lambda number: number, [])) == []


def test_an_error_is_raised_in_its_turn_and_nothing_begins_afterwards():
    store, begun = MemoryStore(), []

    def call(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise CorruptError("three")
        return number

    results = abreast(store, call, range(10_000))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(CorruptError, match="three"):
        next(results)
    assert max(begun) <= 3 + AT_ONCE


def test_no_more_is_asked_for_than_may_be_under_way():
    store, asked = MemoryStore(), []
    results = abreast(store, lambda number: number, (asked.append(number) or number for number in range(1000)))

    next(results)

    assert len(asked) == AT_ONCE


def test_a_store_that_fails_ends_a_check_and_is_no_finding(full):
    store = FaultyStore(full.blobs)
    store.fail("get_range", prefix="packs/", after=20, with_=StoreError("the server is gone"))

    with pytest.raises(StoreError, match="the server is gone"):
        _reopened(full, store).check()


class TwoAtOnce(WrappingStore):
    """Lists below one of two prefixes begin only once the other one is asked for, too."""

    def __init__(self, inner: BlobStore, *prefixes: str) -> None:
        super().__init__(inner)
        self._prefixes = prefixes
        self._both = threading.Barrier(2)
        self.met = 0

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        if prefix in self._prefixes and not self.met:
            self._both.wait(HANG)
            self.met = 1
        return super().list(prefix)


@pytest.mark.parametrize(
    ("prefixes", "use"),
    [
        ((INDEX, "keys/"), lambda store, full: require_own(store, full.descriptor)),
        ((DAMAGE, "plans/"), lambda store, full: _reopened(full, store).index),
    ],
)
def test_lists_that_do_not_need_each_other_are_asked_for_at_once_when_a_repository_is_opened(full, prefixes, use):
    store = TwoAtOnce(full.blobs, *prefixes)
    use(store, full)
    assert store.met


def test_the_segments_that_tell_for_a_descriptor_are_read_at_once(full):
    assert most_at_once(full.blobs, INDEX, lambda store: require_own(store, full.descriptor), wanted=3) == 3
