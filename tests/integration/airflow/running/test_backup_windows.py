"""A policy's window in a running Airflow: its scheduler opens it, each VM gets a run, and a clear starts none twice.

The first VM is switched off between its plan and its snapshot, so that its backup fails and the window starts it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

from tests.integration.airflow.running.watched import WatchedApi
from tests.patience import HANG, eventually
from vmkeep.model.site import Site
from vmkeep.repository import open_repository
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.tasks import wait_task

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

WINDOW = "backup_window_always"
POOL = "/api/v2/pools/backup_proxy"


def wait_for_run(api: WatchedApi) -> str:
    """Return the run that the scheduler makes of the open window."""
    end = time.monotonic() + HANG
    while not (runs := api.call("GET", f"/api/v2/dags/{WINDOW}/dagRuns")["dag_runs"]):
        assert time.monotonic() < end, "the scheduler opened no window"
        time.sleep(0.2)
    (run,) = runs
    assert run["run_type"] == "scheduled"
    return str(run["dag_run_id"])


@pytest.fixture(scope="module")
def window(api, site) -> Iterator[str]:
    """Return the run of a window, in which the first VM was switched off before its snapshot."""
    eventually(lambda: api.is_registered(WINDOW), f"the DAG {WINDOW}")
    with pool_without_slots(api):
        api.call("PATCH", f"/api/v2/dags/{WINDOW}", {"is_paused": False})
        run = wait_for_run(api)
        (first,) = eventually(lambda: backups(api), "the first backup")
        moref = first.split("__")[3]
        eventually(lambda: snapshot_waits(api, first), "a snapshot that waits for the pool")
        switch(site, moref, on=False)
    try:
        assert api.wait(WINDOW, run, seconds=HANG) == "success", note_of(api, WINDOW, run)
    finally:
        switch(site, moref, on=True)
    yield run
    api.call("PATCH", f"/api/v2/dags/{WINDOW}", {"is_paused": True})


def note_of(api: WatchedApi, dag_id: str, run: str) -> str:
    return str(api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run)}")["note"])


@contextmanager
def pool_without_slots(api: WatchedApi) -> Iterator[None]:
    """Let no snapshot begin."""
    slots = api.call("GET", POOL)["slots"]
    set_slots(api, 0)
    try:
        yield
    finally:
        set_slots(api, slots)


def set_slots(api: WatchedApi, slots: int) -> None:
    body = {"pool": "backup_proxy", "slots": slots, "include_deferred": False}
    api.call("PATCH", f"{POOL}?update_mask=slots", body)


def snapshot_waits(api: WatchedApi, run: str) -> bool:
    return ("snapshot", "scheduled") in {(task["task_id"], task["state"]) for task in api.seen("vm_backup", run)}


def switch(site: Site, moref: str, *, on: bool) -> None:
    """Let an administrator switch a VM on or off."""
    with open_session(site.vcenter) as session:
        vm = session.vm(moref)
        wait_task(session, vm.PowerOnVM_Task(None) if on else vm.PowerOffVM_Task(), what="test", timeout=HANG)


def backups(api: WatchedApi) -> dict[str, str]:
    """Return the state of each backup of the window, by its run's id, in the order of their starts."""
    runs = api.call("GET", "/api/v2/dags/vm_backup/dagRuns?limit=200&order_by=run_after")["dag_runs"]
    return {run["dag_run_id"]: run["state"] for run in runs if run["dag_run_id"].startswith("always__")}


def test_each_vm_of_the_policy_is_backed_up_in_a_run_that_names_it(api, window):
    done = [run for run, state in backups(api).items() if state == "success"]
    assert sorted(run.split("__")[2] for run in done) == ["db01", "web01"]
    report = api.xcom(WINDOW, window, "report")
    assert (sorted(report["done"]), report["failed"], report["not started"]) == (["db01", "web01"], [], [])
    assert "app01" in report["unprotected"]
    assert api.run(WINDOW, window)["note"].startswith("2 done; 1 started again; ")
    assert (report["left to other policies"], report["conflicts"]) == ([], ["web01"])
    for run in done:
        vm = run.split("__")[2]
        assert api.run("vm_backup", run)["note"].startswith(f"{vm} (policy always")
        assert api.xcom("vm_backup", run, "preflight")["request"]["policy"] == "always"


def test_a_backup_that_fails_because_its_vm_was_switched_off_is_started_once_more_after_the_others(api, window):
    (first, _), (other, other_state), (again, again_state) = backups(api).items()
    assert (again, other_state, again_state) == (f"{first}__again-1", "success", "success")
    assert other.split("__")[2] != first.split("__")[2]
    assert backups(api)[first] == "failed"

    vm = first.split("__")[2]
    why = f"VM {vm} was switched off since its backup was planned: start again"
    assert api.xcom(WINDOW, window, "report")["started again"] == [f"{vm}: 1 time, done; last failure: {why}"]
    note = api.run("vm_backup", again)["note"]
    assert f"started once more, because the run before failed: {why})" in note
    outcomes = {one["run_id"]: one for one in api.xcom(WINDOW, window, "start_backups")["outcomes"]}
    assert {run: (one["ending"], one["again"]) for run, one in outcomes.items()} == {
        other: ("done", 0),
        again: ("done", 1),
    }


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
    assert api.xcom(WINDOW, window, "notify") == {"told": False, "mail": [], "untold": []}
    sound = (policies / "always.yaml").read_text()
    (policies / "always.yaml").write_text("[")
    try:
        api.clear(WINDOW, window, "notify", "report")
        assert api.wait(WINDOW, window, seconds=HANG) == "success"
    finally:
        (policies / "always.yaml").write_text(sound)
    assert api.xcom(WINDOW, window, "notify") == {"told": True, "mail": [], "untold": []}
    events = api.call("GET", f"/api/v2/assets/events?source_dag_id={WINDOW}")["asset_events"]
    (event,) = [event for event in events if event["name"] == "vmkeep_windows"]
    assert (event["extra"]["policy"], event["extra"]["problems"]) == ("always", [])
    assert event["extra"]["vms"]["done"] == 2
