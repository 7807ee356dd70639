"""Things that die in mid-copy, in a running Airflow: never green by mistake, never a snapshot left."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable

import psutil
import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

SLOW = {"nfc": {"latency": 0.25}}
"""Seconds per request of the disks' service: makes a copy of some MiB last long enough to be killed."""


@pytest.fixture
def slow_disks(control) -> Callable[[], None]:
    """Copies take many seconds until the returned function is called."""
    control.call("POST", "/fault", SLOW)
    return lambda: control.call("POST", "/fault", {"nfc": {"latency": 0}})


def copies(home: str) -> list[psutil.Process]:
    """Return the transfers' child processes that belong to an Airflow home."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "vmkeep.transfer" in process.cmdline() and process.environ().get("AIRFLOW_HOME") == home:
                found.append(process)
    return found


def await_copy(home: str, seconds: float = 60.0) -> psutil.Process:
    """Return a child process that copies."""
    end = time.monotonic() + seconds
    while not (found := copies(home)):
        assert time.monotonic() < end, "no copy has started"
        time.sleep(0.1)
    time.sleep(1.0)
    alive = [process for process in found if process.is_running()]
    return alive[0] if alive else await_copy(home, seconds)


def kill_task_of(child: psutil.Process) -> None:
    """Kill the worker process that runs a copy's task, and the one that supervises it."""
    task = child.parent()
    supervisor = task.parent()
    for process in (supervisor, task):
        process.send_signal(signal.SIGKILL)


def assert_nothing_is_left(control, airflow, vm: str = "app01") -> None:
    end = time.monotonic() + 30
    while copies(str(airflow.home.folder)):
        assert time.monotonic() < end, "a copy outlived its run"
        time.sleep(0.2)
    assert control.snapshots(vm) == []
    assert control.call("GET", "/state")["nfc"] == []


def assert_the_next_run_works(api, control) -> None:
    run = api.trigger("vm_backup", vm="app01")
    assert api.wait("vm_backup", run, seconds=120) == "success"
    assert control.snapshots("app01") == []


def points(site) -> set[str]:
    from vmkeep.repository import open_repository

    with open_repository(site.repository) as repository:
        return {point.ref for point in repository.points()}


def test_a_killed_copy_costs_one_try_and_the_run_still_ends_well(api, airflow, control, slow_disks):
    run = api.trigger("vm_backup", vm="app01", full=True)
    await_copy(str(airflow.home.folder)).send_signal(signal.SIGKILL)
    slow_disks()
    assert api.wait("vm_backup", run, seconds=120) == "success"
    tries = [task["try_number"] for task in api.tasks("vm_backup", run) if task["task_id"] == "copy_disk"]
    assert sorted(tries) == [1, 1, 2]
    assert_nothing_is_left(control, airflow)


def test_a_copy_killed_at_every_try_fails_the_run(api, airflow, control, site, slow_disks):
    before = points(site)
    run = api.trigger("vm_backup", vm="app01", full=True)
    while api.state("vm_backup", run) in {"queued", "running"}:
        for child in copies(str(airflow.home.folder)):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGKILL)
        time.sleep(0.3)
    assert api.state("vm_backup", run) == "failed"
    assert points(site) == before
    assert_nothing_is_left(control, airflow)
    slow_disks()
    assert_the_next_run_works(api, control)


def test_a_killed_worker_leaves_no_snapshot(api, airflow, control, slow_disks):
    run = api.trigger("vm_backup", vm="app01", full=True)
    kill_task_of(await_copy(str(airflow.home.folder)))
    slow_disks()
    state = api.wait("vm_backup", run, seconds=180)
    states = {(task["task_id"], task["map_index"]): task["state"] for task in api.tasks("vm_backup", run)}
    assert state == ("success" if set(states.values()) == {"success"} else "failed")
    assert states["remove_snapshot", -1] == "success"
    assert_nothing_is_left(control, airflow)
    assert_the_next_run_works(api, control)


def test_a_killed_scheduler_leaves_no_snapshot_once_it_runs_again(api, airflow, control, slow_disks):
    run = api.trigger("vm_backup", vm="app01", full=True)
    await_copy(str(airflow.home.folder))
    airflow.components["scheduler"].kill()
    slow_disks()
    airflow.restart("scheduler")
    state = api.wait("vm_backup", run, seconds=240)
    states = {(task["task_id"], task["map_index"]): task["state"] for task in api.tasks("vm_backup", run)}
    assert state == ("success" if set(states.values()) == {"success"} else "failed")
    assert_nothing_is_left(control, airflow)
    assert_the_next_run_works(api, control)


def test_a_run_marked_failed_by_hand_in_mid_copy_never_ends_well(api, airflow, control, site, slow_disks):
    before = points(site)
    events = len(api.call("GET", "/api/v2/assets/events")["asset_events"])
    run = api.trigger("vm_backup", vm="app01", full=True)
    await_copy(str(airflow.home.folder))
    api.call("PATCH", f"/api/v2/dags/vm_backup/dagRuns/{run.replace('+', '%2B')}", {"state": "failed"})
    end = time.monotonic() + 120
    while any(task["state"] in {"running", "queued", "scheduled", None} for task in api.tasks("vm_backup", run)):
        assert time.monotonic() < end, api.tasks("vm_backup", run)
        time.sleep(0.5)
    assert api.state("vm_backup", run) == "failed"
    assert_nothing_is_left(control, airflow)
    assert points(site) == before
    assert len(api.call("GET", "/api/v2/assets/events")["asset_events"]) == events
    slow_disks()
    assert_the_next_run_works(api, control)


def test_clearing_one_copy_never_seals_a_mix_of_two_snapshots(api, airflow, control, site):
    run = api.trigger("vm_backup", vm="app01", full=True)
    assert api.wait("vm_backup", run, seconds=120) == "success"
    before = points(site)
    api.call(
        "POST",
        "/api/v2/dags/vm_backup/clearTaskInstances",
        {
            "dry_run": False, "dag_run_id": run, "task_ids": [["copy_disk", 1]], "include_downstream": True,
            "only_failed": False, "reset_dag_runs": True,
        },
    )  # fmt: skip
    assert api.wait("vm_backup", run, seconds=120) == "failed"
    failed = {task["task_id"] for task in api.tasks("vm_backup", run) if task["state"] == "failed"}
    assert failed == {"catalog", "close_run"}
    assert points(site) == before
    assert_nothing_is_left(control, airflow)


def test_a_run_that_is_cleared_whole_makes_a_point_of_its_own(api, airflow, control, site):
    run = api.trigger("vm_backup", vm="web01")
    assert api.wait("vm_backup", run, seconds=120) == "success"
    before = points(site)
    api.call("POST", f"/api/v2/dags/vm_backup/dagRuns/{run.replace('+', '%2B')}/clear", {"dry_run": False})
    assert api.wait("vm_backup", run, seconds=120) == "success"
    assert len(points(site) - before) == 1
    assert_nothing_is_left(control, airflow, "web01")
