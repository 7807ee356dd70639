"""A lab, a repository, and Airflow: in this process (``dag.test()``), or as processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from demo.airflow_home import AirflowHome
from demo.airflow_processes import AirflowProcesses, running_airflow
from demo.lab import Lab, LabControl
from demo.testing import enter_airflow_home
from tests.integration.airflow.watched import WatchedApi
from tests.patience import HANG
from vmkeep.clock import now
from vmkeep.model.site import Site, VCenter

enter_airflow_home()

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("vmlab") / "lab", options=["--data-disk-gib", "0.25"], env=os.environ)
    lab.start()
    try:
        lab.wait_ready()
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def control(lab) -> Iterator[LabControl]:
    control = lab.control()
    yield control
    control.call("POST", "/clear", {})
    control.call("POST", "/fault", {"nfc": {"latency": 0}})


@pytest.fixture(scope="session")
def site(lab, tmp_path_factory) -> Site:
    from vmkeep.repository import create_repository

    folder = tmp_path_factory.mktemp("repository")
    with create_repository(str(folder / "repo")):
        pass
    address = lab.wait_ready()
    vcenter = VCenter(
        host=address.host, port=address.port, user=address.user, password=address.password,
        thumbprint=address.thumbprint,
    )  # fmt: skip
    return Site(
        repository=str(folder / "repo"), vcenter=vcenter, vddk=address.vddk, catalog=f"sqlite:///{folder}/catalog.db"
    )


@pytest.fixture(scope="session")
def offsite(tmp_path_factory) -> str:
    """Return the location of a second repository, which gets the points of a policy."""
    from vmkeep.repository import create_repository

    location = str(tmp_path_factory.mktemp("offsite") / "repo")
    with create_repository(location):
        return location


@pytest.fixture(scope="session")
def connections(lab, site, offsite) -> dict[str, dict[str, object]]:
    return {
        "vmkeep_offsite": {"conn_type": "vmkeep", "host": offsite},
        "vsphere_default": lab.wait_ready().connection(),
        "vmkeep_default": {"conn_type": "vmkeep", "host": site.repository, "extra": {"catalog": site.catalog}},
    }


@pytest.fixture
def run_dag(connections, monkeypatch) -> Callable[..., DagRunResult]:
    """Run a DAG in this process, through a real Airflow database."""
    return dag_runner(connections, monkeypatch)


@pytest.fixture(scope="module")
def web01_backed_up(connections) -> DagRunResult:
    """Return the run of a backup of web01, for tests that need some point or some run that has ended."""
    with pytest.MonkeyPatch.context() as patch:
        run = dag_runner(connections, patch)("vm_backup", vm="web01")
    assert run.state == "success", run.states
    return run


def dag_runner(connections: dict[str, dict[str, object]], patch: pytest.MonkeyPatch) -> Callable[..., DagRunResult]:
    for name, fields in connections.items():
        patch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))

    def run(dag_id: str, **conf: object) -> DagRunResult:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # what Airflow deprecates in itself is no error of ours
            return DagRunResult(dag_of(dag_id).test(run_conf=conf, logical_date=None))

    return run


def dag_of(dag_id: str) -> Any:
    """Read a DAG's file."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags" / f"{dag_id}.py")).dags[dag_id]


class DagRunResult:
    """What a finished run looks like."""

    def __init__(self, run: Any) -> None:
        self.run_id = run.run_id
        self.state = str(run.state.value)
        self._run = run

    @property
    def states(self) -> dict[str, str]:
        return {
            ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": str(ti.state)
            for ti in self._run.get_task_instances()
        }

    @property
    def tries(self) -> dict[str, int]:
        return {ti.task_id: ti.try_number for ti in self._run.get_task_instances()}

    def xcom(self, task_id: str, map_index: int = -1, *, key: str = "return_value") -> object:
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            row = session.scalars(
                XComModel.get_many(run_id=self.run_id, task_ids=task_id, map_indexes=map_index, key=key)
            ).first()
            return XComModel.deserialize_value(row) if row is not None else None


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory, connections, policies) -> AirflowHome:
    home = AirflowHome(tmp_path_factory.mktemp("airflow"), connections=connections)
    home.set("core", "default_task_retry_delay", 1)
    home.set("workers", "execution_api_retry_wait_max", 1)
    home.set("scheduler", "task_instance_heartbeat_timeout_detection_interval", 2)
    home.set("scheduler", "orphaned_tasks_check_interval", 5)
    home.set("scheduler", "scheduler_heartbeat_sec", 1)
    home.set("scheduler", "scheduler_health_check_threshold", 30)
    home.set("scheduler", "scheduler_idle_sleep_time", 0.4)  # each look for work costs 0.02 CPU seconds
    home.set("vmkeep", "policies", policies)
    home.prepare()
    return home


@pytest.fixture(scope="session")
def policies(tmp_path_factory) -> Path:
    """Write a policy whose window is open for hours, one with a fault, and one that nobody switches on."""
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
    """Switch the sweep's schedule off. Tests run it themselves."""
    client = WatchedApi(airflow.home)
    wait_for_dags(client, airflow)
    client.call("PATCH", "/api/v2/dags/snapshot_sweep", {"is_paused": True})


def wait_for_dags(client: WatchedApi, airflow: AirflowProcesses) -> None:
    """Wait until the DAGs are registered of which the tests make runs."""
    end = time.monotonic() + HANG
    while not all(client.is_registered(name) for name in ("vm_backup", "vm_restore", "snapshot_sweep")):
        airflow.check()
        assert time.monotonic() < end, "the DAGs were not registered"
        time.sleep(0.2)


SHARED = pytest.StashKey[SharedAirflow]()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Stop the shared Airflow when the next test needs none: an idle one costs a fifth of a core."""
    shared = item.session.stash.get(SHARED, None)
    if shared is not None and (nextitem is None or "airflow" not in nextitem.fixturenames):
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
