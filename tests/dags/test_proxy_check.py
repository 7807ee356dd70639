"""The DAG ``proxy_check``: each proxy is examined where it is, and a fault of one makes the run red."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException

from tests.labs import small_lab
from vmkeep.repository import create_repository
from vmkeep_airflow.operators.examine_proxy import ExamineProxyOperator

DAG = Path(__file__).parents[2] / "dags/proxy_check.py"


@pytest.fixture(scope="module")
def lab(unused_lab, tmp_path_factory):
    with small_lab(unused_lab, tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture
def connections(lab, tmp_path, monkeypatch):
    create_repository(str(tmp_path / "repository"))
    vsphere = {
        "conn_type": "vsphere", "host": lab.host, "port": lab.port, "login": lab.user, "password": lab.password,
        "extra": {"thumbprint": lab.thumbprint, "vddk": str(lab.vddk)},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_VC", json.dumps(vsphere))
    monkeypatch.setenv("AIRFLOW_CONN_REPO", json.dumps({"conn_type": "vmkeep", "host": str(tmp_path / "repository")}))


def examine(**given):
    left = {}
    ti = SimpleNamespace(dag_id="proxy_check", xcom_push=lambda key, value: left.update({key: value}))
    operator = ExamineProxyOperator(
        task_id="examine", **{"vsphere_conn_id": "vc", "repository_conn_id": "repo", **given}
    )
    try:
        operator.execute({"ti": ti})
    except AirflowFailException as error:
        return left.get("return_value"), str(error)
    return left["return_value"], ""


@pytest.mark.usefixtures("connections")
def test_a_proxy_that_does_not_reach_the_hosts_is_red_and_its_result_is_kept(monkeypatch):
    # The hosts of the lab are this machine by their names. As those of another one, they cannot be reached.
    monkeypatch.setattr("vmkeep.flows.doctor.reaching._THIS_MACHINE", ".nowhere")
    counts, error = examine()

    assert counts["fault"] == 2
    assert "host esx01.localhost: TCP 443: the name does not resolve" in error
    assert "host esx02.localhost" in error


@pytest.mark.usefixtures("connections")
def test_a_proxy_without_a_fault_is_green():
    counts, error = examine()

    assert (error, counts["fault"]) == ("", 0)
    assert counts["ok"] > 15


@pytest.mark.usefixtures("connections")
def test_a_connection_that_is_missing_is_named():
    assert "Airflow connection 'nowhere' does not exist" in examine(vsphere_conn_id="nowhere")[1]


def test_each_proxy_that_airflow_lists_is_examined_on_its_own_queue(monkeypatch):
    monkeypatch.setenv("AIRFLOW__VMKEEP__PROXIES", "site-b, san 1")

    dag = DagBag(str(DAG)).dags["proxy_check"]

    queues = {task.task_id: task.queue for task in dag.tasks if task.task_id != "report"}
    assert queues == {
        "examine_backup_proxy": "backup_proxy", "examine_site-b": "site-b", "examine_san_1": "san 1",
    }  # fmt: skip
    assert dag.get_task("report").upstream_task_ids == set(queues)
