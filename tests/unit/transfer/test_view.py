"""A stored disk is read at any place, by many at once, each block checked and fetched once."""

from __future__ import annotations

import io
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.patience import HANG, eventually
from tests.unit.transfer.stored_disks import BLOCK, CountingStore, content_of, damaged, new_repository
from vmkeep.errors import CorruptError, StoreError, VmKeepError
from vmkeep.model.extents import Extent
from vmkeep.repository import Kind
from vmkeep.repository.maps import Shape
from vmkeep.testing import FaultyStore
from vmkeep.transfer import DiskFile, open_views
from vmkeep.transfer.read_ahead import ReadAhead

TIB = 1 << 40


def read(disk, start, length):
    buffer = bytearray(b"?" * length)
    disk.read_into(start, memoryview(buffer))
    return bytes(buffer)


@given(
    blocks=st.lists(st.integers(0, 5), min_size=1, max_size=24),
    end=st.sampled_from([512, 4096, BLOCK]),
    cache=st.sampled_from([0, 2 * BLOCK, 100 * BLOCK]),
    places=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=8),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_place_reads_as_it_was_stored_and_the_extents_tell_where_data_is(
    disk, back_up, blocks, end, cache, places
):
    repository = new_repository()
    content = content_of(blocks, end)
    root = back_up(disk(content), repository).root

    with open_views(repository, cache_size=cache) as views:
        view = views.open(root, what="disk")
        assert view.capacity == len(content)
        for one, other in places:
            start, stop = sorted((int(one * len(content)), int(other * len(content))))
            assert read(view, start, stop - start) == content[start:stop]
            extents = list(view.extents(start, stop))
            assert [byte for extent, _ in extents for byte in (extent.start, extent.stop)] == ends(extents, start, stop)
            assert all(data == any(content[block_of(extent)]) for extent, data in extents)
            assert views.cache.held <= cache


def block_of(extent):
    """The blocks that an extent touches, because one byte of a block that holds data may be zero all the same."""
    return slice(extent.start // BLOCK * BLOCK, -(-extent.stop // BLOCK) * BLOCK)


def ends(extents, start, stop):
    """Return the ends of extents that are neighbours, differ in turn, and cover a range."""
    inner = [extent.stop for extent, _ in extents[:-1] for _ in range(2)]
    assert all(one[1] != other[1] for one, other in pairwise(extents))
    return [start, *inner, stop] if stop > start else []


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (3 * BLOCK, 1), (0, 3 * BLOCK + 1)])
def test_what_is_not_on_the_disk_is_refused(repository, disk, back_up, start, length):
    root = back_up(disk(content_of([1, 2, 3])), repository).root
    with open_views(repository) as views, pytest.raises(ValueError, match="are not on a disk of"):
        read(views.open(root, what="disk"), start, length)


def test_damage_is_named_by_its_byte_and_the_neighbours_are_read(repository, disk, back_up, reopen):
    content = random.Random(5).randbytes(8 * BLOCK)
    root = back_up(disk(content), repository).root

    with open_views(reopen(damaged(repository, root, 3))) as views:
        view = views.open(root, what="point p: disk")
        with pytest.raises(CorruptError, match=rf"^point p: disk, byte {3 * BLOCK}: pack "):
            read(view, 0, len(content))
        with pytest.raises(CorruptError, match=rf"^point p: disk, byte {3 * BLOCK}: pack "):
            read(view, 3 * BLOCK + 7, 1)
        assert read(view, 0, 3 * BLOCK) == content[: 3 * BLOCK]
        assert read(view, 4 * BLOCK, 4 * BLOCK) == content[4 * BLOCK :]


def test_a_fault_of_the_store_reaches_each_reader_and_the_next_read_tries_again(repository, disk, back_up, reopen):
    content = random.Random(5).randbytes(4 * BLOCK)
    root = back_up(disk(content), repository).root
    store = FaultyStore(repository.blobs)
    with open_views(reopen(store)) as views:
        view = views.open(root, what="disk")
        list(view.extents(0, view.capacity))
        store.fail("get_into", with_=StoreError("cable pulled"))
        with pytest.raises(StoreError, match="cable pulled"):
            read(view, 0, len(content))
        assert read(view, 0, len(content)) == content


class SlowStore(CountingStore):
    """A store that reads blocks once a gate is open."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = 0

    def get_into(self, key, offset, buffer):
        self.waiting += 1
        assert self.gate.wait(HANG)
        return super().get_into(key, offset, buffer)


def test_a_block_that_many_want_at_once_is_fetched_once(disk, back_up):
    store = SlowStore()
    repository = new_repository(store)
    content = random.Random(5).randbytes(2 * BLOCK)
    root = back_up(disk(content), repository).root
    with open_views(repository) as views, ThreadPoolExecutor(8) as threads:
        view = views.open(root, what="disk")
        twin = views.open(root, what="the same disk for another client")
        list(view.extents(0, BLOCK)), list(twin.extents(0, BLOCK))
        store.fetched, store.waiting = 0, 0
        store.gate.clear()
        reads = [threads.submit(read, (view, twin)[n % 2], 100 * n, 50) for n in range(8)]
        eventually(lambda: store.waiting, "the fetch")
        store.gate.set()
        assert [done.result(HANG) for done in reads] == [content[100 * n : 100 * n + 50] for n in range(8)]
    assert store.fetched < 2 * BLOCK


def test_a_reader_that_waits_for_a_block_when_the_disks_are_closed_does_not_wait_for_ever(repository, disk, back_up):
    root = back_up(disk(random.Random(5).randbytes(BLOCK)), repository).root
    with ThreadPoolExecutor(1) as threads:
        with open_views(repository) as views:
            view = views.open(root, what="disk")
            waits = threading.Event()
            claim = views.cache.claim
            views.cache.claim_missing([repository.open_map(root).lookup(0)])  # by a thread that will never fetch it
            views.cache.claim = lambda digests: (claim(digests), waits.set())[0]
            reading = threads.submit(read, view, 0, 10)
            assert waits.wait(HANG)
        assert isinstance(reading.exception(HANG), RuntimeError | VmKeepError | None)


def test_equal_blocks_and_holes_are_not_fetched_again(disk, back_up):
    store = CountingStore()
    repository = new_repository(store)
    noise = random.Random(5).randbytes(BLOCK)
    root = back_up(disk(noise + bytes(BLOCK) + noise), repository).root
    with open_views(repository) as views:
        view = views.open(root, what="disk")
        assert read(view, 0, BLOCK) == noise
        store.fetched = 0
        assert read(view, BLOCK, 2 * BLOCK) == bytes(BLOCK) + noise
        assert store.fetched == 0
        assert views.cache.held == BLOCK


def test_readers_that_go_on_are_read_ahead_of_and_random_ones_are_not(disk, back_up, small_packs):
    """Two streams take turns, and leave a hole out, as clients do that know of holes."""
    store = CountingStore()
    repository = new_repository(store)
    noise = random.Random(5)
    part = noise.randbytes(12 * BLOCK)
    content = part[: 6 * BLOCK] + bytes(9 * BLOCK) + part[6 * BLOCK :] + noise.randbytes(40 * BLOCK)
    root = back_up(disk(content), repository).root
    with open_views(repository) as views:
        view = views.open(root, what="disk")
        for start in (40, 2, 30, 55):
            read(view, start * BLOCK, 10)
        assert views.cache.held == 4 * BLOCK
        for step in range(4):
            for begin in (0, 35):
                read(view, (begin + step) * BLOCK, BLOCK)
        eventually(lambda: views.cache.held >= 20 * BLOCK, "the blocks ahead")
        held = views.cache.held
        assert held < 50 * BLOCK
        assert read(view, 4 * BLOCK, 2 * BLOCK) == content[4 * BLOCK : 6 * BLOCK]
        for block in range(15, 21):
            assert read(view, block * BLOCK, BLOCK) == content[block * BLOCK : (block + 1) * BLOCK]


def test_a_disk_of_62_tib_is_opened_and_described_by_few_pages(disk):
    store = CountingStore()
    repository = new_repository(store)
    capacity = 62 * TIB
    root, place = with_one_block(repository, capacity)
    store.fetched = 0
    with open_views(repository) as views:
        view = views.open(root, what="disk")
        assert read(view, place, 4) == b"xxxx"
        assert list(view.extents(0, capacity)) == [
            (Extent(0, place), False),
            (Extent(place, place + BLOCK), True),
            (Extent(place + BLOCK, capacity), False),
        ]
    assert store.fetched < 20_000


def test_a_random_read_of_a_full_disk_reads_the_pages_on_its_way_only():
    store = CountingStore()
    repository = new_repository(store)
    blocks, chance = 1 << 15, random.Random(3)
    with repository.open_writer(run="full") as out:
        builder = repository.build_map(out, capacity=blocks * BLOCK)
        builder.set(0, [chance.randbytes(32) for _ in range(blocks)])
        root = builder.store()
        out.flush()
    disk = repository.open_map(root)
    ahead = ReadAhead(disk, most=32)
    store.fetched = 0

    for block in chance.sample(range(blocks), 20):
        disk.lookup(block)
        assert ahead.after(block, block + 1) == []

    assert store.fetched < 20 * 3 * 2200


def with_one_block(repository, capacity):
    """Store the map of a huge disk with one block in its middle; return its root and the block's byte."""
    shape = Shape(capacity=capacity, block_size=BLOCK)
    block = shape.blocks // 2
    digester = repository.framer.digester
    with repository.open_writer(run="huge") as out:
        builder = repository.build_map(out, capacity=capacity)
        data = b"x" * BLOCK
        digest = digester.of(Kind.BLOCK, data)
        out.add(Kind.BLOCK, digest, data)
        builder.set(block, [digest])
        root = builder.store()
        out.flush()
    return root, block * BLOCK


def test_many_threads_read_one_disk_through_a_small_cache(disk, back_up):
    repository = new_repository()
    content = random.Random(8).randbytes(30 * BLOCK)
    root = back_up(disk(content), repository).root

    def client(seed):
        places = random.Random(seed)
        for _ in range(40):
            start = places.randrange(len(content))
            length = places.choice([1, 4096, BLOCK, 3 * BLOCK])
            assert read(view, start, min(length, len(content) - start)) == content[start : start + length]
        return True

    with open_views(repository, cache_size=5 * BLOCK) as views, ThreadPoolExecutor(8) as threads:
        view = views.open(root, what="disk")
        assert all(threads.map(client, range(8)))
        assert views.cache.held <= 5 * BLOCK


def test_a_file_over_a_disk_reads_and_seeks_as_files_do(repository, disk, back_up):
    content = content_of([1, 0, 3], 512)
    root = back_up(disk(content), repository).root
    with open_views(repository) as views:
        file = DiskFile(views.open(root, what="disk"))
        model = io.BytesIO(content)
        for offset, whence, length in [
            (0, os.SEEK_SET, 10), (BLOCK - 3, os.SEEK_SET, 8), (-5, os.SEEK_CUR, 1), (-700, os.SEEK_END, 9000),
            (5, os.SEEK_END, 4), (0, os.SEEK_SET, -1),
        ]:  # fmt: skip
            assert file.seek(offset, whence) == model.seek(offset, whence)
            assert file.read(length) == model.read(length)
            assert file.tell() == model.tell()
        assert file.readable()
        assert not file.writable()
        with pytest.raises(ValueError, match="before the start"):
            file.seek(-1)
        assert io.BufferedReader(file).read() == b""
