"""The DAG that backs up hosts: the good ones are kept, the failed ones are told, and a retry takes only those."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from vmkeep.flows import host_ages, host_points
from vmkeep.repository import create_repository, open_repository
from vmkeep_airflow.causes import REASON
from vmkeep_airflow.operators.find_overdue_hosts import FindOverdueHostsOperator
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
        ti = SimpleNamespace(dag_id=dag.dag_id, try_number=1, max_tries=0, xcom_push=push_to(left))
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


def push_to(left):
    return lambda key, value: left.update(value if key == "return_value" else {key: value})


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


def test_a_host_without_a_young_bundle_is_an_alarm_once_any_host_of_its_vcenter_has_one(
    location, try_once, tmp_path, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    (tmp_path / "away.yaml").write_text(
        "name: away\nselection: name:*\nvsphere: gone\nwindow: {start: 22:00, end: 06:00, time_zone: UTC}\n"
    )
    left: dict[str, object] = {}
    context = {"ti": SimpleNamespace(dag_id="missed_backups", xcom_push=push_to(left))}
    find = partial(FindOverdueHostsOperator(task_id="find_hosts").execute, context)
    assert find() == {"vsphere_default": []}

    try_once(hosts=["esx01.localhost"])
    with pytest.raises(AirflowFailException, match=r"1 ESXi host without a young bundle in vmkeep_default: esx02"):
        find()
    assert left["vsphere_default"] == ["esx02.localhost: no bundle, although other hosts of its vCenter have some"]
    assert "esx02" in left[REASON], "the note of the run tells it"

    try_once(hosts=["esx02.localhost"])
    assert find() == {"vsphere_default": []}
    monkeypatch.setattr(host_ages, "TOO_OLD", timedelta(seconds=-1))
    with pytest.raises(AirflowFailException, match=r"2 ESXi hosts .*esx01.localhost: newest bundle 20.*, esx02"):
        find()
