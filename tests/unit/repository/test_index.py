"""Index segments and their tiers: every digest is found where it is, and no other."""

from __future__ import annotations

import os
import random
from array import array
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import BlobNotFoundError, CorruptError, UnsupportedError
from vmkeep.repository.folders import INDEX
from vmkeep.repository.frames import HEADER_SIZE, MAX_SMALL
from vmkeep.repository.frames.codecs import Codec
from vmkeep.repository.frames.digests import Kind
from vmkeep.repository.frames.frames import Framer
from vmkeep.repository.frames.keys import Keys
from vmkeep.repository.frames.packs import PackContents
from vmkeep.repository.index import index as indexes
from vmkeep.repository.index import largesegments, layout, segmentloader
from vmkeep.repository.index.columns import columns_of, encode
from vmkeep.repository.index.disjoint import disjoint_lists
from vmkeep.repository.index.index import Index
from vmkeep.repository.index.largesegments import LargeSegment
from vmkeep.repository.index.segments import Segment
from vmkeep.repository.index.smallsegments import encode_few
from vmkeep.testing import FaultyStore, MemoryStore

FRAMER = Framer(codec=Codec.ZSTD)


def contents(digests, *, pack=bytes(16), kind=Kind.BLOCK):
    count = len(digests)
    return PackContents(
        pack_id=pack,
        kind=kind,
        offsets=array("I", range(32, 32 + 1000 * count, 1000)),
        lengths=array("I", [1000] * count),
        raw_lengths=array("I", [4096] * count),
        digests=b"".join(digests),
        checksum=0,
    )


digests = st.binary(min_size=32, max_size=32)


@given(st.lists(digests, unique=True, max_size=60), st.lists(digests, max_size=20))
def test_a_segment_finds_exactly_what_it_holds(held, asked):
    segment = Segment(encode(columns_of([contents(held, pack=b"p" * 16)])))

    for row, digest in enumerate(held):
        found = segment.find(digest)
        assert (found.pack, found.kind, found.offset, found.length) == (b"p" * 16, Kind.BLOCK, 32 + row * 1000, 1000)
    assert all((segment.find(digest) is not None) == (digest in held) for digest in asked)


def test_digests_that_begin_alike_are_told_apart():
    alike = [b"samesame" + bytes([number]) * 24 for number in range(50)]
    segment = Segment(encode(columns_of([contents(alike)])))

    assert [segment.find(digest).offset for digest in alike] == [32 + row * 1000 for row in range(50)]
    assert segment.find(b"samesame" + bytes([99]) * 24) is None


@given(st.lists(st.lists(digests, max_size=20), min_size=1, max_size=6))
def test_merged_segments_find_what_each_of_them_found(groups):
    parts = [columns_of([contents(group, pack=bytes([number]) * 16)]) for number, group in enumerate(groups)]
    merged = Segment(encode(*parts))

    for number, group in enumerate(groups):
        for digest in group:
            assert any(merged.find(digest).pack == bytes([n]) * 16 for n, g in enumerate(groups) if digest in g)
            assert number >= 0
    assert merged.entries == sum(map(len, groups))


@given(st.binary(max_size=400))
def test_hostile_bytes_are_no_segment(data):
    with pytest.raises(CorruptError):
        Segment(data)


@given(st.integers(8, 31), st.binary(min_size=8, max_size=8))
def test_a_segment_with_a_hostile_header_is_refused(at, replaced):
    good = encode(columns_of([contents([bytes([n]) * 32 for n in range(9)])]))
    content = bytearray(good)
    content[at : at + 8] = replaced

    if content[:32] not in (good[:32], good[:28] + bytes(4)):  # the filter rule of old
        with pytest.raises(CorruptError):
            Segment(content)


def put_segments(store, count, size, chance):
    index = Index(store, FRAMER)
    held = []
    for number in range(count):
        group = [chance.randbytes(32) for _ in range(size)]
        index.store_segment([contents(group, pack=number.to_bytes(16, "big"))])
        held.append(group)
    return index, held


@pytest.mark.parametrize(("in_memory", "large"), [(0, 1 << 20), (1 << 18, 1 << 20), (1 << 18, 200)])
def test_many_small_segments_are_looked_up_as_few(monkeypatch, in_memory, large):
    monkeypatch.setattr(indexes, "_IN_MEMORY", in_memory)
    monkeypatch.setattr(indexes, "_LARGE", large)
    store = MemoryStore()
    index, held = put_segments(store, 100, 20, random.Random(1))
    fresh = Index(store, FRAMER)
    fresh.refresh()

    for opened in (index, fresh):
        assert len(opened.segments) < 25
        for number, group in enumerate(held):
            assert all(opened.find(digest).pack == number.to_bytes(16, "big") for digest in group)
    assert fresh.entries == 2000


@pytest.fixture
def tight(monkeypatch):
    """Let a segment hold about 50 entries."""
    monkeypatch.setattr(layout, "MAX_CONTENT", 50 * 46 + 200)


def sizes(store):
    return [blob.size for blob in store.list(INDEX)]


@pytest.mark.parametrize("encrypted", [False, True])
def test_entries_too_many_for_one_segment_make_several(tight, encrypted):
    framer = Framer(codec=Codec.ZSTD, keys=Keys(bytes(32), repository="r") if encrypted else None)
    store = MemoryStore()
    chance = random.Random(1)
    held = [[chance.randbytes(32) for _ in range(20)] for _ in range(7)]

    written = Index(store, framer).store_segment(
        [contents(group, pack=number.to_bytes(16, "big")) for number, group in enumerate(held)]
    )

    assert len(sizes(store)) > 1
    assert written == sum(sizes(store))
    assert max(sizes(store)) <= layout.MAX_CONTENT + 100
    assert_all_found(store, framer, held)


def test_merged_entries_too_many_for_one_segment_make_several(tight):
    store = MemoryStore()
    held = [[bytes([group, number]) * 16 for number in range(40)] for group in range(4)]
    parts = columns_of([contents(group, pack=number.to_bytes(16, "big")) for number, group in enumerate(held)])

    written = Index(store, FRAMER).put(parts)

    assert len(sizes(store)) > 1
    assert written == sum(sizes(store))
    assert max(sizes(store)) <= layout.MAX_CONTENT + 100
    assert_all_found(store, FRAMER, held)


def assert_all_found(store, framer, held):
    index = Index(store, framer)
    index.refresh()
    for number, group in enumerate(held):
        assert all(index.find(digest).pack == number.to_bytes(16, "big") for digest in group)


def test_a_note_that_nobody_could_read_is_not_made():
    with pytest.raises(UnsupportedError, match=f"readers take up to {MAX_SMALL}"):
        FRAMER.wrap(Kind.NOTE, bytes(MAX_SMALL), name="notes/large")

    whole = bytes(MAX_SMALL - HEADER_SIZE)
    assert FRAMER.unwrap(Kind.NOTE, FRAMER.wrap(Kind.NOTE, whole, name="n"), name="n") == whole


def test_a_refresh_finds_what_another_writer_has_stored():
    store = MemoryStore()
    mine, _ = put_segments(store, 1, 5, random.Random(1))
    _, held = put_segments(store, 1, 5, random.Random(2))

    assert mine.find(held[0][0]) is None
    mine.refresh()
    assert mine.find(held[0][0]) is not None


def test_a_damaged_segment_is_set_aside_and_named():
    store = MemoryStore()
    _, held = put_segments(store, 2, 5, random.Random(1))
    key = next(store.list("index/")).key
    store.replace(key, store.get(key)[:-1])
    index = Index(store, FRAMER)
    index.refresh()

    assert list(index.damaged) == [key]
    assert sum(index.find(group[0]) is not None for group in held) == 1


def test_large_segments_are_mapped_from_the_folder(tmp_path, monkeypatch):
    from vmkeep.blobs.local import LocalStore

    monkeypatch.setattr(segmentloader, "_VERIFIED", 0)
    store = LocalStore(tmp_path)
    _, held = put_segments(store, 3, 50, random.Random(1))
    index = Index(store, FRAMER)
    index.refresh()

    assert all(index.find(digest) is not None for group in held for digest in group)
    key = next(store.list("index/")).key
    (tmp_path / key).write_bytes(store.get(key)[:-8])
    again = Index(store, FRAMER)
    again.refresh()
    assert list(again.damaged) == [key]


@pytest.mark.parametrize(("column", "value"), [(0, 7), (2, 0xFFFFFFFF)])
def test_an_entry_that_points_nowhere_is_named_before_memory_is_taken(column, value):
    digest = b"d" * 32
    content = bytearray(encode(columns_of([contents([digest])])))
    at = len(content) - 12 + column * 4
    content[at : at + 4] = value.to_bytes(4, "little")

    with pytest.raises(CorruptError, match="entry 0"):
        Segment(content).find(digest)


@given(st.lists(digests, max_size=60), st.lists(digests, max_size=40))
def test_rows_are_what_find_says_for_each_digest(held, asked):
    segment = Segment(encode(columns_of([contents(held, pack=b"p" * 16)])))
    mixed = held[::2] + asked
    rows = segment.rows(np.frombuffer(b"".join(mixed), np.uint8).reshape(-1, 32))

    for digest, row in zip(mixed, rows.tolist(), strict=True):
        found = segment.find(digest)
        assert (row < 0) == (found is None)
        assert found is None or segment.location(row) == found
    for digest in held:
        assert len(list(segment.find_all(digest))) == held.count(digest)


def test_rows_tell_apart_digests_that_begin_alike():
    alike = [b"samesame" + bytes([number]) * 24 for number in range(50)]
    segment = Segment(encode(columns_of([contents(alike)])))

    assert segment.rows(np.frombuffer(b"".join(alike), np.uint8).reshape(-1, 32)).tolist() == list(range(50))


small = st.integers(0, 40).map(lambda number: number.to_bytes(2, "big") * 16)


@given(
    st.lists(st.lists(small, min_size=1, max_size=12), max_size=10),
    st.lists(small, max_size=60),
    st.sets(st.integers(0, 9)),
)
def test_many_look_ups_find_what_each_alone_finds(groups, asked, avoided):
    index = Index(MemoryStore(), FRAMER)
    for number, group in enumerate(groups):
        index.store_segment([contents(group, pack=bytes([number]) * 16)])
    index.avoid(frozenset(bytes([number]) * 16 for number in avoided))
    found = index.find_many(asked)

    for digest, location in zip(asked, found, strict=True):
        holders = {number for number, group in enumerate(groups) if digest in group}
        alone = index.find(digest)
        assert (location is None) == (alone is None) == (not holders)
        assert index.known(digest) == bool(holders - avoided)
        for place in (location, alone):
            if place is not None:
                assert place.pack[0] in (holders - avoided or holders)


def test_a_damaged_frame_is_avoided_where_the_block_lies_elsewhere_too():
    index = Index(MemoryStore(), FRAMER)
    one, two = bytes([1]) * 32, bytes([2]) * 32
    index.store_segment([contents([one, two, one])])
    first = index.find(one)
    index.avoid(frames=frozenset({(first.pack, first.offset), (bytes(16), 1032)}))

    assert index.find(one).offset != first.offset
    assert index.known(one)
    assert not index.known(two)
    assert index.find(two).offset == 1032
    index.avoid()
    assert index.find(one) == first
    assert index.known(two)


@given(st.lists(st.lists(small, min_size=1, max_size=9), max_size=12))
def test_segments_in_rows_never_overlap_and_none_is_left_out(groups):
    segments = [Segment(encode(columns_of([contents(group)]))) for group in groups]
    rows = disjoint_lists(segments)

    assert sorted(id(segment) for row in rows for segment in row.segments) == sorted(map(id, segments))
    for row in rows:
        assert all(one.last < two.first for one, two in pairwise(row.segments))


def test_ranges_of_digests_are_one_row():
    segments = [Segment(encode(columns_of([contents([bytes([n]) * 32, bytes([n + 3]) * 32])]))) for n in (0, 8, 4)]

    assert [len(row.segments) for row in disjoint_lists(segments)] == [3]


def test_a_refresh_drops_what_has_gone_from_the_store():
    store = MemoryStore()
    mine, held = put_segments(store, 20, 5, random.Random(1))
    keys = [blob.key for blob in store.list("index/")]
    for key in keys[:4]:
        store.delete(key)
    left = Index(store, FRAMER)
    left.refresh()
    mine.refresh()

    assert mine.entries == left.entries == 80
    assert all(mine.find(digest) == left.find(digest) for group in held for digest in group)


class Merging(MemoryStore):
    """Maintenance comes between a listing and what is done with it: it replaces all segments by one."""

    def __init__(self):
        super().__init__()
        self.times = 0

    def list(self, prefix):
        listed = list(super().list(prefix))
        if self.times:
            self.times -= 1
            parts = [Segment(FRAMER.unwrap(Kind.INDEX, self.get(blob.key), name=blob.key)).columns() for blob in listed]
            key = f"index/{self.times:032x}"
            self.put(key, FRAMER.wrap(Kind.INDEX, encode(*parts), name=key))
            for blob in listed:
                self.delete(blob.key)
        return iter(listed)


def test_segments_that_are_merged_while_they_are_opened_are_found_in_their_successor():
    store = Merging()
    _, held = put_segments(store, 5, 5, random.Random(1))
    store.times = 3
    index = Index(store, FRAMER)
    index.refresh()

    assert all(index.find(digest) is not None for group in held for digest in group)
    assert index.entries == 25
    assert not index.damaged


def test_a_segment_that_is_listed_and_never_there_is_named(monkeypatch):
    store = MemoryStore()
    _, held = put_segments(store, 2, 5, random.Random(1))
    key = next(store.list("index/")).key
    faulty = FaultyStore(store)
    faulty.fail("get", with_=BlobNotFoundError("no such blob"), times=1000, prefix=key)
    index = Index(faulty, FRAMER)
    index.refresh()

    assert list(index.damaged) == [key]
    assert sum(index.find(group[0]) is not None for group in held) == 1


def large(content):
    """The same segment as one that is read from its file, after some bytes that are not its own."""
    file = os.memfd_create("segment")
    os.write(file, b"12345678" + content)
    return LargeSegment(file, start=8)


alike = st.integers(0, 3).map(lambda number: bytes([number]) * 8) | st.binary(min_size=8, max_size=8)
crowded = st.builds(lambda prefix, rest: prefix + rest * 24, alike, st.sampled_from([b"a", b"b"]))


@given(st.lists(crowded, max_size=60), st.lists(crowded, max_size=30), st.integers(1, 8), st.integers(0, 4))
def test_a_large_segment_finds_what_a_small_one_finds(held, asked, rows, tries):
    learn = 99 if tries else rows - 1
    content = encode(columns_of([contents(held, pack=b"p" * 16)]))
    with mock.patch.multiple(largesegments, _ROWS=rows, _TRIES=tries, _LEARN=learn, _STRIDE=rows):
        small, read = Segment(content), large(content)
        for digest in (*held, *asked):
            assert read.find(digest) == small.find(digest)
            assert list(read.find_all(digest)) == list(small.find_all(digest))
            prefix = int.from_bytes(digest[:8], "big")
            assert read.holds(prefix, digest) == small.holds(prefix, digest) == (digest in held)
        read.release()
        assert read.columns().digests().tobytes() == small.columns().digests().tobytes()


def test_a_large_segment_that_is_cut_off_while_in_use_is_an_error_that_says_so():
    digest = b"d" * 32
    segment = large(encode(columns_of([contents([digest])])))
    os.ftruncate(segment._file, 60)

    with pytest.raises(CorruptError, match="cut off"):
        segment.find(digest)


@given(st.lists(st.lists(digests, max_size=20), max_size=5))
def test_a_segment_made_without_numpy_has_the_very_same_bytes(lists):
    packs = [
        contents(each, pack=bytes([number] * 16), kind=Kind.PAGE if number % 2 else Kind.BLOCK)
        for number, each in enumerate(lists)
    ]

    assert encode_few(packs) == encode(columns_of(packs))
