"""One running Airflow, as processes of its own, for all tests that need one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.airflow_home import AirflowHome
from demo.airflow_processes import AirflowProcesses, running_airflow
from tests.integration.airflow.running.watched import WatchedApi
from tests.patience import HANG
from vmkeep.clock import now


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory, connections, policies) -> AirflowHome:
    home = AirflowHome(tmp_path_factory.mktemp("airflow"), connections=connections)
    home.set("core", "default_task_retry_delay", 0)  # growing pauses stay at a second then
    home.set("workers", "execution_api_retries", 600)  # so that tasks outlive an API server that starts slowly
    home.set("workers", "execution_api_retry_wait_max", 1)
    home.set("scheduler", "task_instance_heartbeat_timeout_detection_interval", 2)
    home.set("scheduler", "orphaned_tasks_check_interval", 5)
    home.set("scheduler", "scheduler_heartbeat_sec", 1)
    home.set("scheduler", "scheduler_health_check_threshold", 30)
    home.set("scheduler", "scheduler_idle_sleep_time", 0.4)  # each look for work costs 0.02 CPU seconds
    home.set("vmkeep", "policies", policies)
    home.set("core", "simple_auth_manager_users", "admin:admin,operator:user")
    rules = tmp_path_factory.mktemp("rules") / "rules.yar"
    rules.write_text('rule Mark { strings: $a = "HOSTILE-MALWARE-MARK" condition: $a }')
    home.give("VMKEEP_YARA", rules)
    home.prepare()
    return home


@pytest.fixture(scope="session")
def policies(tmp_path_factory) -> Path:
    """Write a policy whose window is open for hours, one with a fault, and two that nobody switches on."""
    folder: Path = tmp_path_factory.mktemp("policies")
    hour = (now().hour + 12) % 24
    (folder / "always.yaml").write_text(
        "name: always\nselection: name:web01 or name:db01\nlimits: {backups_at_once: 1}\n"
        "repository: {copies: [vmkeep_offsite]}\n"
        f'window: {{start: "{hour:02}:00", end: "{hour:02}:00", time_zone: UTC}}\n'
    )
    (folder / "asleep.yaml").write_text(
        "name: asleep\nselection: name:web01\nwindow: {start: 01:00, end: 02:00, time_zone: UTC}\n"
    )
    (folder / "exports").mkdir()
    (folder / "exported.yaml").write_text(
        "name: exported\nselection: name:web01\nwindow: {start: 01:00, end: 02:00, time_zone: UTC}\n"
        f"exports: [{{out: {folder}/exports, format: raw}}]\n"
    )
    (folder / "broken.yaml").write_text("name: broken\n")
    return folder


class SharedAirflow:
    """The Airflow of all tests that need a running one: started for the first of them, and stopped after the last."""

    def __init__(self, home: AirflowHome) -> None:
        self._home = home
        self._stack = ExitStack()
        self._processes: AirflowProcesses | None = None

    def processes(self) -> AirflowProcesses:
        """Return it running."""
        if self._processes is None:
            # No DAG of ours defers a task, so that there is nothing for a triggerer to do.
            # The scheduler comes last, because the sweep is switched on from the start: it would remove leftovers that
            # tests look at, and a task that starts while a DAG is paused locks SQLite up for a minute.
            started = self._stack.enter_context(running_airflow(self._home, without={"triggerer", "scheduler"}))
            started.wait_ready(HANG)
            pause_sweep(started)
            started.restart("scheduler")
            self._processes = started
        return self._processes

    def stop(self) -> None:
        self._processes = None
        self._stack.close()


def pause_sweep(airflow: AirflowProcesses) -> None:
    """Switch off the schedules of the sweep, which tests run themselves, and of the look for missed windows."""
    client = WatchedApi(airflow.home)
    wait_for_dags(client, airflow)
    for name in ("snapshot_sweep", "missed_windows"):
        client.call("PATCH", f"/api/v2/dags/{name}", {"is_paused": True})


def wait_for_dags(client: WatchedApi, airflow: AirflowProcesses) -> None:
    """Wait until the DAGs are registered of which the tests make runs."""
    end = time.monotonic() + HANG
    while not all(
        client.is_registered(name) for name in ("vm_backup", "vm_restore", "snapshot_sweep", "missed_windows")
    ):
        airflow.check()
        assert time.monotonic() < end, "the DAGs were not registered"
        time.sleep(0.2)


SHARED = pytest.StashKey[SharedAirflow]()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Stop the shared Airflow when the next test is of another folder, because an idle one costs a fifth of a core."""
    shared = item.session.stash.get(SHARED, None)
    if shared is not None and (nextitem is None or Path(__file__).parent not in nextitem.path.parents):
        shared.stop()


@pytest.fixture(scope="session")
def shared_airflow(airflow_home, request) -> Iterator[SharedAirflow]:
    shared = SharedAirflow(airflow_home)
    request.session.stash[SHARED] = shared
    yield shared
    shared.stop()
    shutil.rmtree(airflow_home.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def airflow(shared_airflow: SharedAirflow) -> AirflowProcesses:
    return shared_airflow.processes()


@pytest.fixture(scope="module")
def api(airflow) -> WatchedApi:
    client = WatchedApi(airflow.home)
    wait_for_dags(client, airflow)
    return client
