"""Bad input: a failed run within seconds, one line that names the thing, nothing changed, never green."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException

from vmkeep_airflow.operators.preflight import PreflightOperator

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


def test_an_unknown_vm_fails_the_run_before_anything_is_changed(run_dag, control):
    before = control.call("GET", "/state")["vms"]
    run = run_dag("vm_backup", vm="nobody")
    assert run.state == "failed"
    assert run.tries["preflight"] == 1
    assert {task for task, state in run.states.items() if state == "failed"} == {"preflight", "close_run"}
    assert set(run.states.values()) == {"failed", "upstream_failed"}
    cause = run.xcom("preflight", key="failure")
    assert cause["recovery"] == "stop"
    assert cause["why"].startswith("no VM named 'nobody'")
    assert control.call("GET", "/state")["vms"] == before


def refused(control, named: str, vm: str = "web01") -> None:
    """Do the first task of a backup, which has to fail its run as above. No window starts such a backup once more."""
    before = control.call("GET", "/state")["vms"]
    left = {}
    ti = SimpleNamespace(dag_id="vm_backup", run_id="refused", try_number=1, max_tries=2, xcom_push=left.__setitem__)
    with pytest.raises(AirflowFailException, match=named):
        PreflightOperator(task_id="preflight", vm=vm).execute({"ti": ti})
    assert left["failure"]["recovery"] == "stop"
    assert control.call("GET", "/state")["vms"] == before


def test_a_name_that_two_vms_have_is_refused(run_dag, control):
    refused(control, "moref:", vm="twin")


@pytest.mark.parametrize(
    ("conn_id", "change", "named"),
    [
        ("vsphere_default", {"password": "wrong"}, "password"),
        ("vsphere_default", {"extra": {"thumbprint": ":".join(["00"] * 20)}}, "thumbprint"),
        ("vsphere_default", {"extra": {"vddk": "/nowhere/vddk"}}, "/nowhere/vddk"),
        ("vmkeep_default", {"host": "/nowhere/repository"}, "/nowhere/repository"),
        ("vmkeep_default", {"host": "/tmp"}, "/tmp"),
        ("vmkeep_default", {"conn_type": "http"}, "of type 'http'"),
    ],
    ids=["password", "thumbprint", "no-vddk", "no-repository-folder", "not-a-repository", "connection-type"],
)
def test_wrong_settings_fail_the_run_before_anything_is_changed(
    run_dag, control, connections, monkeypatch, conn_id, change, named
):
    fields = {**connections[conn_id], **change}
    if "extra" in change:
        fields["extra"] = {**connections[conn_id]["extra"], **change["extra"]}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
    refused(control, named)


def test_a_vcenter_that_does_not_answer_is_asked_again_and_costs_no_backup(run_dag, control):
    control.call("POST", "/fault", {"method": "Login", "drop": True, "count": 1})
    run = run_dag("vm_backup", vm="web01")
    assert run.state == "success", run.states
    assert run.tries["preflight"] == 2


def test_an_unknown_restore_point_fails_the_restore_before_anything_is_changed(run_dag, control):
    before = control.call("GET", "/state")["vms"]
    run = run_dag("vm_restore", point="latest:nobody", new_name="x")
    assert run.state == "failed"
    assert run.states["plan"] == "failed"
    assert control.call("GET", "/state")["vms"] == before


def test_the_message_is_one_line_that_names_the_thing_and_the_remedy(site):
    """Words that the run's log shows; all of the above go through these two calls."""
    from vmkeep.errors import VmKeepError
    from vmkeep.flows import backup
    from vmkeep.flows.backup_values import BackupRequest

    wrong = [
        (site, "nobody", "nobody"),
        (site, "twin", "moref:"),
        (replace(site, vcenter=replace(site.vcenter, password="wrong")), "web01", "password"),
        (replace(site, vcenter=replace(site.vcenter, port=1)), "web01", "127.0.0.1"),
        (replace(site, vcenter=replace(site.vcenter, thumbprint="00" * 20)), "web01", "thumbprint"),
        (replace(site, repository="/nowhere/repository"), "web01", "/nowhere"),
        (replace(site, repository="/tmp"), "web01", "/tmp"),
        (replace(site, vddk="/nowhere"), "web01", "/nowhere"),
    ]
    for given, vm, named in wrong:
        with pytest.raises(VmKeepError) as caught:
            backup.preflight(given, BackupRequest(vm_selector=vm, run="t"))
        assert named in str(caught.value)
        assert "\n" not in str(caught.value)
