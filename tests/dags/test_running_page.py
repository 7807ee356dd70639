"""Running work is read from Airflow's database; a run is stopped and a limit is changed as the user who calls."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from lxml import html

from tests.dags.test_web_view import as_role, filled, token_of
from tests.dags.test_web_view import client as client  # a fixture
from vmkeep.clock import now
from vmkeep.model.job import TaskProgress, to_plain
from vmkeep.web import LIMIT, TASKS
from vmkeep_airflow.liveprogress import KEY

with warnings.catch_warnings():  # the libraries below deprecate each other
    warnings.simplefilter("default")
    from airflow.models import Connection, DagModel, DagRun
    from airflow.models.dag import DagTag
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.log import Log
    from airflow.models.pool import Pool
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse
    from fastapi.testclient import TestClient
    from sqlalchemy import Engine, event, insert

    from vmkeep_airflow.web import FASTAPI_APPS

pytestmark = pytest.mark.filterwarnings("default")
__all__ = ["client", "filled", "token_of"]
OWN = {"sec-fetch-site": "same-origin"}
RUN = "nightly__20261126T210000Z__web01__vm-12"
STOP = f"/vmkeep/running/stop/vm_backup/{quote(RUN, safe='')}"


@dataclass
class Airflow:
    """Stands for Airflow's API: it keeps what it is asked to change."""

    changed: list[tuple[str, str, dict[str, Any], str]] = field(default_factory=list)
    """Path, token, body and query of each call that changes something."""
    refusal: int = 0

    def app(self) -> FastAPI:
        outer = FastAPI()

        @outer.patch("/api/v2/{path:path}")
        async def change(path: str, request: Request) -> Any:
            if self.refusal:
                return JSONResponse({"detail": "Airflow says no"}, self.refusal)
            body = await request.json()
            self.changed.append((path, request.headers["authorization"], body, request.url.query))
            return {}

        @outer.get("/api/v2/{path:path}")
        def tell() -> Any:
            return {"note": "web01 (policy nightly)"}

        outer.mount(FASTAPI_APPS[0]["url_prefix"], FASTAPI_APPS[0]["app"])
        return outer


@pytest.fixture
def airflow():
    return Airflow()


@pytest.fixture
def view(client, airflow):
    return TestClient(airflow.app(), follow_redirects=False, raise_server_exceptions=False)


@pytest.fixture
def work():
    """Put a backup into Airflow's database that copies one disk, has copied another, and holds a snapshot."""
    at = now()
    begun = at - timedelta(minutes=5)
    with create_session() as session:
        add_dag(session, "vm_backup")
        run = DagRun(dag_id="vm_backup", run_id=RUN, run_type="manual", run_after=begun, state="running",
                     start_date=begun, conf={"vm": "moref:vm-12"})  # fmt: skip
        other = DagRun(dag_id="elsewhere", run_id=RUN, run_type="manual", run_after=begun, state="running")
        session.add_all([run, other])
        session.flush()
        copying = {"state": "running", "start_date": begun, "last_heartbeat_at": at, "hostname": "proxy1"}
        add_task(session, run, "preflight", -1, state="success")
        add_task(session, run, "snapshot", -1, state="success")
        add_task(session, run, "copy_disk", 0, state="success")
        add_task(session, run, "copy_disk", 1, **copying)
        add_task(session, run, "catalog", -1, state=None)
        told = TaskProgress(label="Hard disk 2", phase="copy", done=1 << 30, total=4 << 30, in_bytes=True,
                            rate=float(1 << 20), idle_seconds=0.5)  # fmt: skip
        session.add(TaskStateStoreModel(dag_run_id=run.id, task_id="copy_disk", map_index=1, key=KEY,
                                        dag_id="vm_backup", run_id=RUN, value=json.dumps(to_plain(told)),
                                        updated_at=at))  # fmt: skip
        leave(session, run, "preflight", {"vm": {"name": "web01"}})
        leave(session, run, "snapshot", {"taken": {"snapshot": "snapshot-7", "taken_at": begun.isoformat()}})
        made = run.id, other.id
    yield
    with create_session() as session:
        for number in made:
            session.delete(session.get(DagRun, number))
        for kind in (TaskStateStoreModel, XComModel):
            session.query(kind).filter_by(run_id=RUN).delete()


def add_dag(session, dag_id):
    if session.get(DagModel, dag_id) is None:
        if session.get(DagBundleModel, "test") is None:
            session.add(DagBundleModel(name="test"))
            session.flush()
        session.add(DagModel(dag_id=dag_id, bundle_name="test", is_stale=False))
        session.flush()
    if session.get(DagTag, {"name": "vmkeep", "dag_id": dag_id}) is None:
        session.add(DagTag(name="vmkeep", dag_id=dag_id))
        session.flush()


def add_task(session, run, task, index, **values):
    from uuid6 import uuid7

    fields = {"id": uuid7(), "dag_id": run.dag_id, "run_id": run.run_id, "task_id": task, "map_index": index,
              "pool": Pool.DEFAULT_POOL_NAME, "pool_slots": 1, "executor_config": {}}  # fmt: skip
    session.execute(insert(TaskInstance).values(**fields, **values))


def leave(session, run, task, value):
    session.add(XComModel(dag_run_id=run.id, task_id=task, map_index=-1, key="return_value", dag_id=run.dag_id,
                          run_id=run.run_id, value=value))  # fmt: skip


@pytest.mark.usefixtures("work")
def test_a_plan_is_told_from_the_restore_that_carries_it_out(view):
    with create_session() as session:
        add_dag(session, "vm_restore")
        runs = [
            DagRun(dag_id="vm_restore", run_id=run_id, run_type="manual", run_after=now(), state="running",
                   start_date=now(), conf={"point": "p", "dry_run": dry_run})
            for run_id, dry_run in (("plan__9", True), ("restore__9", False))
        ]  # fmt: skip
        session.add_all(runs)
        session.flush()
        ids = [run.id for run in runs]
    try:
        as_role(view, "viewer")
        page = view.get("/vmkeep/api/running").json()
        plans = {each["run_id"]: each["only_plans"] for each in page["runs"]}
        assert (plans["plan__9"], plans["restore__9"], plans[RUN]) == (True, False, False)
        assert view.get("/vmkeep/running").text.count("only plans</span>") == 1
    finally:
        with create_session() as session:
            for number in ids:
                session.delete(session.get(DagRun, number))


@pytest.mark.usefixtures("work")
def test_a_backup_in_work_is_shown_with_its_disk_its_snapshot_and_the_pool(view):
    answer = as_role(view, "viewer").get("/vmkeep/api/running")
    assert answer.status_code == 200, answer.text
    page = answer.json()
    (run,) = [each for each in page["runs"] if each["run_id"] == RUN]
    assert (run["dag_id"], run["about"], run["disks_done"], run["may_stop"]) == ("vm_backup", "web01", 1, False)
    (task,) = run["tasks"]
    assert (task["name"], task["percent"], task["label"], task["host"]) == ("Hard disk 2", 25, "at work", "proxy1")
    assert (task["done"], task["total"], task["rate"]) == (1 << 30, 4 << 30, 1 << 20)
    (snapshot,) = page["snapshots"]
    assert (snapshot["about"], snapshot["taken"]["ago"]) == ("web01", "5 min ago")
    pools = {pool["name"]: pool for pool in page["pools"]}
    assert pools["default_pool"]["running"] >= 1
    html = view.get("/vmkeep/running").text
    assert "Hard disk 2" in html
    assert "1.0 GiB of 4.0 GiB" in html


@pytest.mark.parametrize(("removal", "is_shown"), [("failed", True), ("upstream_failed", True), ("success", False)])
def test_the_snapshot_of_an_ended_backup_is_shown_unless_its_removal_was_done(view, removal, is_shown):
    """A run that was cleared while it copied may end without any try to remove the snapshot of its first tries."""
    begun = now() - timedelta(minutes=5)
    with create_session() as session:
        add_dag(session, "vm_backup")
        run = DagRun(dag_id="vm_backup", run_id="cleared", run_type="manual", run_after=begun, state="failed",
                     start_date=begun, conf={"vm": "web01"})  # fmt: skip
        run.end_date = now()
        session.add(run)
        session.flush()
        add_task(session, run, "snapshot", -1, state="upstream_failed")
        add_task(session, run, "remove_snapshot", -1, state=removal)
        leave(session, run, "snapshot", {"taken": {"snapshot": "snapshot-7", "taken_at": begun.isoformat()}})
        number = run.id
    try:
        snapshots = as_role(view, "viewer").get("/vmkeep/api/running").json()["snapshots"]
    finally:
        with create_session() as session:
            session.delete(session.get(DagRun, number))
            session.query(XComModel).filter_by(run_id="cleared").delete()

    assert any(each["run_id"] == "cleared" and each["is_left"] for each in snapshots) is is_shown


@pytest.fixture
def points_checked():
    """Put a check of many points into Airflow's database: two points are at work, and the others wait."""
    with create_session() as session:
        add_dag(session, "verify_points")
        run = DagRun(dag_id="verify_points", run_id="many", run_type="manual", run_after=now(), state="running",
                     start_date=now(), conf={"points": [], "selector": "name:*"})  # fmt: skip
        session.add(run)
        session.flush()
        for index in range(TASKS + 9):
            at_work = index >= TASKS + 7
            add_task(session, run, "verify", index, state="running" if at_work else "scheduled",
                     start_date=now() if at_work else None)  # fmt: skip
        number = run.id
    yield number
    with create_session() as session:
        session.delete(session.get(DagRun, number))


def asked(view) -> tuple[dict[str, Any], int]:
    """Return the page as data, and the number of statements for it."""
    statements: list[str] = []

    def note(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        page = as_role(view, "viewer").get("/vmkeep/api/running").json()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return page, len(statements)


@pytest.mark.usefixtures("work")
def test_a_run_of_many_tasks_lists_those_at_work_first_and_counts_the_others(view, points_checked):
    page, _ = asked(view)
    (run,) = [each for each in page["runs"] if each["run_id"] == "many"]
    assert [task["map_index"] for task in run["tasks"]][:3] == [TASKS + 7, TASKS + 8, 0]
    assert (len(run["tasks"]), run["more_tasks"], run["about"]) == (TASKS, 9, "name:*")
    assert "9 more tasks of this run" in view.get("/vmkeep/running").text


@pytest.mark.usefixtures("work")
def test_the_page_asks_as_often_however_many_runs_are_in_work(view, points_checked):
    _, few = asked(view)
    with create_session() as session:
        more = [DagRun(dag_id="verify_points", run_id=f"more-{number}", run_type="manual", run_after=now(),
                       state="running", start_date=now(), conf={"selector": f"check {number}"})
                for number in range(5)]  # fmt: skip
        session.add_all(more)
    try:
        page, many = asked(view)
        assert {run["about"] for run in page["runs"]} >= {f"check {number}" for number in range(5)}
        assert many == few
    finally:
        with create_session() as session:
            for run in more:
                session.delete(session.merge(run))


@pytest.mark.usefixtures("work")
def test_a_run_is_stopped_by_airflow_as_the_user_who_asks_and_its_note_names_the_user(view, airflow):
    as_role(view, "op")
    assert "its snapshot is removed" in view.get(STOP).text
    assert airflow.changed == []
    answer = view.post(STOP, headers=OWN)
    assert (answer.status_code, answer.headers.get("location")) == (303, "/vmkeep/running"), answer.text
    ((path, token, body, _),) = airflow.changed
    assert path == f"dags/vm_backup/dagRuns/{RUN}"
    assert token == f"Bearer {view.cookies['_token']}"
    note = "web01 (policy nightly)\nstopped by the op through vmkeep"
    assert body == {"state": "failed", "note": note}
    airflow.refusal = 409
    assert "Airflow says no" in view.post(STOP, headers=OWN).text


@pytest.mark.usefixtures("work")
def test_no_run_is_stopped_by_a_viewer_from_another_page_or_if_it_is_none_of_ours(view, airflow):
    as_role(view, "viewer")
    assert view.get(STOP).status_code == 403
    assert view.post(STOP, headers=OWN).status_code == 403
    as_role(view, "admin")
    assert view.post(STOP, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    for path in (STOP.replace("vm_backup", "elsewhere"), STOP + "x"):
        assert view.post(path, headers=OWN).status_code == 404
    assert airflow.changed == []


@pytest.mark.usefixtures("work")
def test_a_program_stops_a_run_by_its_token_and_is_told_what_happens_then(view, airflow):
    stop = STOP.replace("/vmkeep/", "/vmkeep/api/")
    assert view.post(stop).status_code in (401, 403)
    assert view.post(stop, headers={"authorization": f"Bearer {token_of('viewer')}"}).status_code == 403
    assert airflow.changed == []
    answer = view.post(stop, headers={"authorization": f"Bearer {token_of('op')}"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["about"] == "web01"
    assert "its snapshot is removed" in answer.json()["consequence"]
    assert [change[2]["state"] for change in airflow.changed] == ["failed"]


def test_a_program_changes_a_limit_and_is_told_why_it_may_not(view, airflow, kept):
    def change(rate, role):
        headers = {"authorization": f"Bearer {token_of(role)}"}
        return view.post("/vmkeep/api/running/limits/kept", json={"limit_rate": rate}, headers=headers)

    refused = change("fast", "op")
    assert (refused.status_code, "write 50MiB" in refused.json()["detail"]) == (422, True)
    assert change("1MiB", "viewer").status_code == 403
    assert airflow.changed == []
    assert change("1MiB", "op").json() == {"limit_rate": "1MiB"}
    assert json.loads(airflow.changed[-1][2]["extra"]) == kept | {"limit_rate": "1MiB"}


@pytest.fixture
def kept(filled, monkeypatch):
    """Put a connection into Airflow's database; this process, which is no API server, sees it by its environment."""
    extra = {"limit_rate": "50MiB", "catalog": "sqlite:////c.db", "catalog_password": "geheim"}
    with create_session() as session:
        session.add(Connection(conn_id="kept", conn_type="vmkeep", host="/srv/kept", extra=json.dumps(extra)))
    monkeypatch.setenv("AIRFLOW_CONN_KEPT", json.dumps({"conn_type": "vmkeep", "host": "/srv/kept", "extra": extra}))
    yield extra
    with create_session() as session:
        session.query(Connection).filter_by(conn_id="kept").delete()


def test_a_limit_is_changed_in_its_connection_and_nothing_else_is(view, airflow, kept):
    as_role(view, "op")
    page = view.get("/vmkeep/api/running").json()
    limits = {each["conn_id"]: each for each in page["limits"]}
    assert (limits["kept"]["limit_rate"], limits["kept"]["may_change"]) == ("50MiB", True)
    assert "geheim" not in json.dumps(page)
    for text, wanted in (("20:00-06:00=unlimited,default=5MiB", True), ("", False)):
        answer = view.post("/vmkeep/running/limits/kept", data={"limit_rate": text}, headers=OWN)
        assert (answer.status_code, answer.headers.get("location")) == (303, "/vmkeep/running#limits"), answer.text
        path, token, body, query = airflow.changed[-1]
        assert (path, token, query) == ("connections/kept", f"Bearer {view.cookies['_token']}", "update_mask=extra")
        with create_session() as session:
            noted = session.query(Log).filter_by(event=LIMIT).order_by(Log.id.desc()).first()
            assert (noted.owner, json.loads(noted.extra).get("after")) == ("the op", text or None)
        rest = {name: value for name, value in kept.items() if name != "limit_rate"}
        assert json.loads(body["extra"]) == rest | ({"limit_rate": text} if wanted else {})
        assert set(body) == {"connection_id", "conn_type", "extra"}


def test_a_wrong_limit_a_viewer_and_a_connection_of_the_environment_change_nothing(view, airflow, kept, monkeypatch):
    as_role(view, "op")
    wrong = view.post("/vmkeep/running/limits/kept", data={"limit_rate": "fast"}, headers=OWN)
    assert wrong.status_code == 422
    assert "write 50MiB" in wrong.text
    form = html.fromstring(wrong.text).xpath("//form[contains(@action, '/limits/kept')]")[0]
    assert form.xpath(".//input/@value") == ["fast"], "what was typed is still there"
    told = form.xpath(f".//*[@id='{form.xpath('.//input/@aria-describedby')[0]}']")
    assert "write 50MiB" in told[0].text_content(), "the reason stands at the field"
    assert "/vmkeep/running" in wrong.text.partition('data-from="')[2][:20], "and the page goes on refreshing itself"
    unknown = view.post("/vmkeep/running/limits/nosuch", data={"limit_rate": "1MiB"}, headers=OWN)
    assert (unknown.status_code, "has no connection nosuch" in unknown.text) == (404, True), unknown.text
    other = view.post("/vmkeep/running/limits/vmkeep_default", data={"limit_rate": "1MiB"}, headers=OWN)
    assert other.status_code == 409
    assert "not that of Airflow&#39;s database" in other.text
    hidden = {"conn_type": "vmkeep", "host": "/srv/kept", "extra": {"limit_rate": "9MiB"}}
    monkeypatch.setenv("AIRFLOW_CONN_KEPT", json.dumps(hidden))
    hidden_by_another = view.post("/vmkeep/running/limits/kept", data={"limit_rate": "1MiB"}, headers=OWN)
    assert hidden_by_another.status_code == 409
    as_role(view, "viewer")
    assert view.post("/vmkeep/running/limits/kept", data={"limit_rate": "1MiB"}, headers=OWN).status_code == 403
    assert airflow.changed == []
