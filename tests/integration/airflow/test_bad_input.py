"""Bad input: a failed run within seconds, one line that names the thing, nothing changed, never green."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


def refused(run_dag, control, vm: str = "web01") -> None:
    """Run a backup that has to fail in preflight."""
    before = control.call("GET", "/state")["vms"]
    run = run_dag("vm_backup", vm=vm)
    assert run.state == "failed"
    assert run.states["preflight"] == "failed"
    assert run.states["close_run"] == "failed"
    assert {state for task, state in run.states.items() if task not in {"preflight", "close_run"}} == {
        "upstream_failed"
    }
    assert control.call("GET", "/state")["vms"] == before


def test_an_unknown_vm_fails_the_run_before_anything_is_changed(run_dag, control):
    refused(run_dag, control, vm="nobody")


def test_a_name_that_two_vms_have_is_refused(run_dag, control):
    refused(run_dag, control, vm="twin")


@pytest.mark.parametrize(
    ("conn_id", "change"),
    [
        ("vsphere_default", {"password": "wrong"}),
        ("vsphere_default", {"extra": {"thumbprint": "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33"}}),
        ("vmkeep_default", {"host": "/nowhere/repository"}),
        ("vmkeep_default", {"host": "/tmp"}),
        ("vmkeep_default", {"conn_type": "http"}),
    ],
    ids=["password", "thumbprint", "no-repository-folder", "not-a-repository", "connection-type"],
)
def test_wrong_settings_fail_the_run_before_anything_is_changed(
    run_dag, control, connections, monkeypatch, conn_id, change
):
    fields = {**connections[conn_id], **change}
    if "extra" in change:
        fields["extra"] = {**connections[conn_id]["extra"], **change["extra"]}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
    refused(run_dag, control)


def test_a_vcenter_that_does_not_answer_is_asked_again_and_costs_no_backup(run_dag, control):
    control.call("POST", "/fault", {"method": "Login", "drop": True, "count": 1})
    run = run_dag("vm_backup", vm="web01")
    assert run.state == "success", run.states
    assert run.tries["preflight"] == 2


def test_a_missing_vddk_is_found_before_the_snapshot(run_dag, control, connections, monkeypatch, tmp_path):
    fields = dict(connections["vsphere_default"])
    fields["extra"] = {**fields["extra"], "vddk": str(tmp_path)}
    monkeypatch.setenv("AIRFLOW_CONN_VSPHERE_DEFAULT", json.dumps(fields))
    refused(run_dag, control)


def test_an_unknown_restore_point_fails_the_restore_before_anything_is_changed(run_dag, control):
    before = control.call("GET", "/state")["vms"]
    run = run_dag("vm_restore", point="latest:nobody", new_name="x")
    assert run.state == "failed"
    assert run.states["plan"] == "failed"
    assert control.call("GET", "/state")["vms"] == before


def test_the_message_is_one_line_that_names_the_thing_and_the_remedy(site):
    """What the run's log shows; all of the above go through these two calls."""
    from vmkeep.errors import VmKeepError
    from vmkeep.flows import backup
    from vmkeep.flows.values import BackupRequest

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
            backup.preflight(given, BackupRequest(vm=vm, run="t"))
        assert named in str(caught.value)
        assert "\n" not in str(caught.value)
