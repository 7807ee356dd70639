"""Nobody overwrites by Airflow's own API and forms who may not by the restore wizard."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from tests.dags.test_web_view import token_of
from vmkeep.web import REFUSED
from vmkeep_airflow.web import ROOT_MIDDLEWARES
from vmkeep_airflow.web.guard import LARGEST, OverwriteGuard
from vmkeep_airflow.web.overwriting import GUARDED, Call, call_of, rights_needed

with warnings.catch_warnings():  # the libraries below deprecate each other
    warnings.simplefilter("default")
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from fastapi import FastAPI, Request
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.filterwarnings("default")

OVER = {"point": "p", "on_conflict": "overwrite"}
ASKS = {"point": "p", "on_conflict": "prompt"}
NEW = {"point": "p", "new_name": "copy01"}
KEEPS = {"keep_last": 1}
RUNS = {
    "keeps": KEEPS,
    "night": {"keep_last": None},
    "over": OVER,
    "list": OVER,
    "asks": ASKS,
    "new": NEW,
    "plan": {**OVER, "dry_run": True},
}
RUN = "vm_restore/dagRuns"
UPKEEP = "repository_maintenance/dagRuns"
TASK = "taskInstances/approve"


@pytest.fixture
def passed() -> list[tuple[str, Any]]:
    """Return the calls that Airflow got: method with path, and body."""
    return []


@pytest.fixture
def client(passed) -> TestClient:
    """Return a client at an app that stands for Airflow's API behind the guard."""
    create_auth_manager()
    app = FastAPI()

    @app.get("/api/v2/dags/{dag_id}/dagRuns/{run_id}")
    def run(run_id: str) -> Any:
        return {"conf": RUNS[run_id]}

    @app.api_route("/{path:path}", methods=["POST", "PATCH", "DELETE"])
    async def anything(path: str, request: Request) -> Any:
        passed.append((f"{request.method} {path}", await request.body()))
        return {}

    for each in ROOT_MIDDLEWARES:
        app.add_middleware(each["middleware"])
    return TestClient(app, raise_server_exceptions=False)


def test_the_prefix_without_a_slash_leads_to_the_first_page(client):
    for method in ("GET", "HEAD"):
        answer = client.request(method, "/vmkeep?x=1", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, "/vmkeep/fleet")
    for other in ("/vmkeepers", "/vmkeep/", "/api/v2/vmkeep"):
        assert client.get(other, follow_redirects=False).status_code in (404, 405), "no other path is taken"


def called(client: TestClient, role: str, method: str, path: str, body: Any = None) -> int:
    headers = {"authorization": f"Bearer {token_of(role)}"}
    return client.request(method, f"/api/v2/dags/{path}", json=body, headers=headers).status_code


def refusals() -> list[tuple[str, str, str]]:
    """Return the refusals that stand in Airflow's log: user, DAG, and call."""
    with create_session() as session:
        rows = session.query(Log).filter_by(event=REFUSED).order_by(Log.id).all()
        told = [(row.owner, row.dag_id, json.loads(row.extra)) for row in rows]
    return [(owner, dag_id, f"{extra['method']} {extra['path']}") for owner, dag_id, extra in told]


LOSING = [
    ("POST", RUN, {"conf": OVER}),
    ("POST", RUN, {"conf": {**OVER, "dry_run": False}}),
    ("POST", RUN, {"conf": [OVER]}),
    ("POST", "restore_undo/dagRuns", {"conf": {"vm": "a", "yes": True}}),
    ("POST", "restore_accept/dagRuns", {"conf": {"vm": "a", "yes": True}}),
    ("POST", f"{RUN}/over/clear", {"dry_run": False}),
    ("PATCH", f"{RUN}/list", {"state": "queued"}),
    ("POST", f"{RUN}/asks/clear", {"dry_run": "no"}),
    ("POST", "vm_restore/clearTaskInstances", {"dry_run": False, "dag_run_id": "over"}),
    ("POST", "vm_restore/clearTaskInstances", {"dry_run": False}),
    ("POST", "vm_restore/clearTaskInstances", {"dry_run": False, "dag_run_id": "new", "include_past": True}),
    ("POST", "vm_restore/clearDagRuns", {"dry_run": False, "dag_runs": [{"dag_run_id": "over"}]}),
    ("POST", "~/clearDagRuns", {"dry_run": False, "dag_runs": [{"dag_id": "vm_restore", "dag_run_id": "over"}]}),
    ("POST", "~/clearDagRuns", {"dag_runs": [{"dag_id": "vm_restore", "dag_run_id": "~"}]}),
    ("PATCH", f"{RUN}/asks/{TASK}/-1/hitlDetails", {"chosen_options": ["Approve"]}),
    ("PATCH", f"{RUN}/over", {"state": "queued"}),
    ("POST", f"{RUN}/new/taskInstances/plan/xcomEntries", {"key": "return_value", "value": {}}),
    ("PATCH", f"{RUN}/new/taskInstances/plan/xcomEntries/return_value", {"value": {}}),
    ("DELETE", f"{RUN}/over", None),
    ("POST", "vm_restore/something-new", {}),
    ("PATCH", f"{RUN}/new/taskInstances", {"actions": [{"entities": [{"dag_run_id": "over", "task_id": "approve"}]}]}),
    ("PATCH", "vm_backup/dagRuns/x/taskInstances",
     {"actions": [{"action": "delete", "entities": [{"dag_id": "vm_restore", "dag_run_id": "over"}]}]}),
    ("PATCH", "vm_backup/dagRuns", {"actions": [{"entities": [{"dag_id": "vm_restore", "dag_run_id": "over"}]}]}),
    ("POST", UPKEEP, {"conf": KEEPS}),
    ("POST", UPKEEP, {"conf": {"time_zone": "Pacific/Kiritimati"}}),
    ("POST", f"{UPKEEP}/keeps/clear", {"dry_run": False}),
    ("PATCH", f"{UPKEEP}/night/{TASK}/-1/hitlDetails", {"chosen_options": ["Approve"]}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), LOSING)
def test_a_call_that_may_lose_something_needs_the_right_to_overwrite(client, passed, method, path, body):
    assert called(client, "user", method, path, body) == 403
    assert passed == []
    (user, dag_id, shown) = refusals()[-1]
    is_of_others = path.startswith("vm_backup")  # only its body names the guarded DAG
    assert (user, dag_id) == ("the user", "~" if is_of_others else path.split("/")[0])
    assert shown == f"{method} {path.replace('vm_backup', '~') if is_of_others else path}"
    assert called(client, "op", method, path, body) == 200
    assert [call for call, _ in passed] == [f"{method} api/v2/dags/{path}"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", RUN, {"conf": NEW}),
        ("POST", RUN, {"conf": ASKS}),
        ("POST", RUN, {"conf": {**OVER, "dry_run": True}}),
        ("POST", "restore_undo/dagRuns", {"conf": {"vm": "a"}}),
        ("POST", f"{RUN}/new/clear", {"dry_run": False}),
        ("PATCH", "vm_backup/dagRuns/x/taskInstances", {"actions": [{"entities": [{"task_id": "verify"}]}]}),
        ("POST", f"{RUN}/plan/clear", {"dry_run": False}),
        ("POST", f"{RUN}/over/clear", {}),
        ("POST", "vm_restore/clearTaskInstances", {"dry_run": False, "dag_run_id": "new"}),
        ("POST", "~/clearDagRuns", {"dag_runs": [{"dag_id": "vm_backup", "dag_run_id": "a"}]}),
        ("POST", "~/dagRuns/list", {"dag_ids": ["vm_restore"]}),
        ("PATCH", f"{RUN}/over", {"state": "failed"}),
        ("PATCH", f"{RUN}/over/{TASK}", {"new_state": "failed"}),
        ("PATCH", "vm_restore", {"is_paused": True}),
        ("POST", UPKEEP, {}),
        ("POST", UPKEEP, {"conf": {"keep_last": None, "grace_hours": 48}}),
        ("POST", UPKEEP, {"conf": {**KEEPS, "dry_run": True}}),
        ("POST", UPKEEP, {"conf": {"time_zone": ""}}),
        ("POST", f"{UPKEEP}/night/clear", {"dry_run": False}),
        ("POST", "vm_backup/dagRuns", {"conf": {"vm": "a", "on_conflict": "overwrite"}}),
    ],
)  # fmt: skip
def test_a_call_that_loses_nothing_passes_with_its_body(client, passed, method, path, body):
    assert called(client, "user", method, path, body) == 200
    ((_, got),) = passed
    assert got == TestClient(FastAPI()).build_request(method, "/", json=body).content


FAR = {**OVER, "repository": "vmkeep_far"}


@pytest.mark.parametrize(
    ("path", "runs", "needed"),
    [
        ("vm_restore", [{"dag_run_id": "far"}], {"vmkeep_far"}),
        ("vm_restore", [{"dag_run_id": "far"}, {"dag_run_id": "over"}], {"vmkeep_far", "vmkeep_default"}),
        ("vm_restore", [{"dag_run_id": "far"}, {"dag_run_id": "new"}], {"vmkeep_far"}),
        ("vm_restore", [{"dag_run_id": "new"}], set()),
        ("vm_restore", [{"dag_run_id": "far"}, {"dag_run_id": 7}], {None}),
        ("vm_restore", [{"dag_run_id": "far"}] * 3, {"vmkeep_far"}),
        ("vm_restore", [{"dag_run_id": f"new{number}"} for number in range(101)], {None}),
        ("vm_restore", "~", {None}),
        ("~", [{"dag_id": "vm_restore", "dag_run_id": "far"}, {"dag_id": "a", "dag_run_id": "x"}], {"vmkeep_far"}),
        ("~", [{"dag_id": "vm_restore", "dag_run_id": "far"}, {"dag_run_id": "x"}], {None}),
    ],
)  # fmt: skip
def test_runs_that_are_cleared_in_one_call_need_the_right_to_the_repository_of_each(path, runs, needed):
    call = Call(method="POST", parts=(path, "clearDagRuns"), body={"dry_run": False, "dag_runs": runs})
    assert rights_needed(call, lambda _dag, run: {**RUNS, "far": FAR}[run]) == needed


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "vm_restore/clearTaskInstances", {"dry_run": False, "dag_run_id": "far", "include_future": True}),
        ("POST", "vm_restore/clearDagRuns", {"dry_run": False, "partition_key": "far"}),
        ("PATCH", "vm_restore/dagRuns/~/taskInstances", {"actions": [{"entities": [{"dag_run_id": "far"}]}]}),
        ("PATCH", "~/dagRuns", {"actions": [{"entities": [{"dag_id": "vm_restore", "dag_run_id": "far"}]}]}),
        ("DELETE", "vm_restore", None),
    ],
)
def test_a_call_that_does_not_tell_its_runs_needs_the_right_to_every_repository(method, path, body):
    call = Call(method=method, parts=tuple(path.split("/")), body=body)
    assert rights_needed(call, lambda *_run: FAR) == {None}


def test_a_backfill_of_a_guarded_dag_needs_the_right_to_its_repository(client, passed):
    way = "/api/v2/backfills"
    body = {"dag_id": "repository_maintenance", "dag_run_conf": {**KEEPS, "repository": "vmkeep_far"}}
    call = call_of("POST", way)
    assert call is not None
    assert rights_needed(Call(method="POST", parts=call.parts, body=body), lambda *_run: {}) == {"vmkeep_far"}
    client.cookies.set("_token", token_of("user"))
    assert client.post(way, json=body).status_code == 403
    assert passed == []
    assert client.post(f"{way}/dry_run", json=body).status_code == 200
    assert client.post(way, json={**body, "dag_id": "vm_backup"}).status_code == 200
    client.cookies.set("_token", token_of("op"))
    assert client.post(way, json=body).status_code == 200


def test_airflow_itself_makes_no_backfill_of_a_guarded_dag_with_a_schedule():
    from airflow.dag_processing.dagbag import DagBag

    dags = [dag for dag_id in GUARDED for dag in DagBag(f"dags/{dag_id}.py").dags.values()]
    scheduled = [dag for dag in dags if dag.timetable.can_be_scheduled]
    assert [dag.dag_id for dag in scheduled] == ["repository_maintenance"]
    allowed = [{kind.value for kind in dag.allowed_run_types or ()} for dag in scheduled]
    assert allowed == [{"scheduled", "manual", "operator_triggered"}]


def test_a_call_that_cannot_be_judged_is_refused(client, passed):
    way = "/api/v2/dags/vm_restore/dagRuns"
    assert client.post(way, json={"conf": OVER}).status_code == 401
    assert client.post(way, json={"conf": OVER}, headers={"authorization": "Bearer guess"}).status_code == 403
    assert called(client, "user", "DELETE", f"{RUN}/unknown") == 500
    client.cookies.set("_token", token_of("admin"))
    assert client.post(way, content=b" " * (LARGEST + 1)).status_code == 413
    assert passed == []


def test_a_path_in_other_words_is_the_same_path(client, passed):
    client.cookies.set("_token", token_of("user"))
    for path in ("/api/v2/dags/vm%5Frestore/dagRuns", "/vmkeep-site/api/v2/dags/vm_restore//dagRuns/"):
        assert client.post(path, json={"conf": OVER}).status_code == 403, path
    assert client.post("/api/v2/dags/~/clearDagRuns", content=rb'{"a": ["vm\u005frestore"]}').status_code == 403
    assert passed == []


def test_the_guard_stands_before_airflows_api_and_knows_its_dags():
    from airflow.dag_processing.dagbag import DagBag

    from vmkeep_airflow.plugin import VmkeepPlugin

    assert OverwriteGuard in [each["middleware"] for each in VmkeepPlugin.fastapi_root_middlewares]
    for dag_id in GUARDED:
        (dag,) = DagBag(f"dags/{dag_id}.py").dags.values()
        assert dag.dag_id == dag_id
        assert call_of("POST", f"/api/v2/dags/{dag_id}/dagRuns")
