"""The algebra of extents, against sets of bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.model import extents as module
from vmkeep.model.extents import (
    Extent,
    Extents,
    align_out,
    coalesce,
    complement,
    from_pairs,
    gather,
    intersect,
    split,
    subtract,
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
    assert from_pairs([it.start, it.length] for it in coalesce(given_extents)) == coalesce(given_extents)


@pytest.mark.parametrize("pair", [[1], [1, 2, 3], [-1, 2], [0, -5], [1.5, 2], ["0", 2], [True, 1], [None, 1]])
def test_what_is_not_a_pair_of_bytes_is_refused(pair):
    with pytest.raises(ValueError, match="pair of bytes"):
        from_pairs([pair])


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (5, 4), (-1, 3)])
def test_an_empty_or_negative_extent_cannot_exist(start, stop):
    with pytest.raises(ValueError, match="not an extent"):
        Extent(start, stop)


@given(lists)
def test_packed_extents_are_the_sequence_that_they_were_made_of(given_extents):
    plain = tuple(coalesce(given_extents))
    packed = Extents(plain)

    assert packed == plain == packed == list(plain)
    assert (len(packed), list(packed), packed[1:3]) == (len(plain), list(plain), plain[1:3])
    assert [packed[at] for at in range(len(plain))] == list(plain)
    assert (packed == plain[:-1]) == (not plain)
    assert hash(packed) == hash(plain)


def test_packed_extents_refuse_what_is_out_of_order():
    with pytest.raises(ValueError, match="out of order at byte 3"):
        Extents([Extent(5, 6), Extent(3, 4)])


@given(lists, st.integers(1, 6))
def test_joining_keeps_every_byte_and_no_more_extents_than_asked_for(given_extents, most):
    plain = coalesce(given_extents)
    joined = plain.joined(most)

    assert bytes_of(joined) >= bytes_of(plain)
    assert len(joined) <= most
    assert is_normal(joined)
    if len(plain) <= most:
        assert joined == plain


def test_the_smallest_gaps_are_joined_first():
    far = [Extent(at, at + 1) for at in (0, 2, 4, 1000, 1002, 5000)]

    assert Extents(far).joined(3) == [Extent(0, 5), Extent(1000, 1003), Extent(5000, 5001)]


def test_gathering_very_many_joins_them(monkeypatch):
    monkeypatch.setattr(module, "MOST", 100)
    monkeypatch.setattr(module, "_AT_ONCE", 10)

    found = gather((at * 10, at * 10 + 1) for at in range(1000))

    assert len(found) <= 110
    assert (found[0].start, found[-1].stop) == (0, 9991)
    assert all(any(each.start <= at * 10 < each.stop for each in found) for at in range(1000))


@pytest.mark.parametrize("pair", [[1 << 62, 1], [0, 1 << 90], [True, 1], [1.0, 2], ["1", 2]])
def test_pairs_that_no_disk_has_are_refused(pair):
    with pytest.raises(ValueError, match="not a"):
        from_pairs([pair])
