"""The DAG of recoveries refuses a plan before anything is asked, and shows each VM as a task of its own."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.flows.recovery_journal import Journal, RecoveryOrder
from vmkeep.model.job import to_plain
from vmkeep.recovery import ProbeResult, VmOutcome, VmState
from vmkeep.repository import create_repository, open_repository
from vmkeep_airflow.dagruns import own_dag_run
from vmkeep_airflow.operators.approve_recovery import NONE, ApproveRecoveryOperator
from vmkeep_airflow.operators.find_unproved import FindUnprovedOperator
from vmkeep_airflow.operators.recover_site import CleanUpDrillOperator, RecoveredVmOperator, RecoverSiteOperator
from vmkeep_airflow.params import give_params
from vmkeep_airflow.plans import faults_of_plans, scheduled_drills
from vmkeep_airflow.recoveries import PARAMS, drill_params, make_recovery
from vmkeep_airflow.timetables import WindowTimetable

PLAN = "name: site\ngroups:\n  - {name: others, selection: name:x, approval: true}\n"
OPEN = PLAN.replace(", approval: true", "")
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
        (PLAN.replace("selection", "selectoin"), {}, "selection is missing"),
        (PLAN, {"approved": ["all"], "before": "yesterday"}, "'yesterday' is no time"),
        (PLAN, {"approved": ["others"], "lost_at": "2026-11-20T03:00"}, "has no time zone"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_before_any_server_is_asked(plan, fields, why, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_VSPHERE_DEFAULT", raising=False)

    with pytest.raises(AirflowFailException, match=why):
        RecoverSiteOperator(task_id="recover", plan=plan, **fields).execute(context_of({}))


def test_nobody_is_asked_if_no_group_needs_an_approval_or_all_have_theirs():
    for plan, approved, given in ((PLAN, ["others"], ["others"]), (PLAN, ["all"], ["all"]), (OPEN, None, [])):
        operator = ApproveRecoveryOperator(task_id="approve", plan=plan, approved=approved)

        assert operator.execute(context_of({})) == given

    with pytest.raises(AirflowFailException, match="selection is missing"):
        ApproveRecoveryOperator(task_id="approve", plan=PLAN.replace("selection", "selectoin")).execute(context_of({}))


def test_a_plan_is_named_as_the_page_lists_it_and_carried_out_as_it_was_when_it_was_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__VMKEEP__PLANS", str(tmp_path))
    (tmp_path / "site.yaml").write_text(PLAN)
    left: dict[str, Any] = {}
    operator = ApproveRecoveryOperator(task_id="approve", plan=" site\n", approved=["others"])
    assert operator.execute(context_of(left)) == ["others"]
    assert left["plan"] == PLAN

    (tmp_path / "site.yaml").write_text(PLAN.replace("others", "changed"))
    event = {"chosen_options": ["others"], "params_input": {}, "responded_at": NOW, "responded_by_user": None}
    operator = ApproveRecoveryOperator(task_id="approve", plan="site")
    assert operator.execute_complete(context_of(left), event, shown=PLAN) == ["others"]
    assert left["plan"] == PLAN

    with DAG("disaster_recovery") as dag:
        make_recovery(dag)
        give_params(dag, PARAMS)
    assert str(dag.get_task("recover").plan) == str(dag.get_task("approve").output["plan"])


@pytest.mark.parametrize("given", ["sitt", "../site", "", "site.yaml"])
def test_a_name_that_no_plan_has_is_told_with_those_that_there_are(tmp_path, monkeypatch, given):
    monkeypatch.setenv("AIRFLOW__VMKEEP__PLANS", str(tmp_path))
    (tmp_path / "site.yaml").write_text(PLAN)
    why = f"no recovery plan is named '{given}' in {tmp_path}; the plans there: site. Give the name"
    with pytest.raises(AirflowFailException, match=re.escape(why)):
        ApproveRecoveryOperator(task_id="approve", plan=given).execute(context_of({}))


def test_a_recovery_without_a_plan_says_which_task_reads_it():
    with pytest.raises(AirflowFailException, match="task approve left no plan"):
        RecoverSiteOperator(task_id="recover", plan=None).execute(context_of({}))


def test_an_answer_approves_the_groups_that_it_names_and_no_others():
    for chosen, approved in ((["others"], ["first", "others"]), ([NONE], ["first"])):
        event = {"chosen_options": chosen, "params_input": {}, "responded_at": NOW, "responded_by_user": None}
        operator = ApproveRecoveryOperator(task_id="approve", plan=PLAN, approved=["first"])

        assert operator.execute_complete(context_of({}), event) == approved


def test_each_sound_plan_with_a_schedule_has_a_dag_that_rehearses_it_and_faults_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__VMKEEP__PLANS", str(tmp_path))
    drill = "drill: {network: Isolated, vsphere: vsphere_dr, schedule: {start: '06:00', time_zone: UTC, days: [sat]}}\n"
    (tmp_path / "weekly.yaml").write_text(OPEN.replace("name: site", "name: weekly") + drill)
    (tmp_path / "never.yaml").write_text(OPEN.replace("name: site", "name: never"))
    (tmp_path / "broken.yaml").write_text("name: broken\n" + drill.replace("UTC", "Nowhere"))

    (found,) = scheduled_drills()
    with DAG("recovery_drill_weekly", schedule=WindowTimetable(found.schedule)) as dag:
        make_recovery(dag)
        give_params(dag, drill_params(found))

    assert str(found.schedule) == "06:00 to 06:00 UTC, sat"
    assert {name: dag.params[name] for name in ("drill", "approved", "vsphere", "repository")} == {
        "drill": True, "approved": ["all"], "vsphere": "vsphere_dr", "repository": "vmkeep_default",
    }  # fmt: skip
    assert dag.params["plan"] == (tmp_path / "weekly.yaml").read_text()
    assert any("broken.yaml:1:1: groups is missing" in line for line in faults_of_plans())


def test_a_plan_whose_vms_are_not_proved_in_time_fails_the_watch_and_one_that_says_nothing_of_it_does_not(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__VMKEEP__PLANS", str(tmp_path))
    monkeypatch.setenv(
        "AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps({"conn_type": "vmkeep", "host": str(tmp_path / "repo")})
    )
    create_repository(str(tmp_path / "repo"))
    (tmp_path / "silent.yaml").write_text(OPEN.replace("name: site", "name: silent") + "drill: {network: none}\n")
    left: dict[str, Any] = {}
    assert FindUnprovedOperator(task_id="find").execute(context_of(left)) == {}

    text = OPEN.replace("name: site", "name: watched") + "drill: {network: none, proved_within: 35d}\n"
    (tmp_path / "watched.yaml").write_text(text)
    with pytest.raises(AirflowFailException, match=r"plan watched: .*group others: no VM of the repository fits it"):
        FindUnprovedOperator(task_id="find").execute(context_of(left))
    assert len(left["return_value"]["watched"]) == 1


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
