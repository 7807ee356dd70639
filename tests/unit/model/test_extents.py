"""The algebra of extents, against sets of bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.model.extents import (
    Extent,
    align_out,
    coalesce,
    complement,
    from_pairs,
    intersect,
    split,
    subtract,
    to_pairs,
    total,
)

SIZE = 200
extents = st.tuples(st.integers(0, SIZE - 1), st.integers(1, 40)).map(lambda p: Extent(p[0], min(SIZE, p[0] + p[1])))
lists = st.lists(extents, max_size=12)


def bytes_of(given_extents) -> set[int]:
    return {byte for extent in given_extents for byte in range(extent.start, extent.stop)}


def is_normal(given_extents) -> bool:
    return all(a.stop < b.start for a, b in itertools.pairwise(given_extents))


@given(lists)
def test_coalesce_keeps_every_byte_and_adds_none(given_extents):
    result = coalesce(given_extents)

    assert bytes_of(result) == bytes_of(given_extents)
    assert is_normal(result)
    assert total(result) == len(bytes_of(given_extents))


@given(lists, lists)
def test_intersect_is_the_bytes_in_both(left, right):
    result = intersect(coalesce(left), coalesce(right))

    assert bytes_of(result) == bytes_of(left) & bytes_of(right)
    assert is_normal(result)


@given(lists, lists)
def test_subtract_is_the_bytes_in_the_first_only(left, right):
    result = subtract(coalesce(left), coalesce(right))

    assert bytes_of(result) == bytes_of(left) - bytes_of(right)
    assert is_normal(result)


@given(lists)
def test_complement_is_every_other_byte(given_extents):
    assert bytes_of(complement(coalesce(given_extents), SIZE)) == set(range(SIZE)) - bytes_of(given_extents)


@given(lists, st.sampled_from([1, 4, 16, 64]), st.integers(1, SIZE))
def test_align_out_covers_whole_units_inside_the_disk(given_extents, unit, within):
    result = align_out(given_extents, unit, within=within)

    units = {byte // unit for byte in bytes_of(given_extents) if byte < within}
    # An extent that starts inside the disk may end behind it; what is behind it is clipped, never lost.
    assert {byte // unit for byte in bytes_of(result)} == units
    assert all(byte < within for byte in bytes_of(result))


@given(lists, st.integers(1, 64))
def test_split_pieces_are_small_and_never_cross_a_boundary(given_extents, unit):
    pieces = list(split(coalesce(given_extents), unit))

    assert bytes_of(pieces) == bytes_of(given_extents)
    assert sum(piece.length for piece in pieces) == len(bytes_of(given_extents))
    assert all(piece.start // unit == (piece.stop - 1) // unit for piece in pieces)


@given(lists)
def test_pairs_come_back_as_they_left(given_extents):
    assert from_pairs(to_pairs(coalesce(given_extents))) == coalesce(given_extents)


@pytest.mark.parametrize("pair", [[1], [1, 2, 3], [-1, 2], [0, -5], [1.5, 2], ["0", 2], [True, 1], [None, 1]])
def test_what_is_not_a_pair_of_bytes_is_refused(pair):
    with pytest.raises(ValueError, match="pair of bytes"):
        from_pairs([pair])


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (5, 4), (-1, 3)])
def test_an_empty_or_negative_extent_cannot_exist(start, stop):
    with pytest.raises(ValueError, match="not an extent"):
        Extent(start, stop)
