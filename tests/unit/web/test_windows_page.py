"""The page of a day's windows tells what ran when against its window, and never calls a bad window good."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import escape
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.model.job import to_json
from vmkeep.web import BackupGroup, Frame, ListedBackups, WindowBackup, WindowPlanned, WindowSeen, render, windows_page

DAY = date(2026, 11, 27)
BEGIN = datetime(2026, 11, 27, tzinfo=UTC)
NOW = BEGIN + timedelta(hours=12)
HOSTILE = "<img src=x onerror=alert(1)>\u202eevil"
FRAME = Frame(root="/vmkeep", airflow="", user="anna", may_operate=True)


def at(hours):
    return BEGIN + timedelta(hours=hours)


def backup(name="web01", ending="done", begun=1.0, ended=2.0, why=""):
    return WindowBackup(
        name=name, run_id=f"run-{name}", ending=ending, why=why, begun_at=None if begun is None else at(begun),
        ended_at=None if ended is None else at(ended),
    )  # fmt: skip


def window(*backups, **changes):
    fields = {
        "policy": "nightly", "dag_id": "backup_window_nightly", "run_id": "r", "opens_at": at(-2), "closes_at": at(4),
        "due": "open", "is_over": True, "backups": backups,
    }  # fmt: skip
    return WindowSeen(**(fields | changes))


def row_of(seen):
    return windows_page([seen], [], DAY, now=NOW).rows[0]


@pytest.mark.parametrize(
    ("seen", "label"),
    [
        (window(backup()), "in time"),
        (window(backup(ended=5)), "ran over"),
        (window(backup(), backup("b", "failed")), "failures"),
        (window(backup(), backup("b", "not started", None, None)), "did not fit"),
        (window(backup(), backup("b", "stopped", 3, 4), backup("c", "failed")), "did not fit"),
        (window(backup(), backup("b", "running", 3, None)), "did not fit"),
        (window(backup(), backup("b", "running", 3, None), is_over=False, closes_at=at(14)), "open"),
        (window(), "no VM"),
        (window(due="missed"), "missed"),
        (window(due="superseded"), "superseded"),
        (window(closes_at=None, due=""), "no plan"),
        (window(closes_at=None, due="", is_over=False), "does not begin"),
        (window(closes_at=None, due="", is_over=False, opens_at=at(11.6)), "open"),
        (window(closes_at=None, due="", is_over=False, opens_at=at(11.6), is_queued=True), "waits to begin"),
        (window(closes_at=None, due="", is_over=False, begun_at=at(11.6)), "open"),
        (window(backup(), backup("b", "running", 3, None), is_over=False, closes_at=at(9)), "still at work"),
        (window(backup("b", "waiting", None, None), is_over=False, closes_at=at(9)), "still at work"),
        (window(backup("b", "running", -20, None), is_over=False, opens_at=at(-20), closes_at=at(-13)), "does not end"),
        (window(backup(), is_over=False, closes_at=at(9)), "open"),
    ],
)
def test_the_worst_that_is_true_is_a_windows_state(seen, label):
    assert row_of(seen).label == label


@pytest.mark.parametrize("closes_at", [at(9), None])
def test_a_window_that_is_at_work_long_after_it_should_have_closed_needs_a_look(closes_at):
    stuck = window(backup("b", "waiting", None, None), is_over=False, closes_at=closes_at)
    assert row_of(stuck).tone == "warn"


def test_a_window_is_drawn_with_the_backups_at_once_and_those_after_its_end():
    row = row_of(window(backup("a", begun=-1, ended=1), backup("b", begun=0.5, ended=5)))
    assert row.peak == 2
    assert (row.over, row.last_ended.iso) == ("60 min", "2026-11-27T05:00:00Z")
    band, *bars = row.bars
    assert (band.kind, band.x, band.width) == ("band", 0, 240)
    assert [(bar.kind, bar.x, bar.width) for bar in bars] == [
        ("ran", 0, 30), ("ran", 30, 30), ("ran", 60, 180), ("over", 240, 60),
    ]  # fmt: skip
    assert row.words == "from 22:00 to 04:00 UTC; at most 2 backups at once; the last one ended 60 min after its end"


times = st.floats(-40, 60)


@given(st.lists(st.tuples(times, times), max_size=8), times, st.floats(0.1, 40))
def test_no_drawing_leaves_its_day(spans, opens, length):
    backups = [backup(f"v{n}", begun=min(span), ended=max(span)) for n, span in enumerate(spans)]
    seen = window(*backups, opens_at=at(opens), closes_at=at(opens + length))
    row = row_of(seen)
    for bar in (*row.bars, *(bar for each in row.backups for bar in each.bars)):
        assert 0 <= bar.x <= 1440
        assert bar.x + bar.width <= 1444  # a backup of a minute is drawn so that it is seen
        assert 0 <= bar.y <= bar.y + bar.height <= 36.1
    assert row.done + row.failed + row.not_fit == row.vms == len(spans)


def test_failures_come_first_then_the_longest_and_the_rest_is_counted():
    seen = window(
        *(backup(f"v{n:02}", begun=0, ended=n / 60) for n in range(1, 60)), backup("lost", "not started", None, None),
        backup("broken", "failed", why="the datastore is full"),
    )  # fmt: skip
    row = row_of(seen)
    assert [each.name for each in row.backups[:3]] == ["broken", "lost", "v59"]
    assert (len(row.backups), row.more, row.vms) == (50, 11, 61)
    html = render("windows.html", FRAME, page=windows_page([seen], [], DAY, now=NOW))
    assert "the datastore is full" in html
    assert '<details class="backups" id="w0" open>' in html


@pytest.mark.parametrize(
    ("known_since", "label", "look"),
    [(None, "no run", "1 needs"), (2, "no run", "1 needs"), (3, "before its DAG", "none needs")],
)
def test_a_window_that_closed_before_airflow_knew_its_dag_alarms_nobody(known_since, label, look):
    since = at(known_since) if known_since is not None else None
    planned = WindowPlanned(policy="early", opens_at=at(1), closes_at=at(3), known_since=since)
    page = windows_page([], [planned], DAY, now=NOW)
    assert [row.label for row in page.rows] == [label]
    assert page.sentence == f"1 window; no backup yet; {look} a look."


def test_a_window_of_the_example_that_nobody_has_switched_on_alarms_nobody():
    idle = WindowPlanned(policy="example", opens_at=at(1), closes_at=at(3), is_idle_example=True)
    page = windows_page([], [idle], DAY, now=NOW)
    assert [(row.label, row.tone) for row in page.rows] == [("example", "calm")]
    assert page.sentence == "1 window; no backup yet; none needs a look."


def test_a_window_to_come_of_a_policy_that_is_switched_off_needs_a_look_before_the_night():
    off = WindowPlanned(policy="mine", opens_at=at(20), closes_at=at(26), is_off=True)
    page = windows_page([], [off, replace(off, policy="example", is_idle_example=True)], DAY, now=NOW)
    assert [(row.policy, row.label, row.tone) for row in page.rows] == [
        ("example", "example", "calm"), ("mine", "coming, switched off", "warn"),
    ]  # fmt: skip
    assert page.sentence == "2 windows; no backup yet; 1 needs a look."
    assert "it opens only once its DAG is switched on" in render("windows.html", FRAME, page=page)


def test_a_window_without_a_run_is_coming_or_missing():
    coming = WindowPlanned(policy="late", opens_at=at(20), closes_at=at(26))
    gone = WindowPlanned(policy="early", opens_at=at(1), closes_at=at(3))
    page = windows_page([], [coming, gone], DAY, now=NOW)
    assert [(row.policy, row.label, row.tone) for row in page.rows] == [
        ("early", "no run", "warn"), ("late", "coming", "calm"),
    ]  # fmt: skip
    assert page.sentence == "2 windows; no backup yet; 1 needs a look."
    assert (page.is_today, page.now_at, page.before, page.after) == (True, 720, "2026-11-26", "2026-11-28")
    tomorrow = windows_page([], [], DAY + timedelta(days=1), now=NOW)
    assert (tomorrow.after, tomorrow.sentence) == ("", "No policy has a window on this day.")
    assert "No window on this day" in render("windows.html", FRAME, page=tomorrow)


def test_hostile_names_do_nothing():
    seen = replace(window(backup(HOSTILE, "failed", why=HOSTILE)), policy=HOSTILE, run_id=HOSTILE)
    page = windows_page([seen], [], DAY, now=NOW, problems=[HOSTILE])
    html = render("windows.html", FRAME, page=page)
    assert "<img" not in html
    assert "\u202e" not in page.rows[0].backups[0].name
    to_json(page)


OF_EACH = (
    backup("d"), backup("r", "running", 3, None), backup("w", "waiting", None, None),
    backup("n", "not started", None, None), backup("s", "stopped", 3, 4), backup("f", "failed"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "not_fit", "in_work"), [({}, 4, 0), ({"is_over": False, "closes_at": at(14)}, 2, 2)]
)
def test_backups_at_work_count_as_not_fitting_only_once_their_window_is_over(changes, not_fit, in_work):
    row = row_of(window(*OF_EACH, **changes))
    assert (row.vms, row.done, row.failed, row.not_fit, row.in_work, row.more) == (6, 1, 1, not_fit, in_work, 0)


def test_a_window_whose_last_backup_ends_with_it_is_in_time():
    row = row_of(window(backup("a"), backup("b", ended=4)))
    assert (row.label, row.over) == ("in time", "")
    assert row.words == "from 22:00 to 04:00 UTC; at most 2 backups at once"
    assert row_of(window(backup(), closes_at=None, due="")).over == ""
    assert row_of(window()).words == "from 22:00 to 04:00 UTC; no backup ran on this day"
    assert row_of(window(backup("n", "not started", None, None))).last_ended is None


def test_only_a_backup_that_has_begun_has_a_run_to_look_at_and_a_length():
    rows = {each.name: each for each in row_of(window(*OF_EACH)).backups}
    assert [(rows[name].run_id, rows[name].lasted, len(rows[name].bars)) for name in "drn"] == [
        ("run-d", "60 min", 1), ("run-r", "9 h", 1), ("", "", 0),
    ]  # fmt: skip
    assert rows["r"].bars[0].x + rows["r"].bars[0].width == 720, "it runs until now"


@pytest.mark.parametrize(
    ("windows", "told"),
    [
        ((window(backup()),), "1 window; 1 of 1 backup done; none needs a look."),
        ((window(backup()), window(backup(ended=5))), "2 windows; 2 of 2 backups done; 1 needs a look."),
        ((window(), window(due="missed")), "2 windows; no backup yet; 2 need a look."),
    ],
)
def test_the_sentence_of_a_day_counts_what_needs_a_look(windows, told):
    assert windows_page(windows, [], DAY, now=NOW).sentence == told


def test_a_planned_window_counts_nothing_and_only_today_has_a_now():
    planned = WindowPlanned(policy="late", opens_at=NOW, closes_at=at(26))
    page = windows_page([], [planned], DAY + timedelta(days=1), now=NOW)
    (row,) = page.rows
    assert (row.vms, row.done, row.failed, row.not_fit, row.in_work, row.left_out, row.peak, row.more) == (0,) * 8
    assert row.label == "no run", "it should have opened by now"
    assert (page.is_today, page.now_at) == (False, None)


LATE = backup("l", ended=5)
NO_MORE = WindowBackup(name="x", run_id="", ending="left out", why="it has no disk", begun_at=None, ended_at=None)
SECOND_OF_TWO = ListedBackups(dag_id="backup_window_nightly", run_id="r", group=BackupGroup.LATE, first=50)


@pytest.mark.parametrize("changes", [{}, {"is_over": False, "closes_at": at(4.5)}], ids=["over", "at work"])
def test_each_count_of_a_window_leads_to_the_backups_behind_it(changes):
    seen = window(*OF_EACH, LATE, left_out=(NO_MORE,), **changes)
    row = row_of(seen)
    counts = {"all": row.vms, "done": row.done, "failed": row.failed, "not-fit": row.not_fit, "in-work": row.in_work,
              "late": row.late, "left-out": row.left_out}  # fmt: skip
    assert row.links.keys() == {group for group, number in counts.items() if number}
    overview = render("windows.html", FRAME, page=windows_page([seen], [], DAY, now=NOW))
    for group, query in row.links.items():
        asked = dict(parse_qsl(query))
        assert (asked.pop("day"), asked.pop("dag"), asked.pop("run")) == ("2026-11-27", seen.dag_id, "r")
        listed = ListedBackups(dag_id=seen.dag_id, run_id="r", group=BackupGroup(asked["group"]))
        page = windows_page([seen], [], DAY, now=NOW, listed=listed)
        (shown,) = page.rows
        assert (len(shown.backups), shown.listing.total, shown.more) == (counts[group], counts[group], 0)
        assert shown.listing.heading == f"{counts[group]} {shown.group_words[group]}"
        assert page.query == query
        assert f'href="?{escape(query)}#w0"' in overview
        assert '<details class="backups" id="w0" open>' in render("windows.html", FRAME, page=page)


@pytest.mark.parametrize(("ended", "late", "label"), [(4, 0, "in time"), (4.01, 1, "ran over")])
def test_a_backup_that_ends_the_moment_its_window_closes_is_in_time(ended, late, label):
    row = row_of(window(backup(ended=ended)))
    assert (row.late, row.label, row.over != "") == (late, label, bool(late))


def test_all_backups_of_a_count_can_be_reached_page_by_page():
    seen = window(*(backup(f"v{n:03}", ended=5) for n in range(120)))
    row = windows_page([seen], [], DAY, now=NOW, listed=SECOND_OF_TWO).rows[0]
    assert [len(row.backups), row.listing.total, row.more] == [50, 120, 70]
    assert row.listing.heading == "120 late, 51 to 100 of them"
    assert "first=100" in row.listing.after
    assert row.listing.before.endswith("group=late")
    names = [
        each.name for first in (0, 50, 100)
        for each in windows_page([seen], [], DAY, now=NOW, listed=replace(SECOND_OF_TWO, first=first)).rows[0].backups
    ]  # fmt: skip
    assert sorted(names) == [f"v{n:03}" for n in range(120)]
    beyond = windows_page([seen], [], DAY, now=NOW, listed=replace(SECOND_OF_TWO, first=500)).rows[0]
    assert (beyond.listing.first, len(beyond.backups)) == (100, 20), "a list that has shrunk shows its last part"
