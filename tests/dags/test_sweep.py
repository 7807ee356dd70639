"""The sweep runs by itself from the start, and does no harm where there is nothing to sweep yet."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException

from vmkeep.flows import leftovers
from vmkeep_airflow.hooks import fields
from vmkeep_airflow.operators.sweep_snapshots import SweepSnapshotsOperator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def without_connections(monkeypatch):
    def get_connection(conn_id):
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(fields.BaseHook, "get_connection", get_connection)


@pytest.mark.usefixtures("without_connections")
@pytest.mark.parametrize(
    ("run_type", "outcome"), [("scheduled", AirflowSkipException), ("manual", AirflowFailException)]
)
def test_a_new_airflow_without_connections_has_no_red_sweeps_and_a_person_is_told(run_type, outcome):
    context = {"dag_run": SimpleNamespace(run_type=run_type)}

    with pytest.raises(outcome, match="vsphere_default"):
        SweepSnapshotsOperator(task_id="sweep").execute(context)


def test_a_leftover_waits_at_most_fifteen_minutes_for_the_sweep_that_removes_it():
    """The interval between two sweeps, and the time that one of them may wait for what vSphere does."""
    dag = DagBag(str(ROOT / "dags" / "snapshot_sweep.py")).dags["snapshot_sweep"]
    minute = re.fullmatch(r"\*/(\d+) \* \* \* \*", dag.schedule)

    assert minute is not None
    assert timedelta(minutes=int(minute[1])) + timedelta(seconds=leftovers.PATIENCE) <= timedelta(minutes=15)
    assert not dag.is_paused_upon_creation
