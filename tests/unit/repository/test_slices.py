"""Slices: every pack's data has its turn, once in so many days."""

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from vmkeep.errors import UsageError
from vmkeep.repository.checks.slices import Slice, parse_slice, slice_of_day

TODAY = datetime(2026, 5, 4, 12, tzinfo=UTC)


@given(st.binary(min_size=16, max_size=16), st.integers(1, 60), st.integers(0, 40_000))
def test_every_pack_has_its_turn_once_in_as_many_days_as_there_are_slices(pack, of, later):
    turns = [slice_of_day(TODAY + timedelta(days=later + day), of).holds(pack) for day in range(of)]
    assert turns.count(True) == 1


def test_slices_are_named_as_people_write_them():
    assert parse_slice("3/30", today=TODAY) == Slice(number=3, of=30)
    assert parse_slice("today/30", today=TODAY) == slice_of_day(TODAY, 30)
    assert str(Slice(number=3, of=30)) == "3/30"
    assert parse_slice("today/7", today=TODAY) != parse_slice("today/7", today=TODAY + timedelta(days=1))


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "a/3", "3/b", "today/0", "-1/3", "1/3/5", "today/"])
def test_anything_else_is_refused_with_how_to_write_it(text):
    with pytest.raises(UsageError, match="write"):
        parse_slice(text, today=TODAY)
