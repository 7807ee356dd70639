"""The page of who did what names the person, says the thing in words, and lets no hostile name disguise itself."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.web import AuditEntry, AuditKind, AuditQuery, Frame, audit_page, audit_sheet, events_of, kind_of_run, render
from vmkeep.web.audit_words import told

NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>\u202eevil"
FRAME = Frame(root="/vmkeep", airflow="", user="anna", may_operate=True, may_audit=True)
ENTRY = AuditEntry(
    at=NOW - timedelta(minutes=5), person="anna", dag_id="vm_restore", run_id="restore__1", about="web01",
    state="success", details={"on_conflict": "overwrite", "point": "p", "dry_run": False},
)  # fmt: skip


def page_of(*entries, older_until=None, **query):
    return audit_page(entries, AuditQuery(**query), now=NOW, older_until=older_until)


def html_of(page):
    return render("audit.html", FRAME, page=page, kinds=list(AuditKind), spans=[1, 7])


@pytest.mark.parametrize(
    ("event", "details", "sentence"),
    [
        ("update_hitl_detail", {"chosen_options": ["Approve"]}, "said yes to the question of task t"),
        ("update_hitl_detail", {"chosen_options": ["Reject"]}, "said no to the question of task t"),
        ("update_hitl_detail", {"chosen_options": ["base", "apps"]}, "answered the question of task t: base, apps"),
        ("update_hitl_detail", {"chosen_options": "Approve"}, "answered the question of task t: nothing"),
        ("patch_dag_run", {"state": "failed"}, "stopped the run: set it to failed"),
        ("patch_dag_run", {"state": "success"}, "marked the run as success"),
        ("patch_dag_run", {"note": "x"}, "changed the note of the run"),
        ("patch_task_instance", {"new_state": "success"}, "marked task t as success"),
        ("post_clear_task_instances", {}, "cleared t, which then runs again"),
        ("create_backfill", {"from_date": "a", "dag_run_conf": {"keep_last": 1, "time_zone": "UTC", "mapping": "x"}},
         "asked for runs of earlier times (backfill): keep_last 1, time_zone UTC"),
        ("create_backfill", {"dag_run_conf": [1]}, "asked for runs of earlier times (backfill)"),
        ("patch_dag", {"is_paused": True}, "switched the DAG off"),
        ("patch_pool", {"pool_name": "backup_proxy", "slots": 0}, "changed pool backup_proxy: slots 0"),
        ("post_pool", {"name": "site-b", "slots": 4}, "made pool site-b: slots 4"),
        ("delete_pool", {"pool_name": "backup_proxy"}, "deleted pool backup_proxy"),
        ("create_asset_event", {"asset": "vmkeep_restore_points/{app01}"},
         "made an event of asset vmkeep_restore_points/{app01}, by which runs may begin"),
        ("cancel_backfill", {}, "cancelled a backfill: its runs that wait will not begin"),
        ("patch_connection", {"connection_id": "vmkeep_default", "extra": {"retention": "***"}},
         "changed connection vmkeep_default (fields retention)"),
        ("vmkeep_change_limit", {"connection_id": "c", "before": "50MiB"},
         "changed the rate limit of c from 50MiB to no limit"),
        ("vmkeep_fetch_file", {"volume": "v", "path": "/etc/passwd", "form": "tar", "point": "p"},
         "fetched v:/etc/passwd as tar of point p"),
        ("vmkeep_refused", {"method": "POST", "path": "vm_restore/dagRuns"},
         "was refused, because the right to overwrite or to delete is missing: POST vm_restore/dagRuns"),
    ],
)  # fmt: skip
def test_each_event_is_told_in_words(event, details, sentence):
    assert told(event, "vm_restore", "t", details) == sentence


@pytest.mark.parametrize("event", events_of(None))
def test_no_event_needs_a_value_that_airflow_may_not_have_noted(event):
    assert told(event, "vm_restore", "", {})


def test_a_start_tells_the_fields_by_which_it_may_lose_something_and_no_others():
    conf = {"on_conflict": "overwrite", "dry_run": False, "keep_last": 1, "mapping": "x" * 900, "yes": True}
    assert told("run", "vm_restore", "", conf) == "started vm_restore: keep_last 1, on_conflict overwrite, yes"
    assert told("run", "vm_backup", "", {"vm": "web01"}) == "started vm_backup"


@pytest.mark.parametrize("dag_id", ["restore_undo", "restore_accept", "disaster_recovery", "vm_backup", "export_point"])
def test_a_field_that_a_dag_does_not_have_makes_no_run_look_harmless(dag_id):
    assert told("run", dag_id, "", {"dry_run": True}) == f"started {dag_id}"


def test_a_plan_of_the_wizard_is_told_as_planned_and_no_restore():
    plan = replace(ENTRY, details={"on_conflict": "overwrite", "dry_run": True})
    planned, started = page_of(plan, ENTRY).rows
    assert (planned.label, planned.done) == ("restore, only planned", "planned vm_restore: on_conflict overwrite")
    assert (started.label, started.done) == ("restore", "started vm_restore: on_conflict overwrite")
    assert told("start without a run", "vm_restore", "", {"dry_run": True}).startswith(
        "asked for a plan of vm_restore;"
    )


def test_runs_are_of_a_kind_by_their_dag_and_each_event_is_of_one_kind():
    dags = ("backup_window_gold", "restore_undo", "policy_exports_gold", "verify_points")
    assert list(map(kind_of_run, dags)) == [AuditKind.BACKUP, AuditKind.RESTORE, AuditKind.EXPORT, AuditKind.CHECK]
    assert sum(len(events_of(kind)) for kind in AuditKind) == len(events_of(None))


def test_a_hostile_name_stands_on_the_page_spelled_out():
    hostile = replace(ENTRY, person=HOSTILE, about=HOSTILE, run_id=HOSTILE, dag_id=HOSTILE)
    html = html_of(page_of(hostile, replace(hostile, state="")))

    assert "<img" not in html
    assert "\u202e" not in html


def test_a_run_that_airflow_has_no_more_is_named_and_leads_nowhere():
    assert "/dags/vm_restore/runs/restore__1" in html_of(page_of(ENTRY))
    gone = html_of(page_of(replace(ENTRY, event="delete_dag_run", state="")))
    assert "/dags/vm_restore/runs/restore__1" not in gone
    assert "restore__1" in gone


def test_the_next_page_goes_on_where_this_one_ends_and_the_choice_stays():
    end = NOW - timedelta(hours=2)
    page = page_of(ENTRY, older_until=end, person="anna", days=30)
    assert "until=2026-11-27T01%3A00%3A00%2B00%3A00" in page.older
    assert "person=anna&days=30" in page.older
    assert "Older entries" in html_of(page)
    last = page_of(person="anna")
    assert "until=2026-11-20T03%3A00%3A00%2B00%3A00" in last.older
    assert "Nothing of this kind in these days" in html_of(last)
    assert "There are older ones" in html_of(page_of(older_until=end)), "an empty page is not the end"


def test_a_sheet_has_a_line_for_each_entry_no_formula_and_says_that_there_is_more():
    page = page_of(ENTRY, replace(ENTRY, about="=cmd()"), older_until=NOW)
    head, *rows = csv.reader(audit_sheet(page).splitlines())
    assert head[:3] == ["time", "person", "cause"]
    assert [row[5] for row in rows] == ["web01", "'=cmd()", ""]
    assert rows[-1][4].startswith("there are older entries: ask with until=2026-11-27T03:00")
