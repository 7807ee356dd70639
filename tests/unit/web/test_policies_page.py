"""The page of the policies: every rule in words, every VM counted once, every fault at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.web.fleets import HOSTILE, NOW, fill, nightly
from vmkeep.flows.fleet import load_fleet
from vmkeep.policy import read_folder
from vmkeep.web import Frame, PoliciesPage, policies_page, render

RICH = """
name: weekly
description: "{hostile}"
selection: name:db* or name:lab*
exclusions: [name:tmp*]
owner: dba
window: {{start: 22:00, end: 04:00, time_zone: Europe/Berlin}}
retention: {{daily: 14}}
verification: {{file_systems: always, boot: {{turn: 7d}}, malware: changed, proved_within: 10d}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    nightly(tmp_path)
    (tmp_path / "weekly.yaml").write_text(RICH.format(hostile=HOSTILE.replace('"', "").replace("\x07", "")))
    (tmp_path / "broken.yaml").write_text("name: broken\nselection: name:*\nwindow: {start: 25:00}\n")
    return tmp_path


@pytest.fixture
def page(folder: Path) -> PoliciesPage:
    url = f"sqlite:///{folder}/catalog.db"
    fill(url)
    files = read_folder(folder)
    fleet = load_fleet([url], [read.policy for read in files if read.policy], NOW)
    return policies_page(files, fleet, off={"weekly": ["backup_window_weekly", "policy_exports_weekly"]}, now=NOW)


def shown(page: PoliciesPage) -> str:
    return render("policies.html", Frame(root="/vmkeep", airflow="", user="joe", may_operate=False), page=page)


def test_faulty_policies_come_first_each_fault_with_its_line(page):
    assert [row.name for row in page.rows] == ["broken", "nightly", "weekly"]
    assert all(fault.startswith("line ") for fault in page.rows[0].faults)
    assert page.rows[0].faults
    assert "line 3, column" in page.rows[0].faults[0]
    assert "1 with faults, by which nothing is backed up" in page.sentence


def test_every_vm_of_a_policy_is_counted_by_its_state_and_those_without_one_apart(page):
    by_name = {row.name: row for row in page.rows}

    counts = {each.state.value: each.vms for each in by_name["nightly"].states}
    assert counts == {"never": 1, "late": 2, "damaged": 1, "in-time": 1}
    assert by_name["weekly"].vms == 0
    assert page.bare == 3


def test_the_rules_of_a_policy_are_told_in_words(page):
    rules = {rule.name: rule.text for rule in page.rows[2].rules}

    assert rules["VMs"] == "name:db* or name:lab*"
    assert rules["but not"] == "name:tmp*"
    assert "Europe/Berlin" in rules["window"]
    assert rules["kept"] == "daily 14"
    assert (
        rules["checked"] == "file systems after each backup, boot every 7 d, malware in changed files after each backup"
    )
    assert rules["proof"] == "an alarm from 10 d without a proof by boot or better"
    assert page.rows[2].next_opening is not None


def test_the_page_can_be_heard_and_a_hostile_description_does_nothing(page):
    html = shown(page)

    assert "<img src=x" not in html
    assert "\u202e" not in html
    assert "?policy=nightly&amp;state=late" in html
    assert html.count("<h1>") == 1


def test_a_site_without_policies_is_told_what_one_is(tmp_path):
    page = policies_page((), load_fleet((), (), NOW), off={}, now=NOW)

    assert "There is no policy" in shown(page)


def test_a_policy_whose_dag_is_switched_off_says_so_before_the_night_and_names_each_dag(page):
    by_name = {row.name: row for row in page.rows}
    assert [name for name, row in by_name.items() if row.is_off] == ["weekly"]
    assert ", 1 switched off" in page.sentence
    text = shown(page)
    assert text.count("No window of it opens until its DAG is switched on.") == 1
    for dag in ("backup_window_weekly", "policy_exports_weekly"):
        assert f'href="/dags/{dag}" data-outside>{dag}</a>' in text
