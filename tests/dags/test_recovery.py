"""The DAG of recoveries refuses a plan before anything is asked, and shows each VM as a task of its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.flows.recovery_journal import Journal, RecoveryOrder
from vmkeep.model.job import to_plain
from vmkeep.recovery import ProbeResult, VmOutcome, VmState
from vmkeep.repository import create_repository, open_repository
from vmkeep_airflow.dagruns import own_dag_run
from vmkeep_airflow.operators.recover_site import CleanUpDrillOperator, RecoveredVmOperator, RecoverSiteOperator

PLAN = "name: site\ngroups:\n  - {name: others, selection: name:x, approval: true}\n"
NOW = datetime(2026, 11, 20, tzinfo=UTC)


def context_of(left: dict[str, Any], *, clears: int = 0) -> Any:
    ti = SimpleNamespace(
        dag_id="disaster_recovery",
        run_id="manual__1",
        try_number=1,
        max_tries=0,
        xcom_push=lambda key, value: left.update({key: value}),
    )
    return {"ti": ti, "dag_run": SimpleNamespace(clear_number=clears)}


@pytest.mark.parametrize(
    ("plan", "fields", "why"),
    [
        (PLAN, {}, "nobody has approved others"),
        (PLAN.replace("selection", "selectoin"), {}, "selection is missing"),
        (PLAN, {"approved": ["all"], "before": "yesterday"}, "'yesterday' is no time"),
        (PLAN, {"approved": ["others"], "lost_at": "2026-11-20T03:00"}, "has no time zone"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_before_any_server_is_asked(plan, fields, why, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_VSPHERE_DEFAULT", raising=False)

    with pytest.raises(AirflowFailException, match=why):
        RecoverSiteOperator(task_id="recover", plan=plan, **fields).execute(context_of({}))


def test_a_clean_up_that_somebody_cleared_still_looks_for_the_vms_of_the_drill_before(tmp_path, monkeypatch):
    vsphere = {"conn_type": "vsphere", "host": "127.0.0.1", "port": 9, "login": "u", "password": "p"}
    monkeypatch.setenv("AIRFLOW_CONN_VSPHERE_DEFAULT", json.dumps(vsphere))
    monkeypatch.setenv(
        "AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps({"conn_type": "vmkeep", "host": str(tmp_path / "repo")})
    )
    create_repository(str(tmp_path / "repo"))
    context = context_of({}, clears=1)
    run = own_dag_run(context["ti"]).run_key(0)
    with open_repository(str(tmp_path / "repo")) as repository:
        Journal(repository, run).begin(
            RecoveryOrder(
                run=run, plan=PLAN, path="p", drill=True, began=NOW, lost_at=NOW, vcenter="v", server="s", vms=()
            )
        )

    with pytest.raises(Exception, match=r"127\.0\.0\.1"):  # it asks the vCenter, which does not answer
        CleanUpDrillOperator(task_id="clean_up", drill=True).execute(context)


def test_a_clean_up_asks_no_server_after_a_disaster_and_finds_nothing_of_a_drill_that_never_began(
    tmp_path, monkeypatch
):
    create_repository(str(tmp_path / "repo"))
    vsphere = {"conn_type": "vsphere", "host": "127.0.0.1", "port": 9, "login": "u", "password": "p"}
    monkeypatch.setenv("AIRFLOW_CONN_VSPHERE_DEFAULT", json.dumps(vsphere))
    monkeypatch.setenv(
        "AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps({"conn_type": "vmkeep", "host": str(tmp_path / "repo")})
    )

    for drill in (False, True):
        operator = CleanUpDrillOperator(task_id="clean_up", drill=drill)
        assert operator.execute(context_of({})) == {"vms_removed": 0}


def test_a_vm_is_shown_with_its_evidence_and_is_red_unless_it_is_healthy():
    probe = ProbeResult(probe="TCP port 443", succeeded=True, at=NOW, told="it takes connections")
    healthy = VmOutcome(
        group="web", vm_key="k", vm_name="web01", new_name="web01-dr", point="k/p", taken_at=NOW, tries=1, moref="vm-7",
        state=VmState.HEALTHY, probes=(probe,),
    )  # fmt: skip
    plain = json.loads(json.dumps(to_plain(healthy)))
    left: dict[str, Any] = {}

    shown = RecoveredVmOperator(task_id="vm", outcome=plain).execute(context_of(left))
    with pytest.raises(AirflowFailException, match="web01-dr is failed: no room"):
        RecoveredVmOperator(task_id="vm", outcome={**plain, "state": "failed", "error": "no room"}).execute(
            context_of(left)
        )

    assert shown == {"vm": "web01-dr", "state": "healthy", "point": "k/p", "moref": "vm-7"}
    assert left["return_value"]["state"] == "failed"
