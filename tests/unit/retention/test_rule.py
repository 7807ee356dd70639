"""Points that a retention rule keeps: examples that read as the rules, and properties that hold for all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import UsageError
from vmkeep.retention import Cause, PointFacts, RetentionRule, decide, expected_points, parse_duration

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(text, **facts):
    taken_at = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return PointFacts(ref=f"vm/{text}", vm_key="vm", taken_at=taken_at, **facts)


def kept(points, rule, *, now=NOW, zone=UTC):
    """Time → why it is kept, of the points that are."""
    verdicts = decide(points, rule, now=now, zone=zone)
    return {v.point.ref.partition("/")[2]: [str(reason) for reason in v.reasons] for v in verdicts if v.keep}


def test_the_newest_point_of_each_of_the_last_days_stays():
    points = [at("2026-11-17T22:00"), at("2026-11-18T01:00"), at("2026-11-18T22:00"), at("2026-11-20T03:00")]

    assert kept(points, RetentionRule(keep_daily=2)) == {
        "2026-11-18T22:00": ["daily 2026-11-18"],
        "2026-11-20T03:00": ["daily 2026-11-20"],
    }


def test_days_without_a_point_do_not_count():
    points = [at("2026-01-01T22:00"), at("2026-11-18T22:00")]

    assert len(kept(points, RetentionRule(keep_daily=2))) == 2


def test_a_point_says_every_reason_that_keeps_it():
    rule = RetentionRule(
        keep_last=1, keep_hourly=1, keep_daily=1, keep_weekly=1, keep_monthly=1, keep_yearly=1,
        keep_within=timedelta(days=1),
    )  # fmt: skip

    assert kept([at("2026-11-20T03:04")], rule) == {
        "2026-11-20T03:04": [
            "last 1", "hourly 2026-11-20 03:00 +0000", "daily 2026-11-20", "weekly 2026-W47", "monthly 2026-11",
            "yearly 2026", "within 1d",
        ],
    }  # fmt: skip


def test_days_begin_at_midnight_of_the_rules_time_zone():
    points = [at("2026-11-18T22:30"), at("2026-11-18T23:30"), at("2026-11-19T22:30")]  # 23:30, 0:30, 23:30 in Berlin

    assert set(kept(points, RetentionRule(keep_daily=2), zone=BERLIN)) == {"2026-11-18T22:30", "2026-11-19T22:30"}
    assert set(kept(points, RetentionRule(keep_daily=2), zone=UTC)) == {"2026-11-18T23:30", "2026-11-19T22:30"}


def test_the_hour_that_a_clock_set_back_goes_through_twice_is_two_hours():
    points = [at("2026-10-25T00:10"), at("2026-10-25T00:50"), at("2026-10-25T01:10")]  # 2:10, 2:50, and 2:10 again

    assert kept(points, RetentionRule(keep_hourly=5), zone=BERLIN) == {
        "2026-10-25T00:50": ["hourly 2026-10-25 02:00 +0200"],
        "2026-10-25T01:10": ["hourly 2026-10-25 02:00 +0100"],
    }


def test_within_is_a_length_of_time_also_over_a_change_of_the_clock():
    now = datetime(2026, 10, 25, 12, tzinfo=BERLIN)  # the day has 25 hours
    points = [at("2026-10-24T10:30"), at("2026-10-24T11:30"), at("2026-10-25T10:59")]

    assert set(kept(points, RetentionRule(keep_within=timedelta(days=1)), now=now, zone=BERLIN)) == {
        "2026-10-24T11:30", "2026-10-25T10:59",
    }  # fmt: skip


def test_weeks_are_iso_weeks_also_around_new_year():
    points = [at("2025-12-29T03:00"), at("2026-01-04T03:00"), at("2026-01-05T03:00")]

    assert kept(points, RetentionRule(keep_weekly=9)) == {
        "2026-01-04T03:00": ["weekly 2026-W01"],
        "2026-01-05T03:00": ["weekly 2026-W02"],
    }


def test_the_newest_good_point_is_always_kept():
    points = [at("2020-01-01T03:00"), at("2020-01-02T03:00"), at("2020-01-03T03:00", good=False)]

    assert kept(points, RetentionRule(keep_within=timedelta(hours=1))) == {
        "2020-01-02T03:00": ["newest good point of this VM"],
    }


def test_a_damaged_point_never_stands_for_a_day_but_goes_only_when_a_good_one_does():
    good, damaged = at("2026-11-19T01:00"), at("2026-11-19T23:00", good=False)
    alone = at("2026-11-18T23:00", good=False)
    older = at("2026-11-01T23:00", good=False)

    assert kept([older, alone, good, damaged], RetentionRule(keep_daily=1)) == {
        "2026-11-19T01:00": ["daily 2026-11-19"]
    }
    assert kept([alone, good, damaged], RetentionRule(keep_daily=2)) == {
        "2026-11-18T23:00": ["daily 2026-11-18: damaged, but there is no good one instead"],
        "2026-11-19T01:00": ["daily 2026-11-19"],
    }


def test_a_damaged_point_does_not_count_as_one_of_the_last():
    points = [at("2026-11-17T01:00"), at("2026-11-18T01:00"), at("2026-11-19T01:00", good=False)]

    assert set(kept(points, RetentionRule(keep_last=1))) == {"2026-11-18T01:00", "2026-11-19T01:00"}


def test_without_any_good_point_everything_of_the_vm_stays():
    points = [at("2020-01-01T03:00", good=False), at("2020-01-02T03:00", good=False), at("2030-01-01T03:00")]

    assert len(kept(points, RetentionRule(keep_last=1))) == 3


def test_a_point_from_the_future_is_kept_and_pushes_out_no_real_one():
    points = [at("2026-11-19T01:00"), at("2099-01-01T00:00")]

    assert kept(points, RetentionRule(keep_last=1)) == {
        "2026-11-19T01:00": ["last 1"],
        "2099-01-01T00:00": ["taken in the future: a clock was wrong"],
    }


def test_a_pinned_point_is_kept():
    points = [at("2020-01-01T03:00", pinned=True), at("2026-11-19T01:00")]

    assert kept(points, RetentionRule(keep_last=1))["2020-01-01T03:00"] == ["pinned"]


def test_an_empty_rule_is_refused():
    with pytest.raises(UsageError, match="would delete all"):
        RetentionRule()


@pytest.mark.parametrize(
    "fields",
    [{"keep_last": 0}, {"keep_daily": -1}, {"keep_within": timedelta()}, {"keep_within": timedelta(days=99999)}],
)
def test_a_number_that_would_keep_nothing_is_refused(fields):
    with pytest.raises(UsageError, match=r"keep_\w+ has to be"):
        RetentionRule(**fields)


def test_a_rule_reads_as_its_options():
    assert str(RetentionRule(keep_last=3, keep_within=timedelta(hours=36))) == "last 3, within 36h"
    assert str(RetentionRule(keep_weekly=8, keep_within=timedelta(days=14))) == "weekly 8, within 14d"


@pytest.mark.parametrize(
    ("text", "length"),
    [("36h", timedelta(hours=36)), ("14d", timedelta(days=14)), (" 8W ", timedelta(weeks=8)), ("2y", timedelta(732))],
)
def test_lengths_of_time_read_as_people_write_them(text, length):
    assert parse_duration(text) == length


@pytest.mark.parametrize("text", ["", "14", "d", "-1d", "0d", "1.5d", "3m", "1d2h", "101y", "9999999y", "١d"])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(UsageError, match="14d"):
        parse_duration(text)


counts = st.none() | st.integers(1, 6)
fields = st.fixed_dictionaries(
    {f"keep_{name}": counts for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
    | {"keep_within": st.none() | st.timedeltas(timedelta(hours=1), timedelta(days=400))}
)
rules = fields.filter(lambda given: any(given.values())).map(lambda given: RetentionRule(**given))
zones = st.sampled_from([UTC, BERLIN, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("America/St_Johns")])
hours = st.integers(-24 * 30, 24 * 800).map(lambda count: NOW - timedelta(hours=count)) | st.integers(0, 60 * 50).map(
    lambda count: datetime(2026, 10, 26, tzinfo=UTC) - timedelta(minutes=count)
)


@st.composite
def histories(draw, vms=("a", "b")):
    """Points of two VMs, in the past and the future, mostly good."""
    objects = st.sampled_from([None, "1", "2", "3"])
    each = st.tuples(st.sampled_from(vms), hours, st.integers(0, 9), st.integers(0, 9), objects)
    return [
        PointFacts(ref=f"{vm}/{number}", vm_key=vm, taken_at=when, good=bad > 1, pinned=pin == 0, moref=moref)
        for number, (vm, when, bad, pin, moref) in enumerate(draw(st.lists(each, max_size=40)))
    ]


def survivors(points, rule, now, zone):
    return [verdict.point for verdict in decide(points, rule, now=now, zone=zone) if verdict.keep]


def refs(points):
    return {point.ref for point in points}


@given(histories(), rules, zones)
def test_marking_the_survivors_again_drops_nothing(points, rule, zone):
    left = survivors(points, rule, NOW, zone)

    assert survivors(left, rule, NOW, zone) == left


@given(histories(), rules, zones)
def test_every_point_gets_one_verdict_and_every_vm_keeps_a_good_point(points, rule, zone):
    verdicts = decide(points, rule, now=NOW, zone=zone)

    assert sorted(verdict.point.ref for verdict in verdicts) == sorted(refs(points))
    for vm in ("a", "b"):
        good = [point for point in points if point.vm_key == vm and point.good and point.taken_at <= NOW]
        left = [verdict for verdict in verdicts if verdict.point.vm_key == vm and verdict.keep]
        if good:
            newest = max(point.taken_at for point in good)
            assert any(verdict.point.good and verdict.point.taken_at == newest for verdict in left)
        else:
            assert len(left) == sum(point.vm_key == vm for point in points)
    assert all(verdict.keep for verdict in verdicts if verdict.point.pinned or verdict.point.taken_at > NOW)


@given(histories(), rules, st.sampled_from(["last", "hourly", "daily", "weekly", "monthly", "yearly"]), zones)
def test_a_rule_that_asks_for_more_drops_nothing_that_the_smaller_one_keeps(points, rule, name, zone):
    field = f"keep_{name}"
    larger = replace(rule, **{field: (getattr(rule, field) or 0) + 1})

    assert refs(survivors(points, rule, NOW, zone)) - refs(survivors(points, larger, NOW, zone)) <= refs(
        verdict.point
        for verdict in decide(points, rule, now=NOW, zone=zone)
        if {reason.cause for reason in verdict.reasons} == {Cause.NEWEST}
    )


@given(histories(), histories(), rules, zones, st.integers(0, 24 * 100))
def test_it_makes_no_difference_whether_a_rule_was_applied_before(points, later, rule, zone, hours_on):
    """Points that come later change nothing about what is dropped now: it would be dropped then as well."""
    earlier = [point for point in points if point.taken_at <= NOW]
    new = [
        replace(point, ref=f"new-{point.ref}", taken_at=NOW + abs(NOW - point.taken_at) + timedelta(seconds=1))
        for point in later
    ]
    then = NOW + timedelta(hours=hours_on)

    at_once = survivors([*earlier, *new], rule, then, zone)
    in_two = survivors([*survivors(earlier, rule, NOW, zone), *new], rule, then, zone)

    assert refs(in_two) == refs(at_once)


@given(histories(), rules, zones, st.data())
def test_a_pin_changes_nothing_for_other_points(points, rule, zone, data):
    if not points:
        return
    chosen = data.draw(st.sampled_from(points))
    pinned = [replace(point, pinned=True) if point.ref == chosen.ref else point for point in points]

    assert refs(survivors(pinned, rule, NOW, zone)) == refs(survivors(points, rule, NOW, zone)) | {chosen.ref}


@given(histories(), rules, zones)
def test_vms_do_not_matter_to_each_other(points, rule, zone):
    alone = [point for point in points if point.vm_key == "a"]

    together = [point for point in survivors(points, rule, NOW, zone) if point.vm_key == "a"]
    assert together == survivors(alone, rule, NOW, zone)


def test_points_are_expected_at_the_rhythm_that_a_vm_has():
    points = [at(f"2026-11-{day:02}T22:00") for day in range(10, 20)]

    expected = expected_points(points, now=NOW, until=NOW + timedelta(days=3))

    assert [f"{point.taken_at:%d %H}" for point in expected] == ["20 22", "21 22", "22 22"]
    assert all(point.ref.endswith("-expected") for point in expected)


def test_a_vm_that_is_not_backed_up_any_more_is_not_expected_to_be():
    assert not expected_points([at("2026-11-01T22:00")], now=NOW, until=NOW + timedelta(days=9))
    assert not expected_points([], now=NOW, until=NOW + timedelta(days=9))
    assert len(expected_points([at("2026-11-19T22:00")], now=NOW, until=NOW + timedelta(days=9))) == 9


def test_the_points_to_come_are_of_the_very_vm_so_that_a_forecast_lets_older_ones_go():
    """The points of a VM and of a copy beside it, each day; those to come push out the same number of each."""
    found = [
        PointFacts(ref=f"vm/{moref}-{day}", vm_key="vm", vcenter="a", moref=moref, policy="gold", taken_at=taken_at)
        for day in range(3)
        for moref, taken_at in (("vm-1", NOW - timedelta(days=day)), ("vm-9", NOW - timedelta(days=day, hours=1)))
    ]
    then = NOW + timedelta(days=2)
    coming = expected_points(found, now=NOW, until=then)

    left = survivors([*found, *coming], RetentionRule(keep_last=3), then, UTC)

    assert {(point.vcenter, point.moref, point.policy) for point in coming} == {
        ("a", "vm-1", "gold"), ("a", "vm-9", "gold"),
    }  # fmt: skip
    assert refs(found) & refs(left) == {"vm/vm-1-0", "vm/vm-9-0"}


def test_no_point_goes_of_a_copy_whose_points_are_all_damaged_though_its_original_has_good_ones():
    found = [
        PointFacts(ref=f"vm/{moref}", vm_key="vm", vcenter="a", moref=moref, taken_at=NOW, good=good)
        for moref, good in (("vm-1", True), ("vm-9", False))
    ]
    rule = RetentionRule(keep_last=1)
    assert all(verdict.keep for verdict in decide(found, rule, now=NOW, zone=UTC))


def test_a_copy_beside_its_original_in_one_vcenter_pushes_out_no_point_of_it():
    points = [
        PointFacts(ref=f"vm/{moref}{day}", vm_key="vm", vcenter="a", moref=moref, taken_at=taken_at)
        for day in range(5)
        for moref, taken_at in (
            ("vm-1", NOW - timedelta(days=day, hours=2)),
            ("vm-2", NOW - timedelta(days=day, hours=1)),
        )
    ]

    left = survivors(points, RetentionRule(keep_last=2), NOW, UTC)

    assert refs(left) == {"vm/vm-10", "vm/vm-11", "vm/vm-20", "vm/vm-21"}


def test_a_vm_of_a_monthly_window_loses_no_point_to_a_copy_that_is_backed_up_each_day():
    monthly = [
        PointFacts(ref=f"vm/m{day}", vm_key="vm", vcenter="a", moref="vm-1", taken_at=NOW - timedelta(days=day))
        for day in (20, 50, 80)
    ]
    daily = [
        PointFacts(ref=f"vm/d{day}", vm_key="vm", vcenter="a", moref="vm-9", taken_at=NOW - timedelta(days=day))
        for day in range(14)
    ]

    left = survivors([*monthly, *daily], RetentionRule(keep_last=3), NOW, UTC)

    assert refs(left) == {"vm/m20", "vm/m50", "vm/m80", "vm/d0", "vm/d1", "vm/d2"}


def test_a_copy_in_another_vcenter_pushes_out_no_point_of_its_original():
    """Both are backed up each day into one history: with one count for both, the copy's points alone would stay."""
    points = [
        PointFacts(
            ref=f"vm/{vcenter}{day}", vm_key="vm", vcenter=vcenter, taken_at=NOW - timedelta(days=day, hours=hour)
        )
        for day in range(5)
        for vcenter, hour in (("a", 2), ("b", 1))
    ]
    lost = PointFacts(ref="vm/lost", vm_key="vm", taken_at=NOW - timedelta(days=3, minutes=5), good=False)

    verdicts = decide([*points, lost], RetentionRule(keep_last=2), now=NOW, zone=UTC)

    assert [verdict.point.taken_at for verdict in verdicts] == sorted(verdict.point.taken_at for verdict in verdicts)
    assert {verdict.point.ref for verdict in verdicts if verdict.keep} == {"vm/a0", "vm/a1", "vm/b0", "vm/b1"}
