"""The check of guests in a running Airflow: a point's event starts it, and the run's note tells the outcome."""

from __future__ import annotations

import pytest

from tests.integration.airflow.running.watched import WatchedApi
from tests.patience import HANG, eventually

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAG = "guest_checks"


def test_the_event_of_a_point_starts_its_check_and_the_note_tells_the_summary(api: WatchedApi, web01_point):
    eventually(lambda: api.is_registered(DAG), f"the DAG {DAG}")
    api.call("PATCH", f"/api/v2/dags/{DAG}", {"is_paused": False})
    try:
        found = api.call("GET", "/api/v2/assets?name_pattern=vmkeep_restore_points")["assets"]
        (asset,) = [each["id"] for each in found if each["name"] == "vmkeep_restore_points"]
        api.call("POST", "/api/v2/assets/events", {"asset_id": asset, "extra": {"point": web01_point, "vm": "web01"}})
        (run,) = eventually(lambda: runs(api), "a run of the check")
        assert api.wait(DAG, run, seconds=HANG) == "success"
    finally:
        api.call("PATCH", f"/api/v2/dags/{DAG}", {"is_paused": True})

    planned = [point for part in api.xcom(DAG, run, "plan") for point in part["request"]["refs"]]
    assert web01_point in planned, "the run also takes the points of which Airflow was told before"
    vms = api.xcom(DAG, run, "report")["vms"]
    assert vms == len({point.partition("/")[0] for point in planned})
    assert f"{vms} VM{'s' if vms > 1 else ''} scanned" in api.run(DAG, run)["note"]


def runs(api: WatchedApi) -> list[str]:
    return [str(run["dag_run_id"]) for run in api.call("GET", f"/api/v2/dags/{DAG}/dagRuns")["dag_runs"]]
