"""Nothing stays behind: no half-made snapshot or VM, none that could not be removed at first, no dead worker's."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from vmkeep.flows import backup, guest_thaws
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.repositories import open_site_repository
from vmkeep.model.guest import GuestCommands
from vmkeep.model.job import to_plain
from vmkeep.model.point import BackupMode
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere.session import open_session
from vmkeep_airflow.dagruns import DagRunId, dag_run_of, owner_text
from vmkeep_airflow.operators.remove_snapshot import RemoveSnapshotOperator
from vmkeep_airflow.operators.sweep_snapshots import SweepSnapshotsOperator

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


def leave_a_snapshot(site, owner: DagRunId | None, run: str, vm: str = "web01") -> None:
    """Do what a worker does that dies right after its snapshot."""
    owned = owner_text(owner) if owner is not None else ""
    backup.take_snapshot(site, backup.preflight(site, BackupRequest(vm_selector=vm, run=run, owner=owned)))


def remove(site, control, run: str, vm: str = "web01") -> None:
    backup.remove_snapshot(site, control.vm(vm)["moref"], run)


def test_a_snapshot_whose_reply_was_lost_is_not_left_behind(run_dag, control):
    control.call("POST", "/fault", {"method": "CreateSnapshot_Task", "after": True, "drop": True, "count": 50})
    run = run_dag("vm_backup", vm="web01")
    assert run.state == "failed"
    assert run.states["snapshot"] == "failed"
    assert run.states["remove_snapshot"] == "upstream_failed"
    assert control.snapshots("web01") == []


def test_a_step_that_fails_after_its_snapshot_removes_it_and_the_retry_works(run_dag, control):
    control.call("POST", "/fault", {"method": "CreateSnapshot_Task", "after": True, "drop": True, "count": 1})
    run = run_dag("vm_backup", vm="web01")
    assert run.state == "success", run.states
    assert control.snapshots("web01") == []


def test_a_snapshot_that_cannot_be_removed_fails_the_run_though_its_point_is_sealed(run_dag, control, site):
    control.call("POST", "/fault", {"method": "RemoveSnapshot_Task", "fault": "FileFault", "count": 500})
    control.call("POST", "/fault", {"method": "RemoveAllSnapshots_Task", "fault": "FileFault", "count": 500})
    run = run_dag("vm_backup", vm="web01")
    assert run.states["catalog"] == "success"
    assert run.states["remove_snapshot"] == "failed"
    assert run.states["close_run"] == "failed"
    assert run.state == "failed"
    control.call("POST", "/clear", {})
    assert len(control.snapshots("web01")) == 1

    after = run_dag("vm_backup", vm="web01")
    assert after.state == "success", "the next run removes what the dead one left"
    assert control.snapshots("web01") == []


def test_the_sweep_removes_the_snapshot_of_a_run_that_has_ended(web01_backed_up, run_dag, control, site):
    owner = DagRunId(dag_id="vm_backup", run_id=web01_backed_up.run_id)
    leave_a_snapshot(site, owner, "left-by-a-dead-worker")
    assert len(control.snapshots("web01")) == 1
    assert dag_run_of(site, "left-by-a-dead-worker") == owner
    sweep = run_dag("snapshot_sweep")
    assert sweep.state == "success"
    assert sweep.xcom("sweep")["counts"] == {"snapshot": {"repaired": 1}}
    assert [one["run"] for one in sweep.xcom("sweep")["findings"]] == ["left-by-a-dead-worker"]
    assert control.snapshots("web01") == []
    assert control.vm("web01")["held_by"] == []


@pytest.mark.parametrize(("state", "count"), [("success", 1), ("running", 0)])
def test_the_sweep_lets_a_vm_go_that_an_ended_run_kept_from_storage_vmotion(control, site, monkeypatch, state, count):
    owner = owner_text(DagRunId(dag_id="vm_backup", run_id="of-a-killed-worker"))
    request = BackupRequest(vm_selector="old01", run="as-it-is", owner=owner, mode=BackupMode.ASIS)
    backup.take_snapshot(site, backup.preflight(site, request))
    sweep = SweepSnapshotsOperator(task_id="sweep")
    monkeypatch.setattr(sweep, "site", lambda: site)
    ti = SimpleNamespace(dag_id="snapshot_sweep", run_id="now", get_dagrun_state=lambda **_: state)
    try:
        state_of_hold = "repaired" if count else "in use"
        assert sweep.step({"ti": ti})["counts"] == {"VM that cannot be moved": {state_of_hold: 1}}
        assert len(control.vm("old01")["held_by"]) == 1 - count
    finally:
        remove(site, control, "as-it-is", vm="old01")
    assert control.vm("old01")["held_by"] == []


@pytest.mark.parametrize(("state", "count"), [("success", 1), ("running", 0)])
def test_the_sweep_thaws_a_guest_that_an_ended_run_has_left_frozen(control, site, monkeypatch, state, count):
    """Its run died between the freeze and the snapshot, so that only the note tells of it."""
    control.call("POST", "/guest/user", {"vm": "web01", "user": "backup", "password": "pw"})
    control.call("POST", "/guest/program", {"vm": "web01", "match": "/opt/db/thaw"})
    connection = {"conn_type": "vmkeep_guest", "login": "backup", "password": "pw"}
    monkeypatch.setenv("AIRFLOW_CONN_GUEST_WEB", json.dumps(connection))
    commands = GuestCommands(freeze="/opt/db/freeze", thaw="/opt/db/thaw", login="guest_web")
    vm = control.vm("web01")["moref"]
    with open_site_repository(site) as repository, open_session(site.vcenter) as session:
        note = guest_thaws.PendingThaw(
            run="killed", vm=VmRef(moref=vm, name="web01"), vcenter=session.instance_uuid,
            since=session.server_time(), commands=commands,
        )  # fmt: skip
        owner = owner_text(DagRunId(dag_id="vm_backup", run_id="of-a-killed-worker"))
        repository.run("killed").store("owner", owner.encode())
        guest_thaws.remember(repository, note)
        sweep = SweepSnapshotsOperator(task_id="sweep")
        monkeypatch.setattr(sweep, "site", lambda: site)
        ti = SimpleNamespace(dag_id="snapshot_sweep", run_id="now", get_dagrun_state=lambda **_: state)

        assert sweep.step({"ti": ti})["counts"] == {"frozen guest": {"repaired" if count else "in use": 1}}

        assert len(guest_thaws.find_left(site)) == 1 - count
        guest_thaws.forget(repository, note)


def leave_a_vm(site, owner: DagRunId, run: str, name: str) -> None:
    """Do what a worker does that dies right after it has made the VM."""
    from vmkeep.flows import restore
    from vmkeep.flows.restore_request import make_request

    request = make_request(point="latest:web01", run=run, owner=owner_text(owner), new_name=name)
    restore.prepare_target(site, restore.plan_restore(site, request))


def test_the_sweep_removes_the_half_made_vm_of_a_restore_that_has_ended_and_no_other(
    web01_backed_up, run_dag, control, site
):
    from vmkeep.flows import restore

    finished = run_dag("vm_restore", point="latest:web01", new_name="finished", power_on=False)
    assert finished.state == "success", finished.states
    leave_a_vm(
        site, DagRunId(dag_id="vm_restore", run_id=finished.run_id), f"of-{web01_backed_up.run_id}"[:40], "half-made"
    )
    leave_a_vm(site, DagRunId(dag_id="vm_restore", run_id="of another Airflow"), "somebody-elses", "unknown")
    assert {"finished", "half-made", "unknown"} <= {vm["name"] for vm in control.call("GET", "/state")["vms"]}

    sweep = run_dag("snapshot_sweep")

    assert sweep.state == "success", sweep.states
    assert sweep.xcom("sweep")["counts"]["VM of a restore"] == {"repaired": 1, "in use": 1}
    names = {vm["name"] for vm in control.call("GET", "/state")["vms"]}
    assert {"finished", "unknown"} <= names
    assert "half-made" not in names
    restore.clean_up(site, "somebody-elses")


def test_a_snapshot_whose_task_was_marked_a_success_while_it_worked_is_removed(control, site, monkeypatch):
    """The teardown runs, but nobody tells it which snapshot."""
    owner = DagRunId(dag_id="vm_backup", run_id="marked")
    leave_a_snapshot(site, owner, "marked-1")
    leave_a_snapshot(site, None, "another-run", vm="old01")
    found = backup.preflight(site, BackupRequest(vm_selector="web01", run="marked-2"))
    removal = RemoveSnapshotOperator(task_id="remove_snapshot", held=None, preflight_task_id="preflight")
    monkeypatch.setattr(removal, "site", lambda: site)
    left = {"preflight": to_plain(found)}
    ti = SimpleNamespace(dag_id="vm_backup", run_id="marked", xcom_pull=lambda task_ids: left[task_ids])
    removal.step({"ti": ti})
    assert (control.snapshots("web01"), control.vm("web01")["held_by"]) == ([], [])
    assert len(control.snapshots("old01")) == 1
    remove(site, control, "another-run", vm="old01")


def test_the_sweep_leaves_a_young_snapshot_of_an_unknown_run_alone(run_dag, control, site):
    leave_a_snapshot(site, None, "someone-elses")
    assert dag_run_of(site, "someone-elses") is None
    try:
        sweep = run_dag("snapshot_sweep")
        assert sweep.state == "success"
        assert sweep.xcom("sweep") == {
            "counts": {"snapshot": {"in use": 1}, "VM that cannot be moved": {"in use": 1}}, "findings": [],
        }  # fmt: skip
        assert len(control.snapshots("web01")) == 1
    finally:
        remove(site, control, "someone-elses")


def test_a_vm_that_another_run_holds_is_refused_by_preflight(run_dag, control, site):
    leave_a_snapshot(site, None, "a-living-run")
    try:
        run = run_dag("vm_backup", vm="web01")
        assert run.state == "failed"
        assert run.states["preflight"] == "failed"
        assert len(control.snapshots("web01")) == 1
    finally:
        remove(site, control, "a-living-run")
