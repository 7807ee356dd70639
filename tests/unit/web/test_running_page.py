"""The page of running work never draws as live what is not, and tells each task's state in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.model.job import TaskProgress, to_json
from vmkeep.web import (
    AtWork,
    Frame,
    PoolUse,
    RateLimit,
    RunsShown,
    SnapshotAtWork,
    WorkRun,
    WorkTask,
    render,
    running_page,
)

NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>\u202eevil"
FRAME = Frame(root="/vmkeep", airflow="", user="anna", may_operate=True)


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


def progress(**changes):
    fields = {
        "label": "Hard disk 1", "phase": "copy", "done": 25 << 30, "total": 100 << 30, "in_bytes": True,
        "rate": float(100 << 20), "idle_seconds": 1.0,
    }  # fmt: skip
    return TaskProgress(**(fields | changes))


def task(**changes):
    fields = {
        "task": "copy_disk", "map_index": 0, "name": "", "state": "running", "pool": "backup_proxy", "host": "proxy1",
        "begun_at": ago(600), "heartbeat_at": ago(3), "progress": progress(), "told_at": ago(4),
    }  # fmt: skip
    return WorkTask(**(fields | changes))


def run(*tasks, **changes):
    fields = {
        "dag_id": "vm_backup", "run_id": "nightly__1", "about": "web01", "is_running": True, "since": ago(700),
        "tasks": tasks, "more_tasks": 0, "disks_done": 1, "may_stop": True,
    }  # fmt: skip
    return WorkRun(**(fields | changes))


def work(*runs, **changes):
    fields = {"runs": runs, "total": len(runs), "pools": (), "snapshots": (), "limits": ()}
    return AtWork(**(fields | changes))


def row_of(each):
    return running_page(work(run(each)), now=NOW).runs[0].tasks[0]


def test_a_disk_at_work_has_its_bytes_rate_and_the_time_that_is_left():
    page = running_page(work(run(task())), now=NOW)
    row = page.runs[0].tasks[0]
    assert (row.name, row.percent, row.amount) == ("Hard disk 1", 25, "copy: 25.0 GiB of 100.0 GiB")
    assert (row.speed, row.eta_seconds, row.tone) == ("100.0 MiB/s", 768, "good")
    assert page.sentence == "1 run in work; 1 disk or check moving 100.0 MiB/s."


@pytest.mark.parametrize(
    ("changes", "label", "is_live"),
    [
        ({"heartbeat_at": ago(300)}, "worker is silent", False),
        ({"told_at": ago(31)}, "progress not known", False),
        ({"progress": progress(idle_seconds=120.0, rate=0.0)}, "nothing moves", True),
        ({"progress": None, "told_at": None}, "has begun", False),
        ({"begun_at": ago(2)}, "has begun", False),  # the progress is that of an earlier try
        ({"state": "up_for_reschedule"}, "waits for room", False),
        ({"state": "queued"}, "waits for a slot", False),
        ({"state": "up_for_retry"}, "waits for its next try", False),
        ({"state": "awaiting_input"}, "waits for an answer", False),
    ],
)
def test_only_what_was_told_just_now_by_a_living_worker_has_a_rate(changes, label, is_live):
    row = row_of(task(**changes))
    assert row.label == label
    assert (row.rate is not None) == is_live
    assert row.eta_seconds is None
    assert row.left == ""


def test_the_last_known_numbers_of_a_silent_worker_are_drawn_as_old():
    page = running_page(work(run(task(heartbeat_at=ago(300)))), now=NOW)
    assert "1 task without a sign of life" in page.sentence
    html = render("running.html", FRAME, page=page)
    assert 'class="old"' in html
    assert "no sign of life for 5 min" in html
    assert "/s</td>" not in html


def test_work_that_is_not_counted_in_bytes_shows_its_share_only():
    still = running_page(work(run(task(progress=progress(rate=0.0)))), now=NOW)
    assert still.sentence == "1 run in work."
    row = row_of(task(progress=progress(in_bytes=False, done=3, total=12, rate=0.5)))
    assert (row.percent, row.done, row.rate, row.amount, row.eta_seconds) == (25, None, None, "copy", 18)
    assert row_of(task(progress=progress(total=0))).percent is None


def test_the_oldest_snapshot_comes_first_and_one_that_was_left_is_marked():
    def snapshot(about, seconds, is_left=False):
        return SnapshotAtWork(about=about, dag_id="vm_backup", run_id=about, taken_at=ago(seconds), is_left=is_left)

    held = work(snapshots=(snapshot("young", 60), snapshot("old", 7200, is_left=True)))
    page = running_page(held, now=NOW)
    assert [each.about for each in page.snapshots] == ["old", "young"]
    html = render("running.html", FRAME, page=page)
    assert "not removed" in html
    assert "No run is in work" in html


def test_pools_tell_when_they_are_full_and_runs_that_are_not_listed_are_counted():
    pools = (PoolUse(name="p", slots=4, running=4, waiting=9), PoolUse(name="q", slots=-1, running=50, waiting=0))
    waiting = run(is_running=False, disks_done=0)
    page = running_page(work(run(task()), waiting, total=812, pools=pools), now=NOW)
    assert [(pool.slots, pool.is_full) for pool in page.pools] == [("4", True), ("any number", False)]
    text = render("running.html", FRAME, page=page)
    for state, number in (("running", 4), ("scheduled", 9)):
        link = f'href="/task_instances?task_state={state}&amp;pool_name_pattern=p" data-outside>{number}</a>'
        assert link in text, "a number leads to Airflow's list of those tasks"
    assert page.more == 810
    assert page.sentence.startswith("812 runs in work, 1 of them waiting to begin;")
    assert "810 more are not listed" in render("running.html", FRAME, page=page)


def test_hostile_names_are_shown_and_do_nothing():
    limit = RateLimit(conn_id=HOSTILE, location=HOSTILE, limit_rate=HOSTILE, may_change=True)
    each = task(host=HOSTILE, pool=HOSTILE, name=HOSTILE, progress=progress(label=HOSTILE, phase=HOSTILE))
    page = running_page(work(run(each, about=HOSTILE, run_id=HOSTILE), limits=(limit,)), now=NOW)
    html = render("running.html", FRAME, page=page)
    assert "<img" not in html
    assert "\u202e" not in page.runs[0].about + page.runs[0].tasks[0].name
    to_json(page)


def test_only_who_may_stop_or_change_sees_the_buttons():
    limit = RateLimit(conn_id="vmkeep_default", location="/srv", limit_rate="50MiB", may_change=False)
    held = work(run(task(), may_stop=False), limits=(limit,))
    html = render("running.html", FRAME, page=running_page(held, now=NOW))
    assert "Stop…" not in html
    assert "readonly" in html
    allowed = replace(held, runs=(run(task()),), limits=(replace(limit, may_change=True),))
    html = render("running.html", FRAME, page=running_page(allowed, now=NOW))
    assert "/vmkeep/running/stop/vm_backup/nightly__1" in html
    assert "readonly" not in html


def test_progress_of_an_earlier_try_is_not_shown_at_all():
    row = row_of(task(begun_at=ago(2), name="Hard disk 2"))
    assert (row.name, row.percent, row.done, row.total, row.amount) == ("Hard disk 2", None, None, None, "")


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"heartbeat_at": ago(60)}, "at work"),
        ({"heartbeat_at": ago(61)}, "worker is silent"),
        ({"heartbeat_at": None}, "at work"),
        ({"told_at": ago(30)}, "at work"),
        ({"progress": progress(idle_seconds=60.0)}, "at work"),
        ({"progress": progress(idle_seconds=61.0)}, "nothing moves"),
        ({"progress": None}, "has begun"),
        ({"begun_at": None}, "at work"),
        ({"begun_at": ago(4)}, "at work"),
    ],
)
def test_a_sign_of_life_counts_for_as_long_as_it_says(changes, label):
    assert row_of(task(**changes)).label == label


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"told_at": ago(31)}, "its worker lives, but has told nothing for 31 s"),
        ({"progress": progress(idle_seconds=120.0)}, "no byte for 2 min"),
        ({"state": "up_for_reschedule"}, "a limit is used up"),
        ({"state": "queued"}, "pool backup_proxy"),
        ({}, ""),
    ],
)
def test_a_task_that_does_not_move_has_its_reason(changes, told):
    detail = row_of(task(**changes)).detail
    assert detail.startswith(told)
    assert bool(detail) is bool(told)


@pytest.mark.parametrize(
    ("changes", "percent", "amount", "eta", "left"),
    [
        ({}, 25, "copy: 25.0 GiB of 100.0 GiB", 768, "12 min left"),
        ({"rate": 3e9}, 25, "copy: 25.0 GiB of 100.0 GiB", 27, "27 s left"),
        ({"done": 101 << 30}, 100, "copy: 101.0 GiB of 100.0 GiB", 0, "0 s left"),
        ({"total": 0}, None, "copy: 25.0 GiB", None, ""),
    ],
)
def test_the_rest_of_a_disk_is_told_in_whole_numbers(changes, percent, amount, eta, left):
    row = row_of(task(progress=progress(**changes)))
    assert (row.percent, row.amount, row.eta_seconds, row.left) == (percent, amount, eta, left)
    assert (row.done, row.total) == (changes.get("done", 25 << 30), changes.get("total", 100 << 30))
    assert {type(row.rate), type(row.eta_seconds)} <= {int, type(None)}
    assert row_of(task(progress=progress(in_bytes=False, **changes))).total is None


def test_a_pool_without_slots_is_full_and_nothing_at_work_is_said():
    page = running_page(work(pools=(PoolUse(name="off", slots=0, running=0, waiting=3),)), now=NOW)
    assert [(pool.slots, pool.is_full) for pool in page.pools] == [("0", True)]
    assert (page.sentence, page.more) == ("Nothing is in work.", 0)


def test_each_count_of_runs_leads_to_the_runs_behind_it():
    silent = run(task(heartbeat_at=ago(300)), run_id="quiet")
    waiting = run(run_id="waits", is_running=False)
    held = work(run(task()), silent, waiting)
    overview = running_page(held, now=NOW)
    html = render("running.html", FRAME, page=overview)
    assert {each.shown.value: each.number for each in overview.counts} == {
        "all": 3, "waiting": 1, "moving": 1, "silent": 1
    }  # fmt: skip
    for count in overview.counts:
        assert f'href="/vmkeep/running?runs={count.shown.value}"' in html
        page = running_page(held, now=NOW, shown=count.shown)
        assert (len(page.runs), page.counts, page.sentence) == (count.number, overview.counts, overview.sentence)
        assert f'data-from="/vmkeep/running?runs={count.shown.value}"' in render("running.html", FRAME, page=page)
    gone = running_page(work(run(task())), now=NOW, shown=RunsShown.SILENT)
    assert "No such run is in work now" in render("running.html", FRAME, page=gone)
