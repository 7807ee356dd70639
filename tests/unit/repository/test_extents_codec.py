"""Extents as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import CorruptError
from vmkeep.model.extents import Extent, coalesce
from vmkeep.repository.frames.extentlists import decode_extents, encode_extents

numbers = st.integers(0, 1 << 40)  # in units of 64 KiB that is the largest disk a map can describe
normal = st.lists(
    st.tuples(numbers, st.integers(1, 1 << 38)).map(lambda pair: Extent(pair[0], pair[0] + pair[1])), max_size=20
).map(coalesce)


@given(normal, st.sampled_from([1, 512, 65536]))
def test_extents_come_back_as_they_were(extents, unit):
    extents = coalesce(Extent(e.start * unit, e.stop * unit) for e in extents)

    assert decode_extents(encode_extents(extents)) == extents


def test_scattered_sectors_take_few_bytes():
    extents = [Extent(n << 18, (n << 18) + 65536) for n in range(1, 10_000)]

    assert len(encode_extents(extents)) < 5 * len(extents)


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"VKX1\x09" + tail))
def test_hostile_bytes_give_extents_or_a_clear_error(data):
    try:
        extents = decode_extents(data)
    except CorruptError:
        return
    assert coalesce(extents) == extents


@given(normal.filter(bool), st.data())
def test_a_list_that_was_cut_off_is_refused(extents, data):
    encoded = encode_extents(extents)

    with pytest.raises(CorruptError):
        decode_extents(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


def test_a_number_without_end_is_refused():
    with pytest.raises(CorruptError):
        decode_extents(b"VKX1\x00\x01" + b"\xff" * 10_000)
