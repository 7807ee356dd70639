"""The DAG that backs up hosts: the good ones are kept, the failed ones are told, and a retry takes only those."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from vmkeep.flows import host_points
from vmkeep.repository import create_repository, open_repository
from vmkeep_airflow.reports import table
from vmlab.lab import LabOptions, LabServer

# Airflow's plugin loader uses a function that a library of its own has deprecated.
pytestmark = pytest.mark.filterwarnings("default:GitWildMatchPattern:DeprecationWarning")


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    server = LabServer(LabOptions(folder=tmp_path_factory.mktemp("lab"), data_disk_bytes=32 << 20))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def location(lab, tmp_path, monkeypatch):
    """A repository, and the connections to it and to the lab."""
    location = str(tmp_path / "repo")
    create_repository(location)
    known = lab.describe()
    vsphere = {
        "conn_type": "vsphere", "host": "127.0.0.1", "port": lab.port, "login": known["user"],
        "password": known["password"], "extra": {"thumbprint": known["thumbprint"]},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_VSPHERE_DEFAULT", json.dumps(vsphere))
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps({"conn_type": "vmkeep", "host": location}))
    yield location
    lab.site.world.set_meta("host_states", {})


@pytest.fixture
def try_once():
    """Run the task once with these params of its DAG's run; return the result that it leaves, and its error."""
    dag = DagBag(str(ROOT / "dags" / "host_config_backup.py")).dags["host_config_backup"]

    def run(**conf):
        left = {}

        def push(key, value):
            left.update(value if key == "return_value" else {key: value})

        ti = SimpleNamespace(try_number=1, max_tries=0, xcom_push=push)
        task = dag.task_dict["back_up_hosts"].prepare_for_execution()
        params = process_params(dag, task, conf, suppress_exception=False)
        context = {
            "dag": dag, "dag_run": SimpleNamespace(conf=conf), "params": params, "run_id": "scheduled__1", "ti": ti,
        }  # fmt: skip
        task.render_template_fields(context)
        try:
            return task.execute(context), None
        except AirflowException as error:
            return left, error

    return run


def test_a_failed_host_fails_the_task_and_a_retry_takes_only_this_one(lab, location, try_once):
    lab.site.world.set_meta("host_states", {"host-12": "disconnected"})
    left, error = try_once()

    assert error is not None
    assert not isinstance(error, AirflowFailException), "a retry may help"
    assert (left["hosts_backed_up"], left["hosts_failed"]) == (1, 1)
    assert left["failed"]["esx02.localhost"].startswith("host esx02.localhost is disconnected")
    assert "  failed: esx02.localhost" in "\n".join(table({"back_up_hosts": left}))

    lab.site.world.set_meta("host_states", {})
    lab.site.faults.calls.clear()
    again, error = try_once()

    assert error is None
    assert (again["hosts_backed_up"], lab.site.faults.calls["BackupFirmwareConfiguration"]) == (2, 1)
    with open_repository(location) as repository:
        assert [host.points for host in host_points.list_hosts(repository)] == [1, 1]


def test_the_field_hosts_takes_some_and_a_name_that_is_none_fails_at_once(location, try_once):
    done, _ = try_once(hosts=[" esx01.localhost ", ""])
    assert (done["hosts_backed_up"], len(done["points"])) == (1, 1)

    _, error = try_once(hosts=["esx77"])
    assert isinstance(error, AirflowFailException)
    assert "no host 'esx77'" in str(error)
