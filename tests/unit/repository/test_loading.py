"""The index of an open repository is loaded once, and whoever looks in it waits for no refresh."""

from __future__ import annotations

import threading

import pytest

from tests.patience import HANG
from tests.sealed import store_file
from tests.unit.maintenance.counted import CountedStore
from vmkeep.repository import Repository, open_in
from vmkeep.repository.folders import INDEX
from vmkeep.repository.frames import Codec, Framer
from vmkeep.repository.loading import LoadedIndex
from vmkeep.repository.notes import DamageNotes, PackDamage, PackState, SweepRecords
from vmkeep.repository.notes.damage import SETTLES_AFTER
from vmkeep.repository.unlock import descriptor, descriptor_check
from vmkeep.testing import MemoryStore


class Slow(MemoryStore):
    """Memory that lists the index only when it may, and counts how often it did."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may, self.listed = threading.Event(), threading.Event(), 0
        self.may.set()

    def list(self, prefix):
        if prefix == INDEX:
            self.listed += 1
            self.asked.set()
            assert self.may.wait(HANG)
        return super().list(prefix)


@pytest.fixture
def repository():
    store = Slow()
    made = descriptor.new_descriptor(block_size=65536, compression="zstd")
    descriptor.create(store, made)
    return Repository(store, made)


def test_who_looks_in_a_loaded_index_waits_for_no_refresh(repository):
    loaded, store = repository.index, repository.blobs
    store.asked.clear()
    store.may.clear()
    refreshing = threading.Thread(target=repository.point_check)
    refreshing.start()
    try:
        assert store.asked.wait(HANG)
        looking = threading.Thread(target=lambda: repository.index)
        looking.start()
        looking.join(HANG)
        assert not looking.is_alive()
        assert repository.open_blocks() is not None
    finally:
        store.may.set()
        refreshing.join(HANG)
    assert repository.index is loaded


def test_threads_that_look_first_at_once_load_the_index_once(repository):
    store, together = repository.blobs, threading.Barrier(4)
    store.may.clear()

    def look():
        together.wait(HANG)
        assert repository.index.entries == 0

    looking = [threading.Thread(target=look) for _ in range(4)]
    for each in looking:
        each.start()
    assert store.asked.wait(HANG)
    store.may.set()
    for each in looking:
        each.join(HANG)
    assert store.listed == 1


def test_a_writer_that_looks_again_reads_no_note_of_damage_that_has_settled():
    store, seconds = CountedStore(MemoryStore()), [0.0]
    framer = Framer(codec=Codec.ZSTD)
    notes = DamageNotes(store, framer, clock=lambda: seconds[0])
    notes.remember(PackDamage(pack="ab" * 16, state=PackState.LOST, reason="it is a test"), before=None)
    loaded = LoadedIndex(store, framer, cache=None, damage=notes, sweep_records=SweepRecords(store, framer))
    for at in (0.0, SETTLES_AFTER):
        seconds[0] = at
        loaded.refresh()
    store.calls.clear()

    loaded.refresh()

    assert store.calls["get damage"] == 0
    loaded.fresh()
    assert store.calls["get damage"] == 1, "an index that is to be of now reads them all"


@pytest.mark.parametrize(("largest", "calls"), [(descriptor_check._FETCHED_WHOLE, 2), (0, 4)], ids=["small", "large"])
def test_a_small_segment_that_the_descriptor_was_compared_with_is_not_fetched_again(monkeypatch, largest, calls):
    monkeypatch.setattr(descriptor_check, "_FETCHED_WHOLE", largest)
    store = CountedStore(MemoryStore())
    descriptor.create(store, descriptor.new_descriptor(block_size=65536, compression="zstd"))
    for content in (b"one", b"other"):
        store_file(open_in(store), content, run="run")
    store.calls.clear()

    opened = open_in(store)

    assert opened.index.entries == 4  # a block and a page of each
    assert store.calls["get index"] == calls
    assert opened.fresh_index().entries == 4
    assert store.calls["get index"] == calls + 2, "an index that is to be of now fetches all"
