"""The web view asks Airflow who calls, on every route; refuses what other pages send; and gives nothing but its own."""

from __future__ import annotations

import json
import re
import threading
import warnings
from datetime import timedelta
from urllib.parse import quote

import pytest

from tests.unit.web.fleets import HOSTILE, fill, nightly
from vmkeep.flows.windows import PlannedVm, WindowPlan
from vmkeep.policy import Due
from vmkeep_airflow.dagruns import DagRunId
from vmkeep_airflow.web import EXTERNAL_VIEWS, FASTAPI_APPS, limits

with warnings.catch_warnings():  # the libraries below deprecate each other
    warnings.simplefilter("default")
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from vmkeep_airflow.web.app import make_app

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    url = f"sqlite:///{folder}/catalog.db"
    points = fill(url)
    nightly(folder)
    return folder, url, points


@pytest.fixture
def client(filled, monkeypatch):
    """Return a client without a log-in, at an app that is mounted as Airflow mounts it."""
    folder, url, _ = filled
    fields = {"conn_type": "vmkeep", "host": str(folder / "no repository"), "extra": {"catalog": url}}
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps(fields))
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(folder))
    create_auth_manager()
    outer = FastAPI()
    outer.mount(FASTAPI_APPS[0]["url_prefix"], FASTAPI_APPS[0]["app"])
    return TestClient(outer, follow_redirects=False, raise_server_exceptions=False)


def token_of(role: str) -> str:
    return create_auth_manager().generate_jwt(SimpleAuthManagerUser(username=f"the {role}", role=role))


@pytest.fixture
def viewer(client):
    client.cookies.set("_token", token_of("viewer"))
    return client


def as_role(client, role):
    client.cookies.set("_token", token_of(role))
    return client


def all_paths() -> list[str]:
    """Return every route of the app with something in the place of its parts."""
    from fastapi.routing import APIRoute
    from starlette.routing import Route

    def paths(routes):
        for route in routes:
            if isinstance(route, (APIRoute, Route)):
                yield re.sub(r"\{\w+(:\w+)?\}", "x", route.path)
            elif hasattr(route, "original_router"):
                for path in paths(route.original_router.routes):
                    yield getattr(route, "prefix", "") + path

    described = {re.sub(r"\{\w+\}", "x", path) for path in make_app().openapi()["paths"]}
    return sorted({*paths(make_app().routes), *described})


def test_no_route_answers_who_is_not_logged_in(client):
    paths = all_paths()
    assert {"/fleet", "/vms/x", "/screens/x/x/x", "/api/fleet", "/openapi.json"} <= set(paths)
    for path in paths:
        answer = client.get(f"/vmkeep{path}")
        if answer.status_code == 405:
            answer = client.post(f"/vmkeep{path}", headers={"sec-fetch-site": "same-origin"})
        if path.startswith("/static/"):
            assert answer.status_code == 404
        elif path.startswith("/api/") or path == "/openapi.json":
            assert answer.status_code == 401, path
        else:
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/auth/login"), path
    assert client.get("/vmkeep/docs").status_code == 404


def test_a_log_in_leads_back_to_the_page(client):
    location = client.get("/vmkeep/fleet?q=a%26b").headers["location"]
    assert location.endswith("next=%2Fvmkeep%2Ffleet%3Fq%3Da%2526b")


@pytest.mark.parametrize("token", ["", "nonsense", "ey.ey.ey"])
def test_a_wrong_token_opens_nothing(client, token):
    client.cookies.set("_token", token)
    assert client.get("/vmkeep/api/fleet").status_code in (401, 403)
    assert client.get("/vmkeep/fleet").status_code in (303, 403)


def test_a_viewer_sees_the_fleet_and_a_vm_and_their_twins_tell_the_same(viewer):
    page = viewer.get("/vmkeep/fleet")
    assert page.status_code == 200, page.text
    assert "the viewer" in page.text
    twin = viewer.get("/vmkeep/api/fleet").json()
    assert twin["total"] == 8
    assert all(row["name"].replace("<", "&lt;").split("&")[0] in page.text for row in twin["rows"])
    vm = viewer.get("/vmkeep/vms/key-web01")
    assert vm.status_code == 200, vm.text
    assert [point["id"] in vm.text for point in viewer.get("/vmkeep/api/vms/key-web01").json()["points"]] == [True] * 4
    schema = viewer.get("/vmkeep/openapi.json").json()
    assert {"/api/fleet", "/api/hardware", "/api/policies", "/api/vms/{vm_key}"} <= set(schema["paths"])
    assert "FleetPage" in json.dumps(schema["components"])


def test_a_faulty_policy_is_told_at_its_line_on_the_page_of_the_policies_and_leads_there_from_the_fleet(
    client, filled, monkeypatch, tmp_path
):
    (tmp_path / "broken.yaml").write_text("name: broken\nselection: name:*\nwindow: {start: 25:00}\n")
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    page = as_role(client, "viewer").get("/vmkeep/policies")

    assert page.status_code == 200
    assert "line 3, column 1: window.end is missing" in page.text
    twin = client.get("/vmkeep/api/policies").json()
    assert [row["name"] for row in twin["rows"]] == ["broken"]
    assert twin["problems"] == [], "the page tells the fault once"
    assert "policy file broken.yaml has faults" in client.get("/vmkeep/fleet").text


@pytest.mark.parametrize(("role", "code"), [("viewer", 403), ("user", 404), ("op", 404), ("admin", 404)])
def test_only_who_may_restore_may_ask_for_the_screen_of_a_guest(client, role, code):
    path = "/vmkeep/screens/repo/key-web01/20260110T040000Z-0"
    assert as_role(client, role).get(path).status_code == code


def test_a_page_may_load_nothing_from_elsewhere_and_is_kept_by_nobody(viewer):
    headers = viewer.get("/vmkeep/fleet").headers
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; script-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, True),
        ({"origin": "https://evil.example"}, True),
        ({"origin": "http://testserver:81"}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://[::1"}, True),
        ({"authorization": "Basic x"}, True),  # a browser sends it by itself
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "http://testserver"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"origin": "http://testserver"}, False),
        ({"authorization": "Bearer"}, True),
        ({"authorization": "Bearer "}, True),  # Airflow goes by the cookie then
        ({"authorization": "Bearer \t "}, True),
        ({"authorization": "Bearer\tx"}, True),
        ({"authorization": "BearerToken x"}, True),
        ({"authorization": " , Bearer x"}, True),
        ({"authorization": "Bearer x"}, False),
        ({"authorization": "bearer  x "}, False),
    ],
)
def test_a_page_of_another_server_changes_nothing(viewer, headers, refused):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = viewer.request(method, "/vmkeep/fleet", headers={"referer": "http://[::1", **headers})
        assert answer.status_code == (403 if refused else 405)
        assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    "name", ["../rendering.py", "..%2frendering.py", "%2e%2e/rendering.py", "vmkeep.css/..", "", ".", "none.css"]
)
def test_no_file_but_those_of_the_pages_is_given(viewer, name):
    assert viewer.get(f"/vmkeep/static/{name}").status_code in (404, 307)


@pytest.mark.parametrize("path", ["vms/..%2f..%2fetc", "vms/nobody", "points/nothing", "runs/nothing", "no page"])
def test_nothing_is_found_behind_a_false_path(viewer, path):
    answer = viewer.get(f"/vmkeep/{path}")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
    assert '<span class="who">the viewer</span>' in answer.text, "the page is still that of the user"


def test_a_page_of_an_error_keeps_the_navigation_and_the_user(client):
    as_role(client, "op")
    for path in ("vms/nobody", "windows?day=yesterday", "no page"):
        page = client.get(f"/vmkeep/{path}").text
        assert '<span class="who">the op</span>' in page
        assert 'href="/vmkeep/audit"' in page, "the user may go there"
    client.cookies.set("_token", "no token")
    stranger = client.get("/vmkeep/no page")
    assert (stranger.status_code, '<span class="who"></span>' in stranger.text) == (404, True)


def test_the_files_of_the_pages_are_given(client):
    for name, kind in (("vmkeep.css", "text/css"), ("frame.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        answer = client.get(f"/vmkeep/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)


@pytest.mark.parametrize("query", ["page=0", "sort=drop", "order=x", f"q={'x' * 201}"])
def test_a_mistake_in_an_address_is_told_in_words(viewer, query):
    page = viewer.get(f"/vmkeep/fleet?{query}")
    assert page.status_code == 422
    assert query.split("=")[0] in page.text
    assert 'href="/vmkeep/fleet">Open the page' in page.text
    assert viewer.get(f"/vmkeep/api/fleet?{query}").json()["detail"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("windows?day=yesterday", "day is no date: write e.g. 2026-11-28."),
        ("windows?day=2026-13-45", "day is no date: write e.g. 2026-11-28."),
        ("windows?first=-1", "first must be at least 0."),
        ("audit?until=noon", "until is no time: write e.g. 2026-11-28T21:00:00Z."),
        ("audit?days=many", "days is no whole number."),
        ("audit?days=1&by_itself=perhaps&days=99999",
         "days must be at most 3,650. by_itself is neither true nor false."),
    ],
)  # fmt: skip
def test_a_bad_value_in_an_address_is_told_in_words_of_ours(client, path, told):
    as_role(client, "op")
    assert client.get(f"/vmkeep/api/{path}").json()["detail"] == told


def test_a_vm_with_a_hostile_name_and_key_has_a_page(viewer):
    page = viewer.get("/vmkeep/vms/key-%3Chostile%3E")
    assert page.status_code == 200
    assert "<img src=x" not in page.text
    missing = viewer.get(f"/vmkeep/vms/{quote(HOSTILE)}")
    assert missing.status_code == 404
    assert "<img src=x" not in missing.text


def test_hardware_of_points_whose_repository_is_gone_is_said_to_be_out_of_reach(viewer, filled):
    points = filled[2]
    answer = viewer.get(f"/vmkeep/hardware?from={points[0].id}&to={points[1].id}")
    assert answer.status_code == 404
    assert "no connection that works leads to the repository" in answer.text
    other = viewer.get(f"/vmkeep/api/hardware?from={points[0].id}&to={points[4].id}")
    assert (other.status_code, other.json()["detail"][:27]) == (404, "these are points of two VMs")


def test_a_point_leads_to_its_vm(viewer, filled):
    point = filled[2][1]
    answer = viewer.get(f"/vmkeep/points/{point.id}")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/vmkeep/vms/key-web01?first=0#p-{point.id}"


def test_no_page_asks_databases_more_than_twenty_times(viewer, filled):
    from sqlalchemy import Engine, event

    points = filled[2]
    paths = ["fleet", "vms/key-web01", f"points/{points[0].id}", f"runs/{points[0].id}", "policies", "repositories",
             "recoveries", "running", "windows", "audit", "audit?about=x&person=y&by_itself=true",
             f"restore/{points[0].id}", f"hardware?from={points[0].id}&to={points[1].id}",
             f"warnings/{points[0].id}"]  # fmt: skip
    asked: list[str] = []

    def note(_connection, _cursor, statement, *_rest):
        if statement.lstrip().startswith("SELECT"):
            asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for path in paths:
            asked.clear()
            answer = as_role(viewer, "op").get(f"/vmkeep/{path}")
            # There is no such run, and no such repository: both are found out after all questions to databases.
            lacks = path.startswith(("runs/", "hardware", "warnings/"))
            assert answer.status_code in ((404,) if lacks else (200, 303)), (path, answer.text)
            assert 0 < len(asked) <= 20, (path, len(asked))
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("number", [0, 3])
def test_a_point_leads_to_its_run_however_many_others_a_night_has(filled, monkeypatch, number):
    from airflow.models import DagRun
    from airflow.utils.session import create_session

    from vmkeep_airflow.vmruns import run_id_of
    from vmkeep_airflow.web import dagrunlinks

    monkeypatch.setattr(dagrunlinks, "_MOST", 2)
    opens = filled[2][0].taken_at
    plan = WindowPlan(policy="nightly", stamp="20260101T010000Z", due=Due.OPEN, opens_at=opens, closes_at=opens,
                      next_opens_at=None)  # fmt: skip
    vms = [PlannedVm(moref=moref, name="a_b", last_point_at=None) for moref in ("vm-1", "vm-11", "vm-12", "xvm-1")]
    ids = [run_id_of(plan, vms[0], number=number), *(run_id_of(plan, vm) for vm in vms[1:])]
    runs = [DagRun(dag_id="vm_backup", run_id=run_id, run_type="manual", state="success",
                   run_after=opens + timedelta(minutes=place)) for place, run_id in enumerate(ids)]  # fmt: skip
    with create_session() as session:
        session.add_all(runs)
    try:
        key = DagRunId(dag_id="vm_backup", run_id=ids[0]).run_key(1)
        assert dagrunlinks.path_of_run(key, opens, "vm-1") == f"/dags/vm_backup/runs/{ids[0]}"
        assert dagrunlinks.path_of_run(key, opens, "vm-9") is None
    finally:
        with create_session() as session:
            for run in runs:
                session.delete(session.merge(run))


def test_a_point_leads_to_its_run_in_airflow(filled):
    from airflow.models import DagRun
    from airflow.utils.session import create_session

    from vmkeep_airflow.web.dagrunlinks import path_of_run

    taken_at = filled[2][0].taken_at
    made = DagRunId(dag_id="vm_backup", run_id="manual__2026-01-01T00:00:00+00:00")
    with create_session() as session:
        run = DagRun(dag_id=made.dag_id, run_id=made.run_id, run_type="manual", run_after=taken_at, state="success")
        session.add(run)
    try:
        path = path_of_run(made.run_key(2), taken_at + timedelta(hours=2), "vm-1")
        assert path == "/dags/vm_backup/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00"
        assert path_of_run(made.run_key(2), taken_at + timedelta(days=9), None) is None
        assert path_of_run("by-hand", taken_at, None) is None
    finally:
        with create_session() as session:
            session.delete(session.merge(run))


def test_a_catalog_that_cannot_be_read_is_named_on_the_page_without_its_password(client, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    extra = {"catalog": f"sqlite:///{tmp_path}/file/catalog.db"}
    fields = {"conn_type": "vmkeep", "host": "/nowhere", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps(fields))
    page = as_role(client, "viewer").get("/vmkeep/fleet")
    assert page.status_code == 200
    assert "Some facts are missing" in page.text
    assert "Nothing is known of any VM, because no catalog can be read." in page.text
    repositories = client.get("/vmkeep/repositories").text
    assert "Nothing is known of any repository, because no catalog can be read." in repositories
    assert "No repository was looked at yet" not in repositories
    vm = client.get("/vmkeep/vms/key-web01")
    assert vm.status_code == 503
    assert "Something that this page needs gives no answer" in vm.text


@pytest.mark.parametrize("place", ["fleet?q=a%00b", "vms/%00", "api/points/%00", "files/x?volume=v&q=%00"])
def test_a_zero_byte_in_an_address_is_a_mistake_of_the_address(client, place):
    answer = as_role(client, "op").get(f"/vmkeep/{place}")
    assert answer.status_code == 422
    assert "zero byte" in answer.text


def test_every_page_bounds_its_look_at_the_catalog(client, monkeypatch):
    monkeypatch.setattr(limits, "_MOMENT", 0.0)
    monkeypatch.setattr(limits, "_catalog_slots", threading.BoundedSemaphore(1))
    limits._catalog_slots.acquire()
    as_role(client, "op")
    for place in (
        "fleet", "policies", "recoveries", "repositories", "vms/x", "points/x", "runs/x", "files/x", "restore/x",
        "warnings/x", "hardware?from=x&to=y", "fetch/x?volume=v",
    ):  # fmt: skip
        answer = client.get(f"/vmkeep/{place}")
        assert (answer.status_code, "wait for the catalog already" in answer.text) == (503, True), place


def test_a_vm_is_not_called_unknown_if_no_catalog_could_be_asked(client, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps({"conn_type": "vmkeep", "host": "/nowhere"}))
    answer = as_role(client, "viewer").get("/vmkeep/api/vms/key-web01")
    assert answer.status_code == 503
    assert "names no catalog" in answer.json()["detail"]
    assert "No catalog can be read" in client.get("/vmkeep/fleet").text


@pytest.mark.parametrize("case", ["none named", "not a database"])
def test_data_without_a_catalog_is_a_problem_and_no_empty_list(client, monkeypatch, tmp_path, case):
    (tmp_path / "catalog.db").write_text("not a database at all, but long enough to be read as one" * 20)
    extra = {} if case == "none named" else {"catalog": f"sqlite:///{tmp_path}/catalog.db"}
    connection = {"conn_type": "vmkeep", "host": "/nowhere", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps(connection))
    as_role(client, "viewer")
    for place in ("fleet", "policies", "repositories", "recoveries", "vms/key-web01"):
        answer = client.get(f"/vmkeep/api/{place}")
        told = answer.json()
        assert answer.status_code == told["status"] == 503, place
        assert answer.headers["content-type"] == "application/problem+json", place
        assert told["title"] == "Service Unavailable"
        assert "catalog" in told["detail"], place
        if not place.startswith("vms"):
            assert client.get(f"/vmkeep/{place}").status_code == 200, f"{place}: a page says what it does not know"


def test_the_view_stands_in_the_navigation():
    (view,) = EXTERNAL_VIEWS
    assert (view["href"], view["destination"], view["url_route"]) == ("/vmkeep/fleet", "nav", "vmkeep")
