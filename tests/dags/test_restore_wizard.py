"""The restore wizard starts runs only as the user who calls, only from its own pages, and only what was shown."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from lxml import html

from tests.dags.test_web_view import as_role, filled, token_of
from tests.dags.test_web_view import client as client  # a fixture
from tests.unit.web.wizards import MACHINE, PLACES, VMS, planned
from vmkeep.errors import UnreachableError
from vmkeep.flows.restore_ledger import shown_id
from vmkeep.flows.restore_values import Restored
from vmkeep.model.fieldwords import named
from vmkeep.model.job import to_plain
from vmkeep.model.scanning import ScanFirst
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef

with warnings.catch_warnings():  # the libraries below deprecate each other
    warnings.simplefilter("default")
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse
    from fastapi.testclient import TestClient

    from vmkeep_airflow.web import FASTAPI_APPS
    from vmkeep_airflow.web.routes import restore

pytestmark = pytest.mark.filterwarnings("default")
__all__ = ["client", "filled"]
OWN = {"sec-fetch-site": "same-origin"}


@dataclass
class Airflow:
    """Stands for Airflow's API: it keeps what it is asked for, and tells of one run."""

    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """DAG, token and body of each run that was triggered."""
    conf: dict[str, Any] = field(
        default_factory=lambda: {"point": "p", "dry_run": True, "repository": "vmkeep_default"}
    )
    task: str = "success"
    why: str = "no such folder"
    result: Any = None
    finished: Any = None
    """Result of the task that finishes a restore; ``None``: it is that of the others."""
    refusal: int = 0
    started: str = ""
    """State of the run that carries the plan out; empty: there is none."""
    appears: str = ""
    """State of the run of that id that is there once somebody has tried to start it."""
    other: dict[str, Any] = field(default_factory=dict)
    """Params in which that run differs from the plan."""

    def restore(self) -> dict[str, Any]:
        """Return the run that carries the plan out."""
        at = "2026-11-28T08:00:00Z"
        return {
            "state": self.started, "conf": {**self.conf, "dry_run": False, **self.other},
            "triggering_user_name": "anna",
            "note": "web01 to copy01\nFailed at task plan: no such folder", "start_date": at,
            "end_date": None if self.started == "running" else at,
        }  # fmt: skip

    def app(self) -> FastAPI:
        outer = FastAPI()
        runs = "/api/v2/dags/{dag_id}/dagRuns"

        @outer.post(runs)
        async def trigger(dag_id: str, request: Request) -> Any:
            self.started = self.started or self.appears
            if self.refusal:
                return JSONResponse({"detail": "Airflow says no"}, self.refusal)
            body = await request.json()
            self.asked.append((dag_id, request.headers["authorization"], body))
            return {"dag_run_id": body["dag_run_id"]}

        @outer.get(runs + "/{run_id}")
        def run(run_id: str) -> Any:
            is_restore = run_id.startswith("restore__")
            if run_id == "gone" or (is_restore and not self.started):
                return JSONResponse({"detail": "no such run"}, 404)
            if is_restore:
                return self.restore()
            return {"state": "success", "conf": self.conf, "triggering_user_name": "anna"}

        @outer.get(runs + "/{run_id}/taskInstances/{task}")
        def instance(task: str) -> Any:
            return {"state": self.task}

        @outer.get(runs + "/{run_id}/taskInstances/{task}/xcomEntries/{key}")
        def left(task: str, key: str) -> Any:
            value = {"why": self.why}
            if key == "return_value":
                value = self.finished or self.result if task == "finish" else self.result
            return {"value": value}

        outer.mount(FASTAPI_APPS[0]["url_prefix"], FASTAPI_APPS[0]["app"])
        return outer


@pytest.fixture
def airflow():
    return Airflow()


@pytest.fixture
def wizard(client, airflow, monkeypatch):
    """Return a client at an app beside Airflow's API, with a vCenter and a repository that answer."""
    monkeypatch.setattr(restore, "load_places", lambda _conn_id: PLACES)
    monkeypatch.setattr(restore, "load_machines", lambda _conn_id: VMS)
    monkeypatch.setattr(restore, "load_machine", lambda _repository, _ref: MACHINE)
    monkeypatch.setattr(restore, "connection_to", lambda _repository: "vmkeep_default")
    monkeypatch.setattr(restore, "load_overwritten", lambda _plan, **_where: ("it is running",))
    return TestClient(airflow.app(), follow_redirects=False, raise_server_exceptions=False)


@pytest.fixture
def point(filled):
    return filled[2][1]


def test_a_form_becomes_a_run_that_only_plans_by_the_user_who_sent_it(wizard, airflow, point):
    as_role(wizard, "user")
    assert wizard.get(f"/vmkeep/restore/{point.id}").status_code == 200
    page = wizard.get(f"/vmkeep/restore/{point.id}/new")
    assert page.status_code == 200, page.text
    assert "Quarantine" in page.text
    fields = {"new_name": "copy01", "card.0": "none", "folder": "/DC/vm/Test"}
    answer = wizard.post(f"/vmkeep/restore/{point.id}/new?vsphere=vc9", data=fields, headers=OWN)
    assert answer.status_code == 303, answer.text
    ((dag_id, token, body),) = airflow.asked
    assert answer.headers["location"] == f"/vmkeep/restore-plans/vm_restore/{body['dag_run_id'].replace(':', '%3A')}"
    assert (dag_id, token) == ("vm_restore", f"Bearer {wizard.cookies['_token']}")
    conf = body["conf"]
    assert body["note"] == f"web01 of {point.taken_at:%Y-%m-%d %H:%M} UTC to copy01", "the run carries the VM's name"
    assert (conf["point"], conf["dry_run"], conf["vsphere"]) == (point.ref, True, "vc9")
    assert (conf["new_name"], conf["folder"], conf["networks"]) == (
        "copy01", "/DC/vm/Test", ["Network adapter 1=none"],
    )  # fmt: skip


def test_the_params_of_the_wizard_are_params_of_the_dags(wizard, airflow, point):
    from airflow.dag_processing.dagbag import DagBag

    as_role(wizard, "admin")
    for kind, fields in (
        ("new", {"new_name": "a", "datastore": "ds1"}),
        ("over", {}),
        ("attach", {"disks": "scsi0:0"}),
    ):
        answer = wizard.post(f"/vmkeep/restore/{point.id}/{kind}", data={"vm": "web01", **fields}, headers=OWN)
        assert answer.status_code == 303, (kind, answer.text)
    assert [dag_id for dag_id, _, _ in airflow.asked] == ["vm_restore", "vm_restore", "disk_attach"]
    for dag_id, _, body in airflow.asked:
        params = DagBag(f"dags/{dag_id}.py").dags[dag_id].params
        for name, value in {**body["conf"], **({"as_shown": "x"} if dag_id == "vm_restore" else {})}.items():
            params.get_param(name).resolve(value)


def test_a_form_with_a_fault_comes_back_with_what_was_typed(wizard, airflow, point):
    as_role(wizard, "user")
    answer = wizard.post(f"/vmkeep/restore/{point.id}/new", data={"new_name": "x" * 99, "host": "esx1"}, headers=OWN)
    assert answer.status_code == 422
    assert "longer than 80" in answer.text
    assert f'value="{"x" * 99}"' in answer.text
    assert '<option value="esx1" selected>' in answer.text
    airflow.refusal = 400
    answer = wizard.post(f"/vmkeep/restore/{point.id}/new", data={"new_name": "a"}, headers=OWN)
    assert (answer.status_code, "Airflow says no" in answer.text) == (422, True)
    assert airflow.asked == []


def test_a_refused_plan_leads_back_to_the_form_with_what_was_typed_and_the_reason_at_its_field(wizard, airflow, point):
    as_role(wizard, "user")
    fields = {"new_name": "taken01", "card.0": "none", "folder": "/DC/vm/Test", "power_on": "no"}
    wizard.post(f"/vmkeep/restore/{point.id}/new?vsphere=vc9", data=fields, headers=OWN)
    airflow.conf, airflow.task = airflow.asked[0][2]["conf"], "failed"
    airflow.why = f"a VM named taken01 exists: choose another name with {named('new_name')}"
    page = wizard.get("/vmkeep/restore-plans/vm_restore/plan__1").text
    assert "choose another name with “Name”" in page
    assert "--new-name" not in page
    assert "the plan for web01" in page
    back = f"/vmkeep/restore/{point.id}/new?plan=plan__1"
    assert page.count(f'href="{back}"') == 2, "a button, and the finished step"
    form = html.fromstring(wizard.get(back).text)
    assert form.xpath("//input[@name='new_name']/@value") == ["taken01"]
    assert [form.xpath(f"//select[@name='{name}']/option[@selected]/@value") for name in ("folder", "power_on")] == [
        ["/DC/vm/Test"], ["no"],
    ]  # fmt: skip
    assert form.xpath("//select[@name='card.0']/option[@selected]/@value") == ["none"]
    assert "exists: choose another name" in form.xpath("//*[@id='hint-new_name']")[0].text_content()
    assert form.xpath("//form[@method='post']/@action") == ["?vsphere=vc9"]
    airflow.conf = {**airflow.conf, "point": "another/20261127T200144Z-1234567890abcdef"}
    assert wizard.get(back).status_code == 404, "a plan of another point fills in nothing"
    as_role(wizard, "viewer")
    assert wizard.get(back).status_code == 403


@pytest.mark.parametrize("path", ["restore/{id}/new", "restore/{id}/over", "restore-plans/vm_restore/plan__1"])
def test_a_page_of_another_server_starts_nothing(wizard, airflow, point, path):
    as_role(wizard, "admin")
    airflow.result = to_plain(planned())
    for headers in ({}, {"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        answer = wizard.post("/vmkeep/" + path.format(id=point.id), data={"new_name": "a"}, headers=headers)
        assert answer.status_code == 403
    assert airflow.asked == []


def test_who_may_only_look_gets_no_page_of_the_wizard(wizard, point):
    as_role(wizard, "viewer")
    kept = "vm_restore/plan__1"
    paths = [f"restore/{point.id}", f"restore/{point.id}/new", f"restore-plans/{kept}", f"restores/{kept}"]
    for path in (*paths, f"api/restore/{point.id}/new", f"api/restore-plans/{kept}", f"api/restores/{kept}"):
        assert wizard.get(f"/vmkeep/{path}").status_code == 403, path
    assert f"/restore/{point.id}" not in wizard.get("/vmkeep/vms/key-web01").text


@pytest.mark.parametrize(("role", "may"), [("user", False), ("op", True), ("admin", True)])
def test_only_who_may_administer_the_repository_overwrites(wizard, airflow, point, role, may):
    as_role(wizard, role)
    asked = wizard.post(f"/vmkeep/restore/{point.id}/over", data={"on_conflict": "overwrite"}, headers=OWN)
    assert asked.status_code == (303 if may else 403)
    assert ("The form cannot be shown" in wizard.get(f"/vmkeep/restore/{point.id}/over").text) is not may
    assert len(airflow.asked) == may
    airflow.result = to_plain(planned(over=True))
    shown = wizard.get("/vmkeep/restore-plans/vm_restore/plan__1")
    assert ("Start, and write over it" in shown.text) is may
    assert "it is running" in shown.text
    started = wizard.post("/vmkeep/restore-plans/vm_restore/plan__1", headers=OWN)
    assert started.status_code == (303 if may else 403)
    assert len(airflow.asked) == 2 * may


def test_the_form_for_a_new_vm_proposes_a_free_name_and_does_without_one_that_was_looked_at(wizard, point, monkeypatch):
    as_role(wizard, "user")

    def proposed():
        told = wizard.get(f"/vmkeep/api/restore/{point.id}/new").json()
        ((name,),) = [each["values"] for group in told["groups"] for each in group["fields"]
                      if each["name"] == "new_name"]  # fmt: skip
        return name

    assert proposed() == "web01-restored"
    monkeypatch.setattr(restore, "load_machines", lambda _conn_id: [replace(VMS[0], name="web01-restored")])
    assert proposed() == "web01-restored-2"

    def silent(_conn_id):
        raise UnreachableError("no answer")

    monkeypatch.setattr(restore, "load_machines", silent)
    assert proposed() == "web01-restored"


def test_a_shown_plan_is_started_once_with_its_own_params_and_its_digest(wizard, airflow):
    as_role(wizard, "user")
    airflow.conf |= {"new_name": "copy01", "folder": "/a"}
    airflow.result = to_plain(planned())
    answer = wizard.post("/vmkeep/restore-plans/vm_restore/plan__7", headers=OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/vmkeep/restores/vm_restore/restore__7")
    ((_, _, body),) = airflow.asked
    assert body == {
        "dag_run_id": "restore__7", "logical_date": None, "note": None,  # no catalog knows the point "p"
        "conf": {**airflow.conf, "dry_run": False, "as_shown": shown_id(planned())},
    }  # fmt: skip
    airflow.refusal, airflow.appears, airflow.other = 409, "running", {"as_shown": shown_id(planned())}
    again = wizard.post("/vmkeep/restore-plans/vm_restore/plan__7", headers=OWN)  # the run came to be just now
    assert again.headers["location"] == answer.headers["location"]
    airflow.refusal, airflow.started, airflow.appears = 403, "", ""
    assert wizard.post("/vmkeep/restore-plans/vm_restore/plan__7", headers=OWN).status_code == 403
    assert wizard.get(answer.headers["location"]).status_code == 404, "nothing has started"


def test_a_started_plan_leads_to_its_restore_which_tells_how_it_goes(wizard, airflow):
    as_role(wizard, "user")
    airflow.conf |= {"new_name": "copy01"}
    airflow.result = to_plain(planned())
    plan, place = "/vmkeep/restore-plans/vm_restore/plan__7", "/vmkeep/restores/vm_restore/restore__7"
    for state, said in (("running", "at work"), ("failed", "has failed"), ("success", "has ended well")):
        airflow.started = state
        shown = wizard.get(plan).text
        assert f'href="{place}"' in shown
        assert "Start the restore" not in shown
        again = wizard.post(plan, headers=OWN)
        assert (again.status_code, again.headers["location"]) == (303, place)
        page = wizard.get(place)
        assert page.status_code == 200, page.text
        assert said in page.text
        assert 'href="/dags/vm_restore/runs/restore__7"' in page.text
        told = wizard.get(place.replace("/vmkeep/", "/vmkeep/api/")).json()
        assert (told["run_id"], told["lines"]) == ("restore__7", ["Failed at task plan: no such folder"])
    assert airflow.asked == [], "a plan is started once"
    for other in ("vm_restore/gone", "vm_backup/restore__7", "vm_restore/plan__7"):
        assert wizard.get(f"/vmkeep/restores/{other}").status_code == 404, other


@pytest.mark.parametrize("is_readable", [True, False])
def test_the_page_at_the_end_of_a_restore_tells_its_warnings_and_leads_to_its_vm(wizard, airflow, point, is_readable):
    as_role(wizard, "user")
    vm = VmRef(moref="vm-23", name="copy01")
    done = Restored(run="r", vm=vm, point=point.ref, created=True, powered_on=False, disks_written=1, bytes_written=1,
                    bytes_zeroed=0, warnings=(f"say {named('connect_networks')}",))  # fmt: skip
    airflow.conf |= {"point": point.ref, "new_name": "copy01", "vsphere": "nowhere"}
    airflow.started, airflow.result = "success", to_plain(planned())
    airflow.finished = to_plain(done) if is_readable else {"of": "another version"}
    page = wizard.get("/vmkeep/restores/vm_restore/restore__7")
    assert page.status_code == 200, page.text
    assert ("VM copy01 (vm-23) was made in /DC/vm/Test" in page.text) is is_readable
    told = wizard.get("/vmkeep/api/restores/vm_restore/restore__7").json()
    assert told["client"] == "", "no connection tells its server"
    assert len(told["warnings"]) == int(is_readable)
    assert "--connect-networks" not in page.text


@pytest.mark.parametrize("other", [{"new_name": "mine"}, {"dry_run": True}, {"vm": "x"}])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_run_of_somebody_else_with_the_name_of_a_plans_run_is_not_taken_for_it(wizard, airflow, other, is_there):
    as_role(wizard, "user")
    airflow.conf |= {"new_name": "copy01"}
    airflow.result = to_plain(planned())
    airflow.other, airflow.refusal = other, 409
    airflow.started, airflow.appears = ("running", "") if is_there else ("", "running")
    plan = "/vmkeep/restore-plans/vm_restore/plan__7"
    answer = wizard.post(plan, headers=OWN)
    assert answer.status_code == 409, "nobody is led to another restore"
    page = wizard.get(plan).text
    assert "Another run has the name of the one that would carry this plan out" in page
    assert 'href="/dags/vm_restore/runs/restore__7"' in page
    assert "Start the restore" not in page
    assert "/vmkeep/restores/" not in page
    assert airflow.asked == []


@pytest.mark.parametrize(("as_shown", "scans"), [("", 1), ("digest", 0)])
def test_a_restore_whose_plan_was_shown_scans_no_second_time(monkeypatch, as_shown, scans):
    from vmkeep.flows import scan_first
    from vmkeep_airflow.operators import plan_restore

    scanned: list[Any] = []
    monkeypatch.setattr(plan_restore, "own_dag_run", lambda _ti: SimpleNamespace(dag_id="vm_restore"))
    monkeypatch.setattr(plan_restore, "has_ended", lambda _ti: None)
    monkeypatch.setattr(scan_first, "scan_first", lambda _site, request, *_, **__: scanned.append(request) or request)
    operator = plan_restore.PlanRestoreOperator(task_id="plan", request={}, as_shown=as_shown)
    request = replace(planned().request, scan=ScanFirst.REFUSE)
    assert operator._scanned(Site(repository="/r"), request, {"ti": None}) is request
    assert len(scanned) == scans


@pytest.mark.parametrize(("task", "code"), [("failed", 409), ("running", 409), ("success", 409)])
def test_a_plan_that_was_not_made_is_not_started(wizard, airflow, task, code):
    as_role(wizard, "admin")
    airflow.task, airflow.result = task, None
    assert wizard.post("/vmkeep/restore-plans/vm_restore/plan__1", headers=OWN).status_code == code
    page = wizard.get("/vmkeep/api/restore-plans/vm_restore/plan__1").json()
    assert page["failure"] == {"failed": "no such folder", "running": page["failure"]}.get(task, page["failure"])
    assert not page["may_start"]
    assert airflow.asked == []


def test_no_run_that_does_more_than_to_plan_is_taken_for_a_plan(wizard, airflow):
    as_role(wizard, "admin")
    airflow.conf["dry_run"] = False
    assert wizard.get("/vmkeep/restore-plans/vm_restore/manual__1").status_code == 404
    assert wizard.get("/vmkeep/restore-plans/vm_backup/plan__1").status_code == 404


def test_a_vcenter_that_gives_no_answer_is_named_and_another_one_can_be_chosen(wizard, point, monkeypatch):
    from vmkeep_airflow.web.vcenters import load_places

    monkeypatch.setattr(restore, "load_places", load_places)
    gone = {"conn_type": "vsphere", "host": "127.0.0.1", "port": 1, "login": "u", "password": "p"}
    monkeypatch.setenv("AIRFLOW_CONN_VSPHERE_DEFAULT", json.dumps(gone))
    as_role(wizard, "user")
    page = wizard.get(f"/vmkeep/restore/{point.id}/new")
    assert page.status_code == 200
    assert "The form cannot be shown" in page.text
    assert "127.0.0.1" in page.text
    assert "Show its places" in page.text
    assert "Make the plan" not in page.text


@pytest.mark.parametrize(
    ("kind", "content", "code"),
    [
        ("application/json", b"{}", 415),
        ("application/x-www-form-urlencoded", b"a" * (300 << 10), 413),
        ("application/x-www-form-urlencoded", b"a=%ff\xff", 422),
        ("application/x-www-form-urlencoded", b"a=1&" * 2000, 422),
    ],
)
def test_what_is_no_form_of_ours_is_refused(wizard, airflow, point, kind, content, code):
    as_role(wizard, "user")
    headers = {**OWN, "content-type": kind}
    assert wizard.post(f"/vmkeep/restore/{point.id}/new", content=content, headers=headers).status_code == code
    assert airflow.asked == []


def test_a_token_in_the_header_counts_more_than_the_cookie(wizard, airflow):
    as_role(wizard, "admin")
    airflow.result = to_plain(planned())
    airflow.conf |= {"new_name": "copy01"}
    token = token_of("user")
    wizard.post("/vmkeep/restore-plans/vm_restore/plan__1", headers={"authorization": f"Bearer {token}"})
    assert airflow.asked[0][1] == f"Bearer {token}"
