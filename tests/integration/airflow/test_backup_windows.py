"""A policy's window in a running Airflow: its scheduler opens it, each VM gets a run, and a clear starts none twice."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from demo.api import AirflowApi
from tests.patience import HANG
from vmkeep.repository import open_repository

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

WINDOW = "backup_window_always"


def wait_for_run(api: AirflowApi) -> str:
    """Return the run that the scheduler makes of the open window."""
    end = time.monotonic() + HANG
    while not (runs := api.call("GET", f"/api/v2/dags/{WINDOW}/dagRuns")["dag_runs"]):
        assert time.monotonic() < end, "the scheduler opened no window"
        time.sleep(0.2)
    (run,) = runs
    assert run["run_type"] == "scheduled"
    return str(run["dag_run_id"])


@pytest.fixture(scope="module")
def window(api) -> Iterator[str]:
    api.call("PATCH", f"/api/v2/dags/{WINDOW}", {"is_paused": False})
    run = wait_for_run(api)
    assert api.wait(WINDOW, run, seconds=HANG) == "success"
    yield run
    api.call("PATCH", f"/api/v2/dags/{WINDOW}", {"is_paused": True})


def backups(api: AirflowApi) -> dict[str, str]:
    """Return the state of each backup of the window, by its run's id."""
    runs = api.call("GET", "/api/v2/dags/vm_backup/dagRuns?limit=200")["dag_runs"]
    return {run["dag_run_id"]: run["state"] for run in runs if run["dag_run_id"].startswith("always__")}


def test_each_vm_of_the_policy_is_backed_up_in_a_run_that_names_it(api, window):
    found = backups(api)
    assert sorted(run.split("__")[2] for run in found) == ["db01", "web01"]
    assert set(found.values()) == {"success"}
    report = api.xcom(WINDOW, window, "report")
    assert (sorted(report["done"]), report["failed"], report["not started"]) == (["db01", "web01"], [], [])
    assert "app01" in report["unprotected"]
    assert api.run(WINDOW, window)["note"].startswith("2 done; ")
    assert (report["left to other policies"], report["conflicts"]) == ([], ["web01"])
    (note,) = {api.run("vm_backup", run)["note"] for run in found if "__db01__" in run}
    assert note.startswith("db01 (policy always")
    assert {api.xcom("vm_backup", run, "preflight")["request"]["policy"] for run in found} == {"always"}


def test_the_second_repository_of_the_policy_has_the_points_of_the_window(api, window, offsite):
    assert api.xcom(WINDOW, window, "report")["copied"] == ["vmkeep_offsite: 2 points"]
    with open_repository(offsite) as repository:
        assert sorted(point.vm.name for point in repository.points()) == ["db01", "web01"]
        assert {point.policy for point in repository.points()} == {"always"}


def test_a_window_that_is_cleared_starts_no_backup_twice(api, window):
    before = backups(api)
    api.clear(WINDOW, window, "plan", "start_backups", "report")
    assert api.wait(WINDOW, window, seconds=HANG) == "success"
    assert backups(api) == before
    assert sorted(api.xcom(WINDOW, window, "report")["done"]) == ["db01", "web01"]


def test_a_policy_with_faults_is_an_import_error_and_the_others_live(api, window):
    errors = api.call("GET", "/api/v2/importErrors")["import_errors"]
    (error,) = [error for error in errors if error["filename"].endswith("policy_faults.py")]
    assert "broken.yaml:1:1: selection is missing" in error["stack_trace"]
    assert not api.call("GET", f"/api/v2/dags/{WINDOW}")["has_import_errors"]


def test_a_window_whose_file_is_broken_meanwhile_comes_to_its_end_and_an_event_tells_of_it(api, window, policies):
    assert api.xcom(WINDOW, window, "notify") == {"told": False, "mail": []}
    sound = (policies / "always.yaml").read_text()
    (policies / "always.yaml").write_text("[")
    try:
        api.clear(WINDOW, window, "notify", "report")
        assert api.wait(WINDOW, window, seconds=HANG) == "success"
    finally:
        (policies / "always.yaml").write_text(sound)
    assert api.xcom(WINDOW, window, "notify") == {"told": True, "mail": []}
    (event,) = api.call("GET", f"/api/v2/assets/events?source_dag_id={WINDOW}")["asset_events"]
    assert (event["name"], event["extra"]["policy"], event["extra"]["problems"]) == ("vmkeep_windows", "always", [])
    assert event["extra"]["vms"]["done"] == 2
