"""A lab, a repository, and runs of DAGs in the process of the test (``dag.test()``)."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.lab import Lab, LabControl
from demo.testing import enter_airflow_home
from tests.integration.flows.restoring import back_up
from vmkeep.model.site import Site, VCenter

enter_airflow_home()

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True, scope="session")
def _open_memory() -> Iterator[None]:
    """Leave the process of the tests as it is: what a task hides stays hidden, and later tests look at core dumps."""
    with pytest.MonkeyPatch.context() as patch:  # of the whole session, because fixtures of a module run DAGs, too
        patch.setattr("vmkeep_airflow.site.hide_memory", lambda: None)
        yield


@pytest.fixture(autouse=True, scope="module")
def _forked_transfers(transfer_server) -> Iterator[None]:
    """Fork the children of transfers of tasks that run in this process."""
    with transfer_server.in_use():
        yield


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
def web01_point(site) -> str:
    """Return a point of web01, made by the engine alone. Tests may have written to the VM since."""
    return str(back_up(site, "web01").point)


@pytest.fixture(scope="module")
def web01_backed_up(connections) -> DagRunResult:
    """Return the run of a backup of web01, for tests that need some run that has ended."""
    with pytest.MonkeyPatch.context() as patch:
        run = dag_runner(connections, patch)("vm_backup", vm="web01")
    assert run.state == "success", run.states
    return run


def dag_runner(connections: dict[str, dict[str, object]], patch: pytest.MonkeyPatch) -> Callable[..., DagRunResult]:
    for name, fields in connections.items():
        patch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
    patch.setattr(time, "sleep", hurried(time.sleep))

    def run(dag_id: str, **conf: object) -> DagRunResult:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # what Airflow deprecates in itself is no error of ours
            return DagRunResult(dag_of(dag_id).test(run_conf=conf, logical_date=None))

    return run


def hurried(sleep: Callable[[float], None]) -> Callable[[float], None]:
    """Return a sleep that is short for ``dag.test()``, because it sleeps for a second whenever no task can begin."""

    def short_for_airflow(seconds: float) -> None:
        is_airflow = sys._getframe(1).f_globals.get("__name__") == "airflow.sdk.definitions.dag"
        sleep(0.05 if is_airflow else seconds)

    return short_for_airflow


def dag_of(dag_id: str) -> Any:
    """Read a DAG's file."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags" / f"{dag_id}.py")).dags[dag_id]


class DagRunResult:
    """End of a run: its state, and the traces of its tasks."""

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
