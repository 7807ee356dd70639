"""The page of the repositories: it forecasts only from facts, and finds the same losses as a prune."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from types import SimpleNamespace

import pytest

from tests.unit.web.fleets import HOSTILE, NOW
from vmkeep.catalog import NotedCheck, NotedDay, NotedLeaving, RepositoryNotes, open_catalog
from vmkeep.flows.capacity import RetentionTerms, load_capacity, next_leaving, note_check
from vmkeep.repository import Marks
from vmkeep.repository.checks import Slice
from vmkeep.repository.notes.markvalues import Pin
from vmkeep.retention import NO_POLICIES, PointFacts, PolicyRule, PolicyRules, parse_rule
from vmkeep.web import Frame, render, repositories_page

GIB = 1 << 30
DAY = timedelta(days=1)
TODAY = NotedDay(
    at=NOW, points=40, protected=4000 * GIB, bytes_read=900 * GIB, bytes_added=300 * GIB, bytes_stored=400 * GIB,
    free=600 * GIB,
)  # fmt: skip


def days_of(number, growth, **changes):
    """Return so many days up to today, over which the repository grew by so many GiB a day."""
    return tuple(
        replace(TODAY, at=NOW - DAY * ago, bytes_stored=(400 - growth * ago) * GIB, **changes)
        for ago in reversed(range(number))
    )


def row_of(*, days=(), checks=(), leaving=None):
    notes = RepositoryNotes(repository="r", location="/srv/repo", days=days, checks=checks, leaving=leaving)
    return repositories_page([notes], problems=(), now=NOW).rows[0]


def fact(row, name):
    return next(each for each in row.facts if each.name == name)


@pytest.mark.parametrize(
    ("days", "text", "tone"),
    [
        (
            days_of(20, 10),
            "about 2026-03-11, if nothing else fills the place; it grew by 10.0 GiB a day in 19 d",
            "calm",
        ),
        (
            days_of(20, 20),
            "about 2026-02-09, if nothing else fills the place; it grew by 20.0 GiB a day in 19 d",
            "calm",
        ),
        (
            days_of(12, 30),
            "about 2026-01-30, if nothing else fills the place; it grew by 30.0 GiB a day in 11 d",
            "bad",
        ),
        (days_of(7, 10), "not known yet: the growth is told from 7 d of looks", "calm"),
        (days_of(20, 0), "not in sight: it did not grow in 19 d", "calm"),
        (days_of(20, -1), "not in sight: it did not grow in 19 d", "calm"),
        (days_of(20, 0.01), "not within ten years; it grew by 10.2 MiB a day in 19 d", "calm"),
        (
            days_of(20, 10, free=None),
            "not known, because the store does not tell its free space; it grew by 10.0 GiB a day in 19 d",
            "calm",
        ),
    ],
)
def test_the_day_at_which_a_repository_is_full_is_told_only_where_facts_tell_it(days, text, tone):
    days = tuple(replace(each, bytes_stored=int(each.bytes_stored)) for each in days)

    told = fact(row_of(days=days), "full")

    assert (told.text, told.tone) == (text, tone)


def checks_of(*given):
    return tuple(NotedCheck(at=NOW - DAY * ago, part=part, parts=parts, findings=0) for ago, part, parts in given)


@pytest.mark.parametrize(
    ("checks", "text", "tone"),
    [
        ((), "no check has read data again", "warn"),
        (checks_of((1, 0, 0)), "no check has read data again", "warn"),
        (checks_of((5, 1, 1)), "100% of the data in the last 30 days; all since 2026-01-05", "good"),
        (checks_of((41, 1, 1)), "0% of the data in the last 30 days; all since 2025-11-30", "warn"),
        (checks_of((2, 1, 4), (1, 2, 4)), "50% of the data in the last 30 days; 2 parts of 4 never", "warn"),
        (checks_of((9, 1, 1), (1, 2, 4)), "100% of the data in the last 30 days; all since 2026-01-01", "good"),
        (checks_of((3, 1, 2), (2, 2, 2), (1, 2, 4)), "25% of the data in the last 30 days; 3 parts of 4 never", "warn"),
    ],
)
def test_data_counts_as_read_again_only_by_checks_that_read_it(checks, text, tone):
    told = fact(row_of(checks=checks), "re-read")

    assert (told.text, told.tone) == (text, tone)


@pytest.mark.parametrize(
    ("changes", "text", "tone"),
    [
        ({}, "no: the repository asks for no locks", "calm"),
        (
            {"locked_for": 30 * DAY},
            "30 days from when the store took a blob are asked for, and the store keeps no locks",
            "bad",
        ),
        ({"locked_for": 30 * DAY, "locked": 0}, "30 days from when the store took a blob; no lock holds now", "bad"),
        (
            {"locked_for": 30 * DAY, "locked": 12, "locked_until": NOW + 9 * DAY},
            "30 days from when the store took a blob; 12 of 40 points locked, the last at least until 2026-01-19",
            "good",
        ),
    ],
)
def test_a_lock_that_is_asked_for_and_not_there_is_no_calm_fact(changes, text, tone):
    told = fact(row_of(days=(replace(TODAY, **changes),)), "immutable")

    assert (told.text, told.tone) == (text, tone)


def test_a_look_that_is_too_old_says_so_and_promises_no_losses():
    leaving = (NotedLeaving(day=NOW - 20 * DAY, points=3, vms=1, bytes_added=5),)

    row = row_of(days=(replace(TODAY, at=NOW - 3 * DAY),), leaving=leaving)

    assert (fact(row, "last look").tone, fact(row, "last look").text) == ("warn", "3 d ago: older than it should be")
    assert (row.leaving, row.leaving_words) == ((), "Not known: the last look is too old.")
    assert row_of().leaving_words == "Not known: no look knew the retention yet."


def points_of(vm, number, *, policy=None, hour=2):
    """Return a point of each of the last nights."""
    return [
        PointFacts(
            ref=f"{vm}/{ago}", vm_key=vm, taken_at=NOW.replace(hour=hour) - DAY * ago, policy=policy
        )
        for ago in range(number)
    ]  # fmt: skip


def leaving_of(points, *, rule="last 3", policies=NO_POLICIES, marks=None, days=3):
    terms = RetentionTerms(rule=parse_rule(rule), zone=UTC, policies=policies)
    added = {point.ref: 10 for point in points}
    return [
        (each.points, each.vms, each.bytes_added)
        for each in next_leaving(points, marks or {}, added, terms, at=NOW, days=days)
    ]


def test_each_point_goes_once_and_each_new_night_lets_one_more_go():
    assert leaving_of(points_of("a", 5)) == [(2, 1, 20), (1, 1, 10), (1, 1, 10), (1, 1, 10)]


def test_a_vm_that_is_backed_up_no_more_keeps_its_last_points():
    old = [replace(each, taken_at=each.taken_at - 60 * DAY) for each in points_of("a", 3)]

    assert leaving_of(old) == [(0, 0, 0)] * 4


def test_a_pin_holds_a_point_until_its_end():
    pin = Pin(reason="audit", by="me", since=NOW, until=NOW + timedelta(hours=30))

    assert leaving_of(points_of("a", 4), marks={"a/3": Marks(pin=pin)}) == [
        (0, 0, 0), (1, 1, 10), (2, 1, 20), (1, 1, 10),
    ]  # fmt: skip


def test_no_point_of_a_policy_with_faults_goes_and_another_policy_has_its_own_rule():
    policies = PolicyRules(
        rules={"broken": PolicyRule(unknown="it has faults"), "long": PolicyRule(rule=parse_rule("last 5"))}
    )
    points = [*points_of("a", 6, policy="broken"), *points_of("b", 6, policy="long"), *points_of("c", 6)]

    assert leaving_of(points, policies=policies, days=1) == [(4, 2, 40), (2, 2, 20)]


def test_the_catalog_keeps_one_row_for_each_day_and_the_newest_losses(tmp_path):
    (tmp_path / "file").write_text("")
    url = f"sqlite:///{tmp_path}/catalog.db"
    full = replace(TODAY, locked_for=30 * DAY, locked=3, locked_until=NOW + DAY)
    going = [
        NotedLeaving(day=NOW.replace(hour=0) + DAY * ahead, points=ahead, vms=1, bytes_added=7) for ahead in (0, 1)
    ]
    with open_catalog(url) as cache:
        cache.overview().note("repo", location="/srv/repo", at=NOW, marks=(), proofs=(), vms=())
        notes = cache.capacity()
        notes.note_day("repo", replace(TODAY, at=NOW - 400 * DAY))
        notes.note_day("repo", replace(full, at=NOW - timedelta(hours=3), points=39))
        notes.note_day("repo", full)
        notes.note_day("repo", replace(full, at=NOW - DAY, free=None))
        for check in checks_of((500, 1, 2), (2, 1, 2), (1, 2, 2)):
            notes.note_check("repo", check)
        notes.note_leaving("repo", going[:1])
        notes.note_leaving("repo", going)

    (found,), problems = load_capacity([url, f"sqlite:///{tmp_path}/file/c.db"], NOW)

    assert found.days == (replace(full, at=NOW - DAY, free=None), full)
    assert found.checks == checks_of((2, 1, 2), (1, 2, 2))
    assert found.leaving == tuple(going)
    assert len(problems) == 1


def test_a_check_is_noted_with_the_share_of_data_that_it_has_read_and_counts_without_a_catalog(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    url, repository = f"sqlite:///{tmp_path}/catalog.db", SimpleNamespace(id="repo")
    with open_catalog(url) as cache:
        cache.overview().note("repo", location="/srv/repo", at=NOW, marks=(), proofs=(), vms=())

    told = []
    for part, all_data in ((None, False), (Slice(number=2, of=30), False), (None, True)):
        note_check(url, repository, part, all_data=all_data, findings=3)
        (found,), _ = load_capacity([url], NOW)
        told.append((found.checks[-1].part, found.checks[-1].parts, found.checks[-1].findings))
    note_check(None, repository, None, all_data=True, findings=0)
    note_check(f"sqlite:///{tmp_path}/file/c.db", repository, None, all_data=True, findings=0)

    assert told == [(0, 0, 3), (2, 30, 3), (1, 1, 3)]
    assert "will not show this check" in caplog.text


def test_the_page_is_drawn_and_a_hostile_place_does_nothing():
    going = (NotedLeaving(day=NOW + DAY, points=3, vms=2, bytes_added=5 * GIB),) * 2
    notes = RepositoryNotes(
        repository="r", location=HOSTILE, days=days_of(20, 10), checks=checks_of((1, 1, 4)), leaving=going
    )
    page = repositories_page([notes], problems=(), now=NOW)
    html = render("repositories.html", Frame(root="/vmkeep", airflow="", user="", may_operate=False), page=page)

    assert html.count("<svg") == 2
    assert "at most 5.0 GiB" in html
    assert "<img src=x" not in html
    assert "\u202e" not in html
    assert page.sentence == "1 repository; 1 has something to look at."
