"""The page of the recoveries: a plan that nothing has shown to work is never shown as good."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.web.fleets import HOSTILE, NOW
from vmkeep.catalog import NotedRecovery, open_catalog
from vmkeep.flows.recovery_overview import load_recoveries
from vmkeep.recovery import parse_plan
from vmkeep.web import Frame, recoveries_page, render

PLAN = """
name: berlin
description: the whole site
groups:
  - {name: base, selection: 'name:dns*'}
  - {name: apps, selection: 'name:app*'}
drill: {network: isolated, proved_within: 30d}
"""
DRILL = NotedRecovery(
    run="r-1", plan="berlin", drill=True, vcenter="vc02", began=NOW - timedelta(days=3),
    ended=NOW - timedelta(days=3) + timedelta(hours=1), healthy=8, off=1, failed=0, rpo=7200, rto=2400,
)  # fmt: skip


def page_of(*runs, text=PLAN):
    return recoveries_page([parse_plan(text, path="plans/berlin.yaml")], runs, problems=(), now=NOW)


def test_a_plan_tells_its_groups_in_order_and_what_its_last_drill_reached():
    (plan,) = page_of(DRILL).plans

    assert plan.groups == ("base: name:dns*", "apps: name:app*")
    assert plan.warning == ""
    assert (plan.runs[0].result, plan.runs[0].rto, plan.runs[0].rpo, plan.runs[0].tone) == (
        "8 of 9 VMs healthy, 1 off as planned", "40 min", "2 h", "good",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        (None, "No drill or recovery of this plan came to its end yet."),
        ({"ended": None}, "No drill or recovery of this plan came to its end yet."),
        ({"began": NOW + timedelta(hours=1)}, "No drill or recovery of this plan came to its end yet."),
        ({"failed": 2, "rto": None}, "The last drill did not bring back 2 of 11 VMs."),
        ({"healthy": 0}, "The last drill started no VM, so that none is proved."),
        ({"began": NOW - timedelta(days=31)}, "The last drill is older than the 30 d that the plan allows."),
    ],
)
def test_a_plan_that_nothing_has_shown_to_work_says_why(changes, warning):
    page = page_of(*([] if changes is None else [replace(DRILL, **changes)]))

    assert page.plans[0].warning == warning
    assert page.sentence == "1 plan: 1 not shown to work."


def test_a_run_that_goes_on_takes_nothing_from_the_drill_before_it_and_is_not_called_good():
    (plan,) = page_of(replace(DRILL, run="r-2", began=NOW, ended=None), DRILL).plans

    assert plan.warning == ""
    assert [run.tone for run in plan.runs] == ["warn", "good"]


def test_runs_of_a_plan_that_is_not_here_are_shown_too():
    page = page_of(replace(DRILL, plan="old"))

    assert [plan.name for plan in page.others] == ["old"]
    assert page.plans[0].warning


def test_a_faulty_plan_tells_its_faults_and_a_hostile_name_does_nothing():
    page = page_of(replace(DRILL, plan=HOSTILE, vcenter=HOSTILE), text="name: berlin\ngroups: []\n")
    html = render("recoveries.html", Frame(root="/vmkeep", airflow="", user="", may_operate=False), page=page)

    assert page.plans[0].faults[0].startswith("line ")
    assert "has faults" in html
    assert "<img src=x" not in html
    assert "\u202e" not in html


def test_the_catalog_keeps_the_newest_runs_of_each_plan_and_forgets_those_that_are_gone(tmp_path):
    (tmp_path / "file").write_text("")
    url = f"sqlite:///{tmp_path}/catalog.db"
    runs = [replace(DRILL, run=f"r-{at}", began=NOW - timedelta(days=at)) for at in range(3)]
    with open_catalog(url) as cache:
        cache.recoveries().note("repo", [*runs, replace(DRILL, run="x", plan="other")])
        cache.recoveries().note("second", [replace(DRILL, run="s", plan="other", rto=None, rpo=None, ended=None)])

    found, problems = load_recoveries([url, f"sqlite:///{tmp_path}/file/c.db"])

    assert [run.run for run in found] == ["r-0", "r-1", "r-2", "x", "s"]
    assert runs[1] in found
    assert replace(DRILL, run="s", plan="other", rto=None, rpo=None, ended=None) in found
    assert len(problems) == 1
    with open_catalog(url) as cache:
        assert len(cache.recoveries().newest(1)) == 2
        cache.recoveries().note("repo", [])
        assert [run.run for run in cache.recoveries().newest(9)] == ["s"]


@pytest.mark.parametrize("is_off", [True, False])
def test_a_plan_whose_drills_by_schedule_are_switched_off_says_so(is_off):
    files = [parse_plan(PLAN, path="plans/berlin.yaml")]
    page = recoveries_page(files, [], off={"berlin"} if is_off else (), problems=(), now=NOW)
    text = render("recoveries.html", Frame(root="/vmkeep", airflow="", user="joe", may_operate=False), page=page)
    assert ("Nothing rehearses it by schedule until its DAG is switched on" in text) is is_off


def test_a_schedule_of_drills_tells_when_they_begin_and_no_end_that_it_does_not_have():
    schedule = "schedule: {start: '06:00', time_zone: UTC, days: [sat]}"
    (plan,) = page_of(text=PLAN.replace("{network: isolated", f"{{network: isolated, {schedule}")).plans
    assert plan.drills.startswith("by schedule: 06:00 UTC, sat, ")
