"""Exports in a running Airflow: by a person, after a policy's backup, and one that cannot be made."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.integration.airflow.running.watched import WatchedApi
from tests.patience import HANG, eventually

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

OF_POLICY = "policy_exports_exported"


@pytest.fixture(scope="module")
def known(api) -> WatchedApi:
    for dag_id in ("export_point", OF_POLICY):
        eventually(lambda dag_id=dag_id: api.is_registered(dag_id), f"the DAG {dag_id}")
    return api


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_backup_of_a_policy_starts_the_export_of_its_point(known, control, policies):
    known.call("PATCH", f"/api/v2/dags/{OF_POLICY}", {"is_paused": False})
    try:
        backup = known.trigger("vm_backup", vm="web01", policy="exported")
        assert known.wait("vm_backup", backup, seconds=HANG) == "success"
        (run,) = eventually(lambda: exports(known), "a run of the policy's exports")
        assert known.wait(OF_POLICY, run, seconds=HANG) == "success"
    finally:
        known.call("PATCH", f"/api/v2/dags/{OF_POLICY}", {"is_paused": True})
    (request,) = known.xcom(OF_POLICY, run, "choose")
    assert request["point"] == known.xcom("vm_backup", backup, "catalog")["point"]
    assert digest(policies / "exports" / f"{request['name']}-disk0.raw") == control.hashes("web01")[2000]


def test_a_point_is_exported_by_the_api_and_the_note_of_the_run_tells_the_place(known, web01_point, tmp_path):
    run = known.trigger("export_point", point=web01_point, format="qcow2", out=str(tmp_path))

    assert known.wait("export_point", run, seconds=HANG) == "success"
    assert f"{tmp_path}/web01.export.json" in known.run("export_point", run)["note"]
    assert {path.name for path in tmp_path.iterdir()} == {"web01.export.json", "web01-disk0.qcow2"}


def test_an_export_that_cannot_be_made_fails_at_once_and_tells_the_place_and_the_remedy(known, web01_point, tmp_path):
    run = known.trigger("export_point", point=web01_point, out=str(tmp_path / "missing"))

    assert known.wait("export_point", run, seconds=HANG) == "failed"
    (failed,) = [task for task in known.tasks("export_point", run) if task["task_id"] == "export"]
    assert (failed["state"], failed["try_number"]) == ("failed", 1)
    assert f"{tmp_path}/missing: no such folder; create it first" in known.log("export_point", failed)


def exports(api: WatchedApi) -> list[str]:
    """Return the runs of the policy's exports."""
    return [str(run["dag_run_id"]) for run in api.call("GET", f"/api/v2/dags/{OF_POLICY}/dagRuns")["dag_runs"]]
