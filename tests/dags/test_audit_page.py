"""The audit page reads Airflow's runs and its log, and is only for people who may read that log and restore."""

from __future__ import annotations

import json
import warnings
from datetime import timedelta

import pytest

from tests.dags.test_running_page import add_dag
from tests.dags.test_web_view import as_role, filled
from tests.dags.test_web_view import client as client  # a fixture
from vmkeep.clock import now
from vmkeep.web import AuditQuery, events_of
from vmkeep_airflow.web import auditlog

with warnings.catch_warnings():  # the libraries below deprecate each other
    warnings.simplefilter("default")
    from airflow.models import DagRun
    from airflow.models.asset import AssetModel
    from airflow.models.backfill import Backfill
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType

pytestmark = pytest.mark.filterwarnings("default")
__all__ = ["filled"]
RESTORE = "restore__audit"
AT = now().replace(microsecond=0)


def ago(**since):
    return AT - timedelta(**since)


@pytest.fixture(scope="module")
def done():
    """Put things into Airflow's database that people have done, and others that are none of vmkeep's."""
    with create_session() as session:
        for dag_id in ("vm_restore", "vm_backup", "backup_window_gold"):
            add_dag(session, dag_id)
        runs = [
            run("vm_restore", RESTORE, ago(hours=1), "anna", note="p to web01", state="success",
                conf={"on_conflict": "overwrite", "point": "p"}),
            run("backup_window_gold", "by-hand", ago(hours=2), "ben"),
            run("vm_backup", "of-the-window", ago(hours=2), "ben", by="OPERATOR", conf={"vm": "db%1"}),
            run("vm_backup", "nightly", ago(hours=3), None, by="TIMETABLE"),
            run("elsewhere", "others", ago(hours=1), "anna"),
            run("vm_backup", "long-ago", ago(days=9), "anna"),
        ]  # fmt: skip
        session.add_all(runs)
        rows = [
            row("update_hitl_detail", "carla", minutes=30, task_id="approve", chosen_options=["Approve"]),
            row("patch_dag_run", "Carla", minutes=20, state="failed"),
            row("patch_connection", "dora", minutes=15, dag_id=None, run_id=None, connection_id="vmkeep_default",
                conn_type="vmkeep", extra='{"retention": "***"}'),
            row("patch_connection", "dora", minutes=15, dag_id=None, run_id=None, connection_id="shop",
                conn_type="postgres"),
            row("trigger_dag_run", "anna", minutes=60),
            row("trigger_dag_run", "eve", minutes=10, run_after="1999-01-01T00:00:00Z"),
            row("trigger_dag_run", "eve", minutes=7, run_after=946684800),
            row("trigger_dag_run", "anna", minutes=6, run_after=None),
            row("trigger_dag_run", "ben", minutes=120, dag_id="backup_window_gold", run_id=None),
            row("trigger_dag_run", "eve", minutes=90, run_id=None, run_after=None,
                conf={"point": "latest:web01", "new_name": "mine", "disks": 5, "on_conflict": "keep"}),
            row("delete_dag_run", "eve", minutes=89, run_id="made by eve"),
            row("patch_dag_run", "anna", minutes=5, dag_id="elsewhere", run_id="others", state="failed"),
            row("running", "vmkeep", minutes=5),
        ]  # fmt: skip
        session.add_all(rows)
        session.flush()
        made = [each.id for each in runs], [each.id for each in rows]
    yield
    with create_session() as session:
        for kind, ids in zip((DagRun, Log), made, strict=True):
            for number in ids:
                session.delete(session.get(kind, number))


def run(dag_id, run_id, at, who, *, by="REST_API", note=None, state="success", conf=None):
    made = DagRun(dag_id=dag_id, run_id=run_id, run_type="manual", run_after=at, state=state, conf=conf or {},
                  triggering_user_name=who, triggered_by=DagRunTriggeredByType[by])  # fmt: skip
    if note:
        made.note = note
    return made


def row(event, who, *, minutes, dag_id="vm_restore", run_id=RESTORE, task_id=None, **extra):
    made = Log(event=event, owner=who, owner_display_name=who, extra=json.dumps(extra), task_id=task_id)
    made.dag_id, made.run_id, made.dttm = dag_id, run_id, ago(minutes=minutes)
    return made


def told(client, **query):
    answer = as_role(client, "op").get("/vmkeep/api/audit", params=query)
    assert answer.status_code == 200, answer.text
    ours = ("anna", "ben", "carla", "dora", "eve", "")
    return [(each["person"], each["done"]) for each in answer.json()["rows"] if each["person"].lower() in ours]


@pytest.mark.usefixtures("done")
def test_people_and_what_they_did_stand_on_the_page_the_newest_first_and_nothing_of_others(client):
    assert told(client) == [
        ("eve", "asked for a run as of another time than now"),
        ("eve", "asked for a run as of another time than now"),
        ("dora", "changed connection vmkeep_default (fields retention)"),
        ("Carla", "stopped the run: set it to failed"),
        ("carla", "said yes to the question of task approve"),
        ("anna", "started vm_restore: on_conflict overwrite"),
        ("eve", "deleted the run from Airflow"),
        (
            "eve",
            (
                "asked for a run of vm_restore: on_conflict keep; "
                "Airflow has none: it was refused, or its record was deleted"
            ),
        ),
        ("ben", "started backup_window_gold"),
    ]
    page = client.get("/vmkeep/audit").text
    assert "p to web01" in page
    assert f"/dags/vm_restore/runs/{RESTORE}" in page
    sheet = client.get("/vmkeep/audit.csv")
    assert sheet.headers["content-type"] == "text/csv; charset=utf-8"
    assert "carla,,answer,said yes to the question of task approve,p to web01,vm_restore" in sheet.text


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize(
    ("query", "people"),
    [
        ({"person": "CARLA"}, ["Carla", "carla"]),
        ({"about": "WEB01"}, ["eve", "eve", "Carla", "carla", "anna", "eve"]),
        ({"about": "%", "by_itself": True}, ["ben"]),
        ({"kind": "restore"}, ["anna", "eve"]),
        ({"kind": "answer"}, ["carla"]),
        ({"kind": "backup", "by_itself": True}, ["ben", "ben", ""]),
        ({"kind": "backup", "days": 30}, ["ben", "anna"]),
        ({"until": ago(minutes=45).isoformat()}, ["anna", "eve", "eve", "ben"]),
    ],
)
def test_a_person_a_vm_a_kind_and_a_time_are_chosen(client, query, people):
    assert [person for person, _ in told(client, **query)] == people


@pytest.mark.parametrize("about", ["Gehälter", "müller", 'a"b', "Büro-01", "xlsx"])
def test_a_name_is_found_whatever_its_letters(client, about):
    path = '/Users/müller/a"b/Gehälter.xlsx'
    with create_session() as session:
        add_dag(session, "vm_backup")
        made = [
            row("vmkeep_fetch_file", "eve", minutes=60 * 24 * 40, run_id=None, path=f"{path} Büro-01", point="p"),
            run("vm_backup", "umlaut", ago(days=40), "eve", conf={"vm": f"Büro-01 {path}"}),
        ]
        session.add_all(made)
        session.flush()
        ids = [each.id for each in made]
    try:
        asked = {"about": about, "days": 30, "until": ago(days=39).isoformat()}
        assert len(told(client, **asked)) == 2
        assert told(client, **asked | {"about": "Gehalt"}) == []
    finally:
        with create_session() as session:
            for kind, number in zip((Log, DagRun), ids, strict=True):
                session.delete(session.get(kind, number))


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_pages_of_any_length_lose_no_entry_and_repeat_none(client, most):
    as_role(client, "op")
    user = type("User", (), {"get_id": lambda _: "x", "get_name": lambda _: "x", "get_role": lambda _: "op"})()
    user.role, user.teams = "OP", []

    def pages(most):
        query = AuditQuery(by_itself=True)
        while True:
            found = auditlog.find_entries(user, query, now=now(), most=most)
            assert len(found.entries) <= most
            yield from found.entries
            if found.older_until is None:
                return
            query = AuditQuery(by_itself=True, until=found.older_until, days=(found.older_until - ago(days=7)).days + 1)

    def keys(entries):
        return sorted((each.at, each.event, each.person) for each in entries if each.at > ago(hours=2, minutes=-1))

    assert keys(pages(most)) == keys(pages(1000))


@pytest.mark.parametrize(("role", "code"), [("viewer", 403), ("user", 200), ("op", 200), ("admin", 200)])
def test_only_who_may_restore_sees_who_did_what(client, role, code):
    assert as_role(client, role).get("/vmkeep/audit").status_code == code
    assert ("Who did what" in client.get("/vmkeep/fleet").text) is (code == 200)
    assert client.get("/vmkeep/audit.csv").status_code == code
    assert client.get("/vmkeep/api/audit").status_code == code


def test_who_may_not_read_airflows_own_log_does_not_read_it_here(client, monkeypatch):
    from airflow.api_fastapi.app import get_auth_manager

    allowed = type(get_auth_manager()).is_authorized_dag

    def without_log(self, **asked):
        return getattr(asked.get("access_entity"), "name", "") != "AUDIT_LOG" and allowed(self, **asked)

    monkeypatch.setattr(type(get_auth_manager()), "is_authorized_dag", without_log)
    assert as_role(client, "admin").get("/vmkeep/audit").status_code == 403


LEFT_OUT = {
    *("favorite_dag", "unfavorite_dag", "get_task_instances_batch", "reparse_dag_file"),  # change nothing that lasts
    *("enqueue_connection_test", "create_default_connections"),  # none of them is of ours
    *("post_variable", "patch_variable", "delete_variable", "bulk_variables"),  # we have none
}
"""The events that Airflow notes and the page does not show."""


def test_each_thing_that_airflow_notes_is_shown_or_left_out_on_purpose():
    # here, because it takes seconds, and each process of the tests imports this module
    from airflow.api_fastapi.core_api.routes.public import public_router

    noted = {
        route.endpoint.__name__
        for route in public_router.routes
        for one in route.dependant.dependencies
        if getattr(one.call, "__qualname__", "").startswith("action_logging.")
    }
    assert noted - set(events_of(None)) - LEFT_OUT == set()
    assert noted > LEFT_OUT
    assert {"patch_pool", "create_asset_event", "cancel_backfill"} <= noted


@pytest.fixture
def numbered():
    """Put an asset and a backfill of ours into the database, and others; return their numbers."""
    with create_session() as session:
        add_dag(session, "vm_backup")
        made = [
            AssetModel(name=f"{name}_points/audit", uri=f"x-{name}://audit", group="g") for name in ("vmkeep", "shop")
        ]
        made += [
            Backfill(dag_id=dag_id, from_date=AT, to_date=AT, max_active_runs=1)
            for dag_id in ("vm_backup", "elsewhere")
        ]
        session.add_all(made)
        session.flush()
        ids = [each.id for each in made]
    yield ids
    with create_session() as session:
        for kind, number in zip((AssetModel, AssetModel, Backfill, Backfill), ids, strict=True):
            session.delete(session.get(kind, number))


def test_pools_events_and_backfills_of_ours_are_told_and_those_of_others_are_not(client, numbered):
    asset, foreign_asset, backfill, foreign_backfill = numbered
    mine = [
        row("patch_pool", "eve", minutes=9, pool_name="backup_proxy", slots=0),
        row("bulk_pools", "eve", minutes=8, actions=[{"action": "delete", "entities": ["default_pool"]}]),
        row("cli_pool_set", "eve", minutes=7, full_command="['airflow', 'pools', 'set', 'backup_proxy', '0', 'x']"),
        row("create_asset_event", "eve", minutes=6, asset_id=asset),
        row("delete_asset_queued_events", "eve", minutes=5, asset_id=str(asset)),
        row("pause_backfill", "eve", minutes=4, backfill_id=str(backfill)),
        row("cancel_backfill", "eve", minutes=3, backfill_id=str(backfill)),
    ]
    others = [
        row("patch_pool", "eve", minutes=9, pool_name="shop", slots=0),
        row("create_asset_event", "eve", minutes=6, asset_id=foreign_asset),
        row("create_asset_event", "eve", minutes=6, asset_id="nothing"),
        row("pause_backfill", "eve", minutes=4, backfill_id=str(foreign_backfill)),
    ]
    with create_session() as session:
        for each in (*mine, *others):
            each.dag_id = each.run_id = None
            each.dttm -= timedelta(days=50)
            session.add(each)
        session.flush()
        ids = [each.id for each in (*mine, *others)]
    try:
        asked = {"days": 30, "until": ago(days=49).isoformat()}
        answer = as_role(client, "op").get("/vmkeep/api/audit", params=asked).json()
        assert [(each["done"], each["dag_id"]) for each in answer["rows"]] == [
            ("cancelled a backfill: its runs that wait will not begin", "vm_backup"),
            ("paused a backfill, so that no further run of it begins", "vm_backup"),
            ("deleted events of asset vmkeep_points/audit that waited, so that no run begins by them", ""),
            ("made an event of asset vmkeep_points/audit, by which runs may begin", ""),
            ("made or changed a pool by the command airflow", ""),
            ("made, changed or deleted several pools", ""),
            ("changed pool backup_proxy: slots 0", ""),
        ]
    finally:
        with create_session() as session:
            for number in ids:
                session.delete(session.get(Log, number))


def test_whoever_deletes_a_run_hides_no_start_of_it_beside_runs_of_others_and_nobody_else_is_named_for_it(client):
    begin = ago(days=40)

    def call(who, seconds, run_id=None, **conf):
        made = row("trigger_dag_run", who, minutes=0, dag_id="vm_backup", run_id=run_id, run_after=None, conf=conf)
        made.dttm = begin + timedelta(seconds=seconds)
        return made

    def left(run_id, seconds, who):
        return run("vm_backup", run_id, begin + timedelta(seconds=seconds), who)

    made = [
        call("anna", 0, vm="annas"), left("annas", 0.1, "anna"),
        call("eve", 30, vm="eves"),
        call("eve", 40, vm="eves-other"), left("eves-other", 40.1, "eve"),
        call("ben", 600, run_id="bens", vm="bens"), left("bens", 600.1, "ben"),
        call("ben", 610, vm="bens-unnamed"),
        call("eve", 620, run_id="eves-named", vm="eves-second"),
        call("carla", 1200, vm="carlas"), left("carlas", 1200.1, "carla"),
    ]  # fmt: skip
    with create_session() as session:
        add_dag(session, "vm_backup")
        session.add_all(made)
        session.flush()
        ids = [(type(each), each.id) for each in made]
    try:
        asked = {"days": 30, "until": ago(days=39).isoformat()}
        rows = as_role(client, "op").get("/vmkeep/api/audit", params=asked).json()["rows"]
        gone = [(each["person"], each["about"]) for each in rows if "Airflow has none" in each["done"]]
        assert gone == [("eve", "eves-second"), ("ben", "bens-unnamed"), ("eve", "eves")]
        for person, number in (("eve", 2), ("anna", 0)):
            rows = as_role(client, "op").get("/vmkeep/api/audit", params={**asked, "person": person}).json()["rows"]
            assert sum("Airflow has none" in each["done"] for each in rows) == number, person
    finally:
        with create_session() as session:
            for kind, number in ids:
                session.delete(session.get(kind, number))
