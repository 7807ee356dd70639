"""A VM that never got a restore point, and a window that never opened, are missed by the watches, not forgotten."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.models.asset import AssetEvent
from airflow.sdk.exceptions import AirflowFailException
from airflow.utils.session import create_session
from sqlalchemy import select

from vmkeep.clock import now
from vmkeep_airflow.operators.find_unproved import FindUnprovedOperator

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


def test_a_vm_without_any_restore_point_is_named_as_never_proved(connections, tmp_path, monkeypatch):
    for name, fields in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    (tmp_path / "nightly.yaml").write_text(
        "name: nightly\nselection: name:app01\nwindow: {start: '22:00', end: '06:00', time_zone: UTC}\n"
        "verification: {digests: always, proved_within: 30d}\n"
    )
    context = {"ti": SimpleNamespace(dag_id="missed_backups", run_id="by_hand", xcom_push=lambda *_told, **_more: None)}

    with pytest.raises(AirflowFailException, match="policy nightly: 1 VM not proved in time: app01: never proved"):
        FindUnprovedOperator(task_id="find_unproved").execute(context)


def test_a_window_that_did_not_open_is_asked_of_airflow_and_told(run_dag, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    (tmp_path / "hourly.yaml").write_text(
        "name: hourly\nselection: name:app01\nwindow: {start: '00:00', end: '00:00', time_zone: UTC}\n"
    )
    assert run_dag("missed_windows").state == "success", "nobody knows when the policy was written"
    monkeypatch.setattr("vmkeep_airflow.operators.find_missed_windows.now", lambda: now() + timedelta(days=1))

    missed = run_dag("missed_windows")

    assert missed.state == "failed"
    assert list(missed.xcom("find")) == ["hourly"]
    with create_session() as session:
        query = select(AssetEvent).where(AssetEvent.source_dag_id == "missed_windows")
        events = session.scalars(query).all()
    assert [event.extra["policy"] for event in events] == ["hourly"], "a DAG that passes alarms on hears of it, too"
