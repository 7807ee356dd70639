"""Through the REST API of a running Airflow, as a script or the web page uses it."""

from __future__ import annotations

import json
import uuid

import pytest

from demo.api import AirflowApi, ApiError
from tests.patience import HANG, eventually
from vmkeep.repository import open_repository

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.fixture(scope="module")
def backed_up(api) -> str:
    """Return a run that has ended as a success, and is named by whoever starts it."""
    run = f"app01-{uuid.uuid4()}"
    body = {"logical_date": None, "dag_run_id": run, "conf": {"vm": "app01"}}
    api.call("POST", "/api/v2/dags/vm_backup/dagRuns", body)
    assert api.wait("vm_backup", run, seconds=HANG) == "success"
    return run


def test_a_backup_is_triggered_and_followed_over_the_api(api, control, backed_up):
    vm, reached, moved, *ways = api.run("vm_backup", backed_up)["note"].splitlines()
    assert vm == "app01"
    assert "reached file-system" in reached
    assert moved.startswith("3 disks")
    assert ways[-1] == "transport nbdssl"
    states = {task["task_id"]: task["state"] for task in api.tasks("vm_backup", backed_up)}
    assert set(states.values()) == {"success"}
    labels = sorted(
        task["rendered_map_index"] for task in api.tasks("vm_backup", backed_up) if task["task_id"] == "copy_disk"
    )
    assert labels == ["Hard disk 1", "Hard disk 2", "Hard disk 3"]
    sealed = api.xcom("vm_backup", backed_up, "catalog")
    vm_key, _, point = sealed["point"].partition("/")
    copy = f"/api/v2/dags/vm_backup/dagRuns/{backed_up}/taskInstances/copy_disk"
    assert api.call("GET", f"{copy}/1")["note"].startswith("copied: ")
    lines = api.call("GET", f"/api/v2/dags/vm_backup/dagRuns/{backed_up}/taskInstances/copy_disk/logs/1?map_index=1")
    (told,) = [line for line in lines["content"] if " stored, " in line["event"]]
    assert (told["vm"], told["disk"]) == ("app01", "Hard disk 2")
    closed = api.call("GET", f"/api/v2/dags/vm_backup/dagRuns/{backed_up}/taskInstances/catalog/links")
    assert closed["extra_links"]["VM"] == f"/vmkeep/vms/{vm_key}"
    assert closed["extra_links"]["Restore point"] == f"/vmkeep/points/{point.partition('-')[2]}"
    event = {"point": sealed["point"], "vm": "app01", "repository": "vmkeep_default"}
    assert events_of(api, backed_up) == {"vmkeep_restore_points": [event], "vmkeep_restore_points/app01": [event]}
    assert control.snapshots("app01") == []


def test_a_run_is_closed_again_without_a_second_event(api, backed_up):
    events = events_of(api, backed_up)
    api.clear("vm_backup", backed_up, "close_run")
    assert api.wait("vm_backup", backed_up, seconds=HANG) == "success"
    assert {task["try_number"] for task in api.tasks("vm_backup", backed_up) if task["task_id"] == "close_run"} == {2}
    assert events_of(api, backed_up) == events


def test_a_cleared_task_seals_no_mix_takes_no_snapshot_and_a_run_cleared_whole_makes_its_own_point(
    api, control, site, backed_up
):
    before = points(site)
    touched = snapshots_taken(control)
    api.clear("vm_backup", backed_up, "catalog")
    assert api.wait("vm_backup", backed_up, seconds=HANG) == "failed"
    (refused,) = [task for task in api.tasks("vm_backup", backed_up) if task["state"] == "failed"]
    told = api.log("vm_backup", refused)
    assert "because task plan_disks, copy_disk was not cleared, too" in told
    assert "a point that the run has sealed stays as it is" in told
    assert points(site) == before

    body = {
        "dry_run": False, "dag_run_id": backed_up, "task_ids": [["copy_disk", 1]], "include_downstream": True,
        "only_failed": False, "reset_dag_runs": True,
    }  # fmt: skip
    api.call("POST", "/api/v2/dags/vm_backup/clearTaskInstances", body)
    assert api.wait("vm_backup", backed_up, seconds=HANG) == "failed"
    failed = {task["task_id"]: task for task in api.tasks("vm_backup", backed_up) if task["state"] == "failed"}
    assert set(failed) == {"snapshot", "close_run"}
    assert "task plan_disks, copy_disk was not cleared, too" in api.log("vm_backup", failed["snapshot"])
    assert points(site) == before
    assert snapshots_taken(control) == touched
    assert_nothing_is_left(control)

    api.call("POST", f"/api/v2/dags/vm_backup/dagRuns/{backed_up}/clear", {"dry_run": False})
    assert api.wait("vm_backup", backed_up, seconds=HANG) == "success"
    assert len(points(site) - before) == 1
    assert_nothing_is_left(control)


def points(site) -> set[str]:
    with open_repository(site.repository) as repository:
        return set(repository.point_refs())


def snapshots_taken(control) -> int:
    """Return how many snapshots somebody has asked the lab for."""
    calls = control.call("GET", "/state")["calls"]
    return sum(count for method, count in calls.items() if method.startswith("CreateSnapshot"))


def assert_nothing_is_left(control) -> None:
    assert control.snapshots("app01") == []
    eventually(lambda: not control.call("GET", "/state")["nfc"], "the end of all transfers")


def test_a_mark_by_hand_turns_a_green_run_red(api, backed_up):
    marked(api, backed_up, "close_run", "skipped")
    api.clear("vm_backup", backed_up, "close_run")
    assert api.wait("vm_backup", backed_up, seconds=HANG) == "success"
    marked(api, backed_up, "copy_disk/1", "failed")


def marked(api: AirflowApi, run: str, task: str, state: str) -> None:
    """Mark a task of a green run."""
    assert api.state("vm_backup", run) == "success"
    api.mark("vm_backup", run, task, state)
    assert api.state("vm_backup", run) == "failed"
    assert task.partition("/")[0] in api.run("vm_backup", run)["note"]
    api.call("PATCH", f"/api/v2/dags/vm_backup/dagRuns/{run}", {"state": "success"})
    assert api.state("vm_backup", run) == "failed", "nor does a mark on the whole run help"


@pytest.mark.parametrize(
    ("conf", "named"),
    [
        ({}, "vm"),
        ({"vm": ""}, "vm"),
        ({"vm": "app01", "mode": "HOT"}, "mode"),
        ({"vm": "app01", "verify": 7}, "verify"),
    ],
)
def test_wrong_params_are_refused_with_their_name(api, conf, named):
    with pytest.raises(ApiError) as caught:
        api.trigger("vm_backup", **conf)
    assert caught.value.status == 400
    assert f"param {named}" in caught.value.text


def test_a_wrong_password_is_refused(airflow):
    with pytest.raises(ApiError) as caught:
        AirflowApi(airflow.home.url, user="admin", password="guess")
    assert caught.value.status == 401


def test_an_operator_starts_restores_and_overwrites_nothing(airflow):
    passwords = json.loads((airflow.home.folder / "passwords.json").read_text())
    operator = AirflowApi(airflow.home.url, user="operator", password=passwords["operator"])
    for rule, status in (("overwrite", 403), ("prompt", 400)):  # the second one lacks a point, as Airflow itself finds
        with pytest.raises(ApiError) as caught:
            operator.trigger("vm_restore", on_conflict=rule)
        assert caught.value.status == status, caught.value.text


def test_the_pool_exists_without_anybody_creating_it(api):
    assert api.call("GET", "/api/v2/pools/backup_proxy")["slots"] > 0


def test_the_connection_form_knows_all_types(api):
    forms = {form["connection_type"]: form for form in api.call("GET", "/ui/connections/hook_meta")}
    assert set(forms["vsphere"]["extra_fields"]) == {"thumbprint", "ca_file", "vddk", "disk_drivers", "limits"}
    assert forms["vmkeep"]["standard_fields"]["host"]["title"] == "Repository location"
    assert forms["vmkeep_guest"]["standard_fields"]["login"]["title"] == "User in the guest"


@pytest.mark.parametrize("conn_id", ["vsphere_default", "vmkeep_default"])
def test_the_button_of_a_connection_says_what_is_good_and_what_is_missing(api, connections, conn_id):
    fields = {**connections[conn_id], "connection_id": conn_id}
    if conn_id == "vsphere_default":
        fields["login"] = "readonly@vsphere.local"
    if "extra" in fields:
        fields["extra"] = json.dumps(fields["extra"])

    told = api.call("POST", "/api/v2/connections/test", fields)

    if conn_id == "vmkeep_default":
        assert told["status"], told["message"]
        assert "ok: " in told["message"]
        assert "write and remove" in told["message"]
    else:
        assert not told["status"]
        assert "VirtualMachine.State.CreateSnapshot" in told["message"]
        assert "ok: certificate, log-in" in told["message"]


def test_a_check_and_maintenance_run_by_the_api_and_leave_their_reports(api, site):
    before = points(site)
    for dag_id in ("repository_check", "repository_maintenance"):
        assert not api.knows(dag_id), "paused until somebody switches it on"
        api.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})
    check = api.trigger("repository_check", read_data=True)
    assert api.wait("repository_check", check, seconds=HANG) == "success"
    assert api.xcom("repository_check", check, "report")["check"]["data"] == "all"

    upkeep = api.trigger("repository_maintenance")
    assert api.wait("repository_maintenance", upkeep, seconds=HANG) == "success"
    report = api.xcom("repository_maintenance", upkeep, "report")
    assert report["prune"]["rule"] is None
    assert set(report) == {"approve", "prune", "extend_locks", "merge"}
    assert points(site) == before


def events_of(api: AirflowApi, run: str) -> dict[str, list[dict[str, str]]]:
    """Return the events that a run has emitted: asset's name → what they carry."""
    found: dict[str, list[dict[str, str]]] = {}
    for event in api.call("GET", "/api/v2/assets/events?order_by=-timestamp&limit=20")["asset_events"]:
        if event["source_run_id"] == run:
            found.setdefault(event["name"], []).append(event["extra"])
    return found
