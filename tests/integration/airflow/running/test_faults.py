"""Things that die in mid-copy, in a running Airflow: never green by mistake, never a snapshot left.

The first test finds the scheduler as shipped. The second one restarts it, with less patience for dead tasks.
Each begins with a run of the VM that the one before it has left, and the last of these runs ends well.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from datetime import timedelta

import psutil
import pytest

from demo.airflow_home import OUTAGE
from tests.integration.airflow.running.restore_runs import quoted
from tests.patience import HANG, eventually
from vmkeep.clock import now

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

STUCK = {"nfc": {"on": "read", "hang_seconds": 300, "after_bytes": 16 << 20, "count": None, "disk": "app01_2"}}
"""The data disk's reads hang after 16 MiB: the copy stays in its middle until the fault is cleared."""
CHECKPOINT_SECONDS = 30.0
"""A copy that has worked for so long keeps a cursor with the next piece that it reads."""
POOL = "/api/v2/pools/backup_proxy"
AS_SHIPPED = OUTAGE["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"]
HURRIED = "20"
"""Seconds without a heartbeat after which the scheduler takes a task for dead."""
TRIED_AGAIN = "airflow.sdk.api.client.Client.request"
"""In the log of whoever supervises a task: a line for each call that is tried again."""


@pytest.fixture
def stuck_disk(control) -> Callable[[], None]:
    """A copy stays in its middle until the returned function is called, which takes added latency away, too."""
    control.call("POST", "/fault", STUCK)
    return lambda: control.call("POST", "/clear", {})


def copies(home: str) -> list[psutil.Process]:
    """Return the transfers' child processes that belong to an Airflow home."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "vmkeep.transfer" in process.cmdline() and process.environ().get("AIRFLOW_HOME") == home:
                found.append(process)
    return found


def await_stuck_copy(api, run: str, home: str, *, tries: int = 1) -> psutil.Process:
    """Return the child process of the one copy that is stuck at that try, when all others have ended."""
    end = time.monotonic() + HANG
    while True:
        copying = [task for task in api.seen("vm_backup", run) if task["task_id"] == "copy_disk"]
        states = sorted(str(task["state"]) for task in copying)
        stuck = [task for task in copying if task["state"] == "running" and task["try_number"] == tries]
        if stuck and states == ["running", "success", "success"] and len(found := copies(home)) == 1:
            return found[0]
        assert time.monotonic() < end, f"no copy is in its middle: {states}"
        time.sleep(0.1)


def kill_task_of(child: psutil.Process) -> None:
    """Kill the worker process that runs a copy's task, and the one that supervises it."""
    task = child.parent()
    supervisor = task.parent()
    for process in (supervisor, task):
        process.send_signal(signal.SIGKILL)


def assert_no_copy_lives(airflow) -> None:
    end = time.monotonic() + HANG
    while copies(str(airflow.home.folder)):
        assert time.monotonic() < end, "a copy outlived its end"
        time.sleep(0.2)


def assert_nothing_is_left(control, airflow, vm: str = "app01") -> None:
    assert_no_copy_lives(airflow)
    assert control.snapshots(vm) == []
    end = time.monotonic() + HANG
    while open_disks := control.call("GET", "/state")["nfc"]:
        assert time.monotonic() < end, f"disks are still open: {open_disks}"
        time.sleep(0.2)


def points(site) -> set[str]:
    from vmkeep.repository import open_repository

    with open_repository(site.repository) as repository:
        return {point.ref for point in repository.points()}


def let_the_scheduler_take_tasks_for_dead_after(airflow, seconds: str) -> None:
    """Restart it, unless it does so already."""
    section, key = "scheduler", "task_instance_heartbeat_timeout"
    if airflow.home.get(section, key) != seconds:
        airflow.home.set(section, key, seconds)
        airflow.components["scheduler"].kill()
        airflow.restart("scheduler")


def test_a_copy_outlives_an_api_server_and_its_own_death_costs_one_try(api, airflow, control, stuck_disk):
    let_the_scheduler_take_tasks_for_dead_after(airflow, AS_SHIPPED)
    home = str(airflow.home.folder)
    control.call("POST", "/fault", {"nfc": {"latency": 2.0}})  # else it would end before it is stuck again
    run = api.trigger("vm_backup", vm="app01", full=True)
    child = await_stuck_copy(api, run, home)
    stuck_since = time.monotonic()
    airflow.components["api-server"].kill()
    await_calls_that_are_tried_again(airflow, child)
    airflow.restart("api-server")
    airflow.wait_ready()
    assert tries_of_copies(api, run) == [1, 1, 1]

    eventually(lambda: time.monotonic() - stuck_since > CHECKPOINT_SECONDS, "a checkpoint")
    stuck_disk()
    control.call("POST", "/fault", {"nfc": STUCK["nfc"] | {"after_bytes": 4 << 20}})
    await_cursor(api, run, "Hard disk 3")
    assert copies(home) == [child]
    child.send_signal(signal.SIGKILL)
    stuck_disk()
    assert api.wait("vm_backup", run, seconds=HANG) == "success"
    assert tries_of_copies(api, run) == [1, 1, 2]
    again = copy_of(api, run, "Hard disk 3")
    assert "Hard disk 3: goes on at" in api.log("vm_backup", again)
    assert api.xcom("vm_backup", run, "copy_disk", map_index=again["map_index"])["resumed_at"] > 0
    assert_nothing_is_left(control, airflow)


def await_calls_that_are_tried_again(airflow, child: psutil.Process) -> None:
    """Return when a task of Airflow's own settings would have ended: after 3 heartbeats of 5 tries each."""
    log = airflow.components["scheduler"].log
    before = log.read_text().count(TRIED_AGAIN)
    end = time.monotonic() + HANG
    while log.read_text().count(TRIED_AGAIN) < before + 20:
        assert time.monotonic() < end, "no heartbeat is tried again"
        assert child.is_running()
        time.sleep(0.5)


def await_cursor(api, run: str, label: str) -> None:
    path = f"/api/v2/dags/vm_backup/dagRuns/{quoted(run)}/taskInstances/copy_disk/state-store"
    index = copy_of(api, run, label)["map_index"]
    end = time.monotonic() + HANG
    while "cursor" not in {one["key"] for one in api.call("GET", f"{path}?map_index={index}")["task_state_store"]}:
        assert time.monotonic() < end, "no cursor was kept"
        time.sleep(0.5)


def copy_of(api, run: str, label: str) -> dict[str, object]:
    copying = (task for task in api.tasks("vm_backup", run) if task["task_id"] == "copy_disk")
    return next(task for task in copying if task["rendered_map_index"] == label)


def tries_of_copies(api, run: str) -> list[int]:
    return sorted(task["try_number"] for task in api.tasks("vm_backup", run) if task["task_id"] == "copy_disk")


def test_a_killed_scheduler_and_then_a_killed_worker_leave_no_snapshot(api, airflow, control, stuck_disk):
    home = str(airflow.home.folder)
    run = api.trigger("vm_backup", vm="app01", full=True)
    await_stuck_copy(api, run, home)
    airflow.components["scheduler"].kill()
    airflow.home.set("scheduler", "task_instance_heartbeat_timeout", HURRIED)
    airflow.restart("scheduler")
    kill_task_of(await_stuck_copy(api, run, home, tries=2))
    stuck_disk()
    state = api.wait("vm_backup", run, seconds=HANG)
    states = {(task["task_id"], task["map_index"]): task["state"] for task in api.tasks("vm_backup", run)}
    assert state == ("success" if set(states.values()) == {"success"} else "failed")
    assert states["remove_snapshot", -1] == "success"
    assert_nothing_is_left(control, airflow)


def test_a_copy_killed_at_every_try_fails_the_run_and_leaves_a_cause_that_a_fresh_start_heals(
    api, airflow, control, site, stuck_disk
):
    home = str(airflow.home.folder)
    before = points(site)
    run = api.trigger("vm_backup", vm="app01", full=True)
    for number in range(1, 4):
        await_stuck_copy(api, run, home, tries=number).send_signal(signal.SIGKILL)
    await_stuck_copy(api, run, home, tries=4).parent().send_signal(signal.SIGKILL)
    assert_no_copy_lives(airflow)
    stuck_disk()
    assert api.wait("vm_backup", run, seconds=HANG) == "failed"
    assert tries_of_copies(api, run) == [1, 1, 4]
    (killed,) = [
        task["map_index"]
        for task in api.tasks("vm_backup", run)
        if task["state"] == "failed" and task["task_id"] == "copy_disk"
    ]
    cause = api.xcom("vm_backup", run, "copy_disk", map_index=killed, key="failure")
    assert cause["recovery"] == "retry"
    assert cause["why"].startswith("task copy_disk was killed in its last try")
    assert points(site) == before
    assert_nothing_is_left(control, airflow)


def test_a_run_that_a_window_stops_wherever_it_is_seals_nothing_and_leaves_no_snapshot(
    api, airflow, control, site, stuck_disk
):
    before = points(site)
    end = now() + timedelta(seconds=5)
    run = api.trigger("vm_backup", vm="app01", full=True, stop_at=end.isoformat())
    eventually(lambda: now() > end, "the end of the window")
    assert_no_copy_lives(airflow)
    stuck_disk()
    assert api.wait("vm_backup", run, seconds=HANG) == "failed"
    assert_nothing_is_left(control, airflow)
    assert points(site) == before
    assert max(tries_of_copies(api, run), default=0) <= 1, "what is stopped is not tried again"


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_run_marked_by_hand_in_mid_copy_cleans_up_and_never_ends_well(api, airflow, control, site, stuck_disk, state):
    before = points(site)
    events = len(api.call("GET", "/api/v2/assets/events")["asset_events"])
    run = api.trigger("vm_backup", vm="app01", full=True)
    await_stuck_copy(api, run, str(airflow.home.folder))
    api.call("PATCH", f"/api/v2/dags/vm_backup/dagRuns/{quoted(run)}", {"state": state})
    assert_no_copy_lives(airflow)
    stuck_disk()
    end = time.monotonic() + HANG
    while any(task["state"] in {"running", "queued", "scheduled", None} for task in api.seen("vm_backup", run)):
        assert time.monotonic() < end, api.seen("vm_backup", run)
        time.sleep(0.1)
    # While its teardowns ran, the run counted as running again: the scheduler has to look at it once more.
    assert api.wait("vm_backup", run, seconds=HANG) == "failed"
    assert_nothing_is_left(control, airflow)
    assert points(site) == before
    assert len(api.call("GET", "/api/v2/assets/events")["asset_events"]) == events


def test_a_copy_marked_a_success_by_hand_in_its_middle_never_ends_well(api, airflow, control, site, stuck_disk):
    before = points(site)
    run = api.trigger("vm_backup", vm="app01", full=True)
    child = await_stuck_copy(api, run, str(airflow.home.folder))
    (stuck,) = [task for task in api.tasks("vm_backup", run) if task["state"] == "running"]
    api.mark("vm_backup", run, f"copy_disk/{stuck['map_index']}", "success")
    assert_no_copy_lives(airflow)
    stuck_disk()
    assert api.wait("vm_backup", run, seconds=HANG) == "failed"
    assert not child.is_running()
    catalog = next(task for task in api.tasks("vm_backup", run) if task["task_id"] == "catalog")
    assert "Hard disk 3: 0 copies" in api.log("vm_backup", catalog)
    assert_nothing_is_left(control, airflow)
    assert points(site) == before


def test_no_vm_gets_a_snapshot_while_copies_take_all_slots(api, airflow, control, stuck_disk):
    slots = api.call("GET", POOL)["slots"]
    set_slots(api, 1)
    try:
        first = api.trigger("vm_backup", vm="app01", full=True)
        await_copy(api, first)
        other = api.trigger("vm_backup", vm="web01")
        await_state(api, other, "snapshot", "scheduled")
        assert control.snapshots("web01") == []
        stuck_disk()
        assert {api.wait("vm_backup", run, seconds=HANG) for run in (first, other)} == {"success"}
    finally:
        set_slots(api, slots)
    assert_nothing_is_left(control, airflow)


def set_slots(api, slots: int) -> None:
    body = {"pool": "backup_proxy", "slots": slots, "include_deferred": False}
    api.call("PATCH", f"{POOL}?update_mask=slots", body)


def await_copy(api, run: str) -> None:
    """Return when a copy of a run works, and another one waits for its slot."""
    end = time.monotonic() + HANG
    while True:
        states = {str(task["state"]) for task in api.seen("vm_backup", run) if task["task_id"] == "copy_disk"}
        if {"running", "scheduled"} <= states or ("running" in states and "success" in states):
            return
        assert time.monotonic() < end, states
        time.sleep(0.2)


def await_state(api, run: str, task_id: str, state: str) -> None:
    end = time.monotonic() + HANG
    while (found := {task["task_id"]: task["state"] for task in api.seen("vm_backup", run)})[task_id] != state:
        assert time.monotonic() < end, found
        time.sleep(0.2)
