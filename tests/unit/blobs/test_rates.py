"""Rates as people write them, by time of day."""

from __future__ import annotations

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.blobs.wrappers.rates import parse_rates
from vmkeep.errors import UsageError


@pytest.mark.parametrize(
    ("text", "rate"),
    [("50MiB", 50 << 20), ("50 MiB/s", 50 << 20), ("1.5GB", 1.5e9), ("800kb", 800e3), ("1B", 1), ("unlimited", None)],
)
def test_one_rate_holds_all_day(text, rate):
    assert {parse_rates(text).rate_at(time(hour)) for hour in range(24)} == {rate}


def test_the_first_window_that_covers_a_time_counts_and_a_window_may_go_over_midnight():
    rates = parse_rates("20:00-06:00=unlimited, 12:00-13:30=10MB,default=1MB")

    assert [rates.rate_at(time(*at)) for at in ((20, 0), (23, 59), (0, 0), (5, 59))] == [None] * 4
    assert [rates.rate_at(time(*at)) for at in ((6, 0), (11, 59), (13, 30), (19, 59))] == [1e6] * 4
    assert [rates.rate_at(time(*at)) for at in ((12, 0), (13, 29))] == [1e7] * 2


def test_outside_of_all_windows_nothing_is_limited_unless_it_is_said():
    rates = parse_rates("08:00-24:00=1MB")

    assert rates.rate_at(time(7, 59)) is None
    assert rates.rate_at(time(23, 59)) == 1e6


@pytest.mark.parametrize(
    "text",
    ["", "50", "0MiB", "-1MB", "50TiB", "1MB,2MB", "1MB,default=2MB", "8-9=1MB", "08:00-08:00=1MB", "08:00-25:00=1MB",
     "08:60-09:00=1MB", "24:00-08:00=1MB", "08:00-24:30=1MB", "night=1MB", "08:00-09:00=", "0.5B"],
)  # fmt: skip
def test_what_is_no_rate_is_refused_with_how_to_write_one(text):
    with pytest.raises(UsageError, match="write 50MiB"):
        parse_rates(text)


@given(st.text(alphabet="0123456789:-=,KMGiB. unlimtd", max_size=30))
def test_any_text_parses_or_is_a_usage_error(text):
    try:
        rates = parse_rates(text)
    except UsageError:
        return
    assert all(rate is None or rate >= 1 for rate in [rates.default, *(window.rate for window in rates.windows)])
