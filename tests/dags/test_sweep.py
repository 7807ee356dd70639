"""The sweep runs by itself from the start, and does no harm where there is nothing to sweep yet."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

from vmkeep.errors import UnreachableError
from vmkeep.flows import leftovers, sweep
from vmkeep.flows.sweep import Finding, Kind, State, SweepReport
from vmkeep.model.vmref import VmRef
from vmkeep_airflow import policies
from vmkeep_airflow.hooks import fields
from vmkeep_airflow.operators import base, sweep_snapshots
from vmkeep_airflow.operators.sweep_snapshots import SweepSnapshotsOperator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def without_connections(monkeypatch):
    def get_connection(conn_id):
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(fields.BaseHook, "get_connection", get_connection)


def run_of(run_type: str) -> dict[str, object]:
    ti = SimpleNamespace(
        dag_id="snapshot_sweep", run_id="r", try_number=1, max_tries=0, xcom_push=lambda key, value: None
    )
    return {"dag_run": SimpleNamespace(run_type=run_type), "ti": ti}


@pytest.mark.usefixtures("without_connections")
@pytest.mark.parametrize(
    ("run_type", "outcome"), [("scheduled", AirflowSkipException), ("manual", AirflowFailException)]
)
def test_a_new_airflow_without_connections_has_no_red_sweeps_and_a_person_is_told(run_type, outcome):
    with pytest.raises(outcome, match="connection"):
        SweepSnapshotsOperator(task_id="sweep").execute(run_of(run_type))


@pytest.fixture
def swept(monkeypatch, tmp_path):
    """Return the vCenters and repositories that were swept. Two policies name other ones, and one is unreachable."""
    places = []

    def run_sweep(place, _wishes):
        places.append(place)
        if place[0] == "away":
            raise UnreachableError("away does not answer")
        vm = VmRef(moref="vm-1", name=place[0])
        return SweepReport(findings=(Finding(kind=Kind.FOREIGN, state=State.LEFT, vm=vm),))

    for name, vsphere in (("a", "away"), ("b", "vsphere_default"), ("c", "second")):
        (tmp_path / f"{name}.yaml").write_text(
            f"name: {name}\nselection: 'any:'\nvsphere: {vsphere}\n"
            "window: {start: '22:00', end: '06:00', time_zone: UTC}\n"
        )
    monkeypatch.setattr(policies, "policy_folder", lambda: tmp_path)
    monkeypatch.setattr(sweep_snapshots, "make_site", lambda **ids: tuple(ids.values()))
    monkeypatch.setattr(base.SiteOperator, "site", lambda op: (op.vsphere_conn_id, op.repository_conn_id))
    monkeypatch.setattr(sweep, "run_sweep", run_sweep)
    return places


def test_a_scheduled_sweep_looks_at_the_places_of_all_policies_though_one_fails(swept):
    with pytest.raises(AirflowException, match="away does not answer"):
        SweepSnapshotsOperator(task_id="sweep").execute(run_of("scheduled"))

    assert [place[0] for place in swept] == ["vsphere_default", "away", "second"]


def test_a_sweep_by_hand_looks_at_the_place_that_its_form_names(swept):
    done = SweepSnapshotsOperator(task_id="sweep", vsphere_conn_id="second").execute(run_of("manual"))

    assert swept == [("second", "vmkeep_default")]
    assert done["counts"] == {"snapshot of somebody else": {"left alone": 1}}
    assert [one["vm"]["name"] for one in done["findings"]] == ["second"]


def test_a_leftover_waits_at_most_fifteen_minutes_for_the_sweep_that_removes_it():
    """The interval between two sweeps, and the time that one of them may wait for what vSphere does."""
    dag = DagBag(str(ROOT / "dags" / "snapshot_sweep.py")).dags["snapshot_sweep"]
    minute = re.fullmatch(r"\*/(\d+) \* \* \* \*", dag.schedule)

    assert minute is not None
    assert timedelta(minutes=int(minute[1])) + timedelta(seconds=leftovers.PATIENCE) <= timedelta(minutes=15)
    assert not dag.is_paused_upon_creation
