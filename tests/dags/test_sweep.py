"""The sweep runs by itself from the start, and does no harm where there is nothing to sweep yet."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException

from vmkeep_airflow.hooks import fields
from vmkeep_airflow.operators.sweep_snapshots import SweepSnapshotsOperator


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
