from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import VddkError
from vmkeep.model.extents import Extent, total
from vmkeep.vddk.allocation import CHUNK, MAX_CHUNKS, choose_chunk, tail, to_extents, windows

sectors = st.integers(0, 1 << 40)
chunks = st.sampled_from([128, 256, 1024, 2048, 131072])


@given(sectors, chunks)
def test_windows_and_tail_cover_every_sector_once(count, chunk):
    at = 0
    for start, length in windows(count, chunk, limit=1 << 30):
        assert start == at
        assert length > 0
        at = start + length
    assert at * 512 + total(tail(count, chunk)) == count * 512


@given(sectors, chunks)
def test_every_query_is_whole_chunks_and_within_the_limit(count, chunk):
    for number, (start, length) in enumerate(windows(count, chunk)):
        assert start % chunk == 0
        assert length % chunk == 0
        assert length // chunk <= MAX_CHUNKS
        assert start + length <= count
        if number > 100:
            return


def test_a_disk_smaller_than_a_chunk_is_all_tail():
    assert list(windows(127, CHUNK)) == []
    assert to_extents([], 127, CHUNK) == (Extent(0, 127 * 512),)


def test_an_answer_beyond_the_end_is_clipped():
    assert to_extents([array("Q", [0, 128, 20480, 128])], 20485, CHUNK) == (
        Extent(0, 65536),
        Extent(20480 * 512, 20485 * 512),
    )


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 50)), max_size=20), st.integers(1, 40000))
def test_extents_hold_every_answered_sector_and_the_tail_and_nothing_else(runs, count):
    flat = array("Q", [number * CHUNK for run in runs for number in run])
    expected = {s for start, length in runs for s in range(start * CHUNK, (start + length) * CHUNK) if s < count}
    expected |= set(range(count // CHUNK * CHUNK, count))
    found = to_extents([flat], count, CHUNK)
    assert {s for e in found for s in range(e.start // 512, e.stop // 512)} == expected


@pytest.mark.parametrize("capacity", [512, 4 << 40, (4 << 40) + 512, 62 << 40])
def test_the_largest_disk_takes_a_bounded_number_of_queries(capacity):
    assert len(list(windows(capacity // 512, choose_chunk(capacity)))) <= 256


def test_answers_may_tell_their_areas_in_any_order_but_only_what_was_asked_for():
    shuffled = [array("Q", [256, 128, 0, 128]), array("Q", [1024, 128])]
    assert to_extents(shuffled, 2048, CHUNK) == [
        Extent(0, 128 * 512), Extent(256 * 512, 384 * 512), Extent(1024 * 512, 1152 * 512),
    ]  # fmt: skip

    with pytest.raises(VddkError, match="not asked for"):
        to_extents(reversed(shuffled), 2048, CHUNK)
