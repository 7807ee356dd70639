"""When a window is open, also in the nights in which the clock is changed."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.policy import Blackout, Due, Opening, Weekday, Window
from vmkeep.retention import parse_zone

BERLIN = ZoneInfo("Europe/Berlin")
WEEK = frozenset(Weekday)


def window(start: str, end: str, *, zone=BERLIN, days=WEEK, blackouts=()) -> Window:
    return Window(
        start=time.fromisoformat(start), end=time.fromisoformat(end), zone=zone, days=days, blackouts=blackouts
    )


def local(text: str, zone=BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def between(opens: datetime, closes: datetime) -> Opening:
    return Opening(opens_at=opens.astimezone(UTC), closes_at=closes.astimezone(UTC))


def test_a_window_is_open_from_its_start_until_just_before_its_end():
    nightly = window("10:00", "12:00")
    held = [nightly.window_at(local(f"2026-06-10T{at}")) is not None for at in ("09:59", "10:00", "11:59", "12:00")]
    assert held == [False, True, True, False]


def test_a_window_across_midnight_belongs_to_the_day_on_which_it_opens():
    friday = window("22:00", "06:00", days=frozenset({Weekday.FRI}))
    assert friday.window_at(local("2026-06-13T05:59")) == between(local("2026-06-12T22:00"), local("2026-06-13T06:00"))
    assert friday.window_at(local("2026-06-12T05:59")) is None


def test_a_window_that_ends_when_it_starts_lasts_a_day():
    whole = window("22:00", "22:00")
    assert whole.next_opening(local("2026-06-10T23:00")).length == timedelta(days=1)
    assert whole.window_at(local("2026-06-10T22:00")).opens_at == local("2026-06-10T22:00")


def test_a_window_keeps_to_the_clock_in_the_nights_in_which_it_is_changed():
    nightly = window("22:00", "06:00")
    assert nightly.window_at(local("2026-03-29T01:00")).length == timedelta(hours=7)
    assert nightly.window_at(local("2026-10-25T01:00")).length == timedelta(hours=9)


def test_a_start_that_the_clock_leaps_over_is_the_moment_of_the_leap():
    assert window("02:30", "05:00").next_opening(local("2026-03-28T12:00")) == between(
        utc("2026-03-29T01:00"), local("2026-03-29T05:00")
    )


def test_an_end_that_the_clock_leaps_over_is_the_moment_of_the_leap():
    assert window("01:00", "02:30").next_opening(local("2026-03-28T12:00")) == between(
        local("2026-03-29T01:00"), utc("2026-03-29T01:00")
    )


@pytest.mark.parametrize(("start", "end"), [("02:00", "03:00"), ("02:15", "02:45"), ("02:30", "03:00")])
def test_a_window_that_the_clock_leaps_over_opens_at_the_leap_and_lasts_as_always(start, end):
    opening = window(start, end).next_opening(local("2026-03-28T12:00"))
    usual = window(start, end).next_opening(local("2026-06-10T12:00"))
    assert opening == Opening(opens_at=utc("2026-03-29T01:00"), closes_at=utc("2026-03-29T01:00") + usual.length)


def test_a_time_that_the_clock_shows_twice_is_the_first_of_the_two():
    assert window("02:30", "05:00").next_opening(local("2026-10-24T12:00")).opens_at == utc("2026-10-25T00:30")
    assert window("01:00", "02:30").next_opening(local("2026-10-24T12:00")).closes_at == utc("2026-10-25T00:30")
    assert window("02:15", "02:45").next_opening(local("2026-10-24T12:00")).length == timedelta(minutes=30)


def test_a_place_that_lost_a_whole_day_has_a_window_for_it_all_the_same():
    apia = ZoneInfo("Pacific/Apia")  # there was no 30th of December 2011, which was to be a Friday
    friday = window("10:00", "12:00", zone=apia, days=frozenset({Weekday.FRI}))
    opening = friday.next_opening(local("2011-12-29T12:00", apia))
    assert opening == between(local("2011-12-31T00:00", apia), local("2011-12-31T02:00", apia))


def test_a_leap_of_half_an_hour_is_found_to_the_second():
    lord_howe = ZoneInfo("Australia/Lord_Howe")  # 02:00 becomes 02:30
    opening = window("02:10", "04:00", zone=lord_howe).next_opening(local("2026-10-03T12:00", lord_howe))
    assert opening.opens_at == local("2026-10-04T02:30", lord_howe)


def test_no_window_opens_on_a_blackout_date():
    christmas = Blackout(first=date(2026, 12, 24), last=date(2026, 12, 26))
    nightly = window("10:00", "12:00", blackouts=(christmas,))
    assert nightly.next_opening(local("2026-12-23T13:00")).opens_at == local("2026-12-27T10:00")
    assert nightly.last_opening(local("2026-12-26T23:00")).opens_at == local("2026-12-23T10:00")


def test_a_window_that_runs_into_a_blackout_date_ends_at_midnight():
    christmas = Blackout(first=date(2026, 12, 24), last=date(2026, 12, 24))
    nightly = window("22:00", "06:00", blackouts=(christmas,))
    assert nightly.window_at(local("2026-12-23T23:00")).closes_at == local("2026-12-24T00:00")
    assert nightly.window_at(local("2026-12-24T00:00")) is None
    assert nightly.window_at(local("2026-12-25T01:00")) is None


def test_a_window_that_never_opens_says_so_instead_of_searching_for_ever():
    barred = window("22:00", "06:00", blackouts=(Blackout(first=date(1, 1, 1), last=date(9999, 12, 31)),))
    moment = local("2026-06-10T12:00")
    assert (barred.window_at(moment), barred.next_opening(moment), barred.last_opening(moment)) == (None, None, None)
    assert window("22:00", "06:00").next_opening(datetime(9999, 12, 30, tzinfo=UTC)) is not None


NIGHTLY = window("22:00", "06:00")


def test_a_late_start_within_the_window_keeps_its_end():
    due, opening = NIGHTLY.due(local("2026-06-10T22:00"), now=local("2026-06-11T05:00"), catch_up=False)
    assert (due, opening.closes_at) == (Due.OPEN, local("2026-06-11T06:00"))


def test_a_missed_window_is_caught_up_for_its_usual_length_but_not_into_the_next_one():
    due, opening = NIGHTLY.due(local("2026-06-10T22:00"), now=local("2026-06-11T09:00"), catch_up=True)
    assert (due, opening) == (Due.CAUGHT_UP, between(local("2026-06-11T09:00"), local("2026-06-11T17:00")))
    due, opening = NIGHTLY.due(local("2026-06-10T22:00"), now=local("2026-06-11T20:00"), catch_up=True)
    assert opening.closes_at == local("2026-06-11T22:00")


def test_a_missed_window_is_left_missed_where_that_is_asked_for():
    assert NIGHTLY.due(local("2026-06-10T22:00"), now=local("2026-06-11T09:00"), catch_up=False)[0] is Due.MISSED


def test_of_several_missed_windows_only_the_last_is_caught_up():
    due, _ = NIGHTLY.due(local("2026-06-08T22:00"), now=local("2026-06-11T09:00"), catch_up=True)
    assert due is Due.SUPERSEDED


def test_a_window_that_was_moved_after_it_was_planned_lasts_as_long_as_it_does_now():
    due, opening = window("20:00", "21:00").due(local("2026-06-10T22:00"), now=local("2026-06-10T22:00"), catch_up=True)
    assert due is Due.OPEN
    assert opening == between(local("2026-06-10T22:00"), local("2026-06-10T23:00"))


def test_a_person_may_start_a_window_at_any_time():
    assert NIGHTLY.by_hand(local("2026-06-10T23:00")).closes_at == local("2026-06-11T06:00")
    assert NIGHTLY.by_hand(local("2026-06-10T12:00")).length == timedelta(hours=8)


ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Pacific/Apia",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Cairo",
    ]
)
TIMES = st.times().map(lambda it: it.replace(second=0, microsecond=0, tzinfo=None))
MOMENTS = st.integers(0, 26 * 365 * 24 * 60).map(lambda minutes: utc("2009-01-01") + timedelta(minutes=minutes))
DAYS = st.frozensets(st.sampled_from(list(Weekday)), min_size=1)


@given(start=TIMES, end=TIMES, zone=ZONES, days=DAYS, moment=MOMENTS)
def test_windows_come_one_after_the_other_and_each_moment_knows_its_own(start, end, zone, days, moment):
    some = Window(start=start, end=end, zone=parse_zone(zone), days=days)
    last, coming = some.last_opening(moment), some.next_opening(moment)
    assert last.opens_at <= moment < coming.opens_at
    assert timedelta() < last.length <= timedelta(days=2)
    assert some.window_at(moment) == (last if last.holds(moment) else None)
    assert some.window_at(coming.opens_at) == coming
    assert some.last_opening(coming.opens_at) == coming
    assert Window.from_plain(some.to_plain()) == some
