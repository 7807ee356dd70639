"""Rules as people write them: what is shown can be written, and nothing is guessed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import UsageError
from vmkeep.retention import RetentionRule, make_rule, parse_rule

numbers = st.none() | st.integers(1, 10**8)
lengths = st.none() | st.integers(1, 24 * 36600).map(lambda hours: timedelta(hours=hours))


@given(st.tuples(*[numbers] * 6), lengths)
def test_what_a_rule_shows_can_be_written(counts, within):
    kinds = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
    keep = {f"keep_{kind}": count for kind, count in zip(kinds, counts, strict=True)}
    if within is None and not any(counts):
        return
    rule = RetentionRule(**keep, keep_within=within)
    assert parse_rule(str(rule)) == rule


def test_a_form_of_empty_fields_makes_no_rule():
    assert make_rule({}) is None
    assert make_rule({"last": None, "daily": "", "within": None}) is None


def test_numbers_and_their_texts_are_the_same_in_a_form():
    assert make_rule({"daily": 14, "within": "36h"}) == make_rule({"daily": " 14 ", "within": "36h"})


@pytest.mark.parametrize(
    "text",
    ["", ",", "daily", "daily 0", "daily -1", "daily 1.5", "daily ١", "daily 14 weekly 8", "daily 14,", "14 daily",
     "daily 1, daily 2", "fortnightly 2", "within 14", "within 14m", "daily 9999999999", "keep_daily 3"],
)  # fmt: skip
def test_a_line_that_makes_no_rule_is_refused(text):
    with pytest.raises(UsageError):
        parse_rule(text)
