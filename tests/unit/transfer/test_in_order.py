"""A stored disk is read in the order of the disk, in bounded memory."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.transfer.stored_disks import BLOCK, CountingStore, content_of, damaged, new_repository
from vmkeep.errors import CancelledError, CorruptError
from vmkeep.model.extents import Extent, coalesce
from vmkeep.transfer import inorder, read_in_order

PAGES = 65536
"""Bytes that all pages of a small map take at most."""


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(inorder, "_WINDOW_SIZE", 3 * BLOCK)
    monkeypatch.setattr(inorder, "_WINDOWS", 2)


def read(repository, root, **fields):
    with read_in_order(repository, root, what="point p: disk", **fields) as reading:
        found = [(start, bytes(data)) for start, data in reading]
        assert (reading.count, reading.size) == (len(found), sum(len(data) for _, data in found))
    return found


@given(
    blocks=st.lists(st.integers(0, 6), min_size=1, max_size=30),
    end=st.sampled_from([512, 4096, BLOCK]),
    wanted=st.none() | st.lists(st.tuples(st.integers(0, 29 * BLOCK), st.integers(1, 5 * BLOCK)), max_size=4),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_stored_block_comes_once_in_the_order_of_the_disk(disk, back_up, small_windows, blocks, end, wanted):
    repository = new_repository()
    content = content_of(blocks, end)
    root = back_up(disk(content), repository).root
    only = None if wanted is None else coalesce(Extent(start, start + length) for start, length in wanted)

    found = read(repository, root, only=only)

    assert found == [
        (start, content[start : start + BLOCK])
        for start in range(0, len(content), BLOCK)
        if any(content[start : start + BLOCK])
        and (only is None or any(extent.start < start + BLOCK and start < extent.stop for extent in only))
    ]


def test_no_more_is_read_ahead_than_the_windows_hold(disk, back_up, small_packs, small_windows):
    store = CountingStore()
    repository = new_repository(store)
    root = back_up(disk(random.Random(3).randbytes(60 * BLOCK)), repository).root
    store.fetched = 0

    with read_in_order(repository, root, what="disk") as reading:
        for start, _ in reading:
            windows_passed = start // BLOCK // 3
            assert store.fetched <= (windows_passed + 2) * 3 * (BLOCK + 1024) + PAGES


def test_damage_is_named_by_its_byte_and_ends_the_reading(repository, disk, back_up, reopen, small_windows):
    content = random.Random(5).randbytes(20 * BLOCK)
    root = back_up(disk(content), repository).root
    found = []

    def compare(repository):
        with read_in_order(repository, root, what="point p: disk") as reading:
            for start, data in reading:
                assert data == content[start : start + BLOCK]
                found.append(start)

    with pytest.raises(CorruptError, match=rf"^point p: disk, byte {11 * BLOCK}: pack "):
        compare(reopen(damaged(repository, root, 11)))

    assert found == [number * BLOCK for number in range(len(found))]
    assert len(found) <= 11


def test_a_lost_block_is_named_before_any_content_is_read(repository, disk, back_up, reopen):
    root = back_up(disk(random.Random(6).randbytes(4 * BLOCK)), repository).root
    store = CountingStore()
    for blob in repository.blobs.list(""):
        if not blob.key.startswith("index/"):
            store.put(blob.key, repository.blobs.get(blob.key))

    with pytest.raises(CorruptError, match=r"^point p: disk: map root: "):
        read(reopen(store), root)

    assert not store.fetched


def test_who_stops_in_the_middle_leaves_no_thread_behind(repository, disk, back_up, small_windows):
    root = back_up(disk(random.Random(7).randbytes(40 * BLOCK)), repository).root
    before = threading.active_count()

    with read_in_order(repository, root, what="disk") as reading:
        next(iter(reading))
        assert threading.active_count() > before

    assert threading.active_count() == before


def test_an_error_of_the_check_ends_the_reading(repository, disk, back_up, monkeypatch):
    monkeypatch.setattr(inorder, "_CHECK_SECONDS", 0)
    root = back_up(disk(content_of([1, 2, 3])), repository).root

    def check():
        raise CancelledError("stopped")

    with pytest.raises(CancelledError, match="stopped"):
        read(repository, root, check=check)
