"""Whole runs of the two DAGs through Airflow's own task runner, against the lab over TLS and its real library."""

from __future__ import annotations

import json
from collections import Counter

import httpx
import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

MIB = 1 << 20


@pytest.fixture
def guest(control, monkeypatch) -> dict[str, object]:
    """Params of a backup that freezes app01's guest; its user is in a connection."""
    login = {"user": "backup", "password": "pw-of-the-guest"}
    control.call("POST", "/guest/user", {"vm": "app01", **login})
    for name in ("freeze", "thaw"):
        control.call("POST", "/guest/program", {"vm": "app01", "match": f"/opt/db/{name}"})
    connection = {"conn_type": "vmkeep_guest", "login": login["user"], "password": login["password"]}
    monkeypatch.setenv("AIRFLOW_CONN_GUEST_APP", json.dumps(connection))
    return {"pre_freeze": "/opt/db/freeze", "post_thaw": "/opt/db/thaw", "guest": "guest_app", "guest_seconds": 30}


@pytest.fixture
def array(tmp_path, monkeypatch):
    """The calls of the array hook that this proxy's environment names."""
    hook, calls = tmp_path / "hook", tmp_path / "calls"
    hook.write_text(f"#!/bin/sh\ncat >> {calls}\necho >> {calls}\n")
    hook.chmod(0o755)
    monkeypatch.setenv("VMKEEP_ARRAY_HOOK", str(hook))
    return lambda: [json.loads(line)["event"] for line in calls.read_text().splitlines()]


@pytest.fixture
def requests(monkeypatch):
    """Counts what tasks ask Airflow's API server for, by method and kind. Here no task sends heartbeats."""
    seen: Counter[str] = Counter()
    send = httpx.Client.request

    def request(self, method, url, *args, **kwargs):
        kind, _, rest = str(url).partition("/")
        seen[f"{method} {kind if kind != 'task-instances' else rest.rpartition('/')[2]}"] += 1
        return send(self, method, url, *args, **kwargs)

    monkeypatch.setattr(httpx.Client, "request", request)
    return seen


def test_a_vm_is_backed_up_in_full_then_incrementally_and_restored_byte_for_byte(
    run_dag, control, guest, array, requests
):
    before = control.hashes("app01")
    full = run_dag("vm_backup", vm="app01", full=True, **guest)
    assert full.state == "success", full.states
    story = [event["what"] for event in control.call("GET", "/guest/events?vm=app01")["events"]]
    assert story == ["start", "end", "snapshot", "start", "end"]
    assert array() == ["before", "after"]
    assert "pw-of-the-guest" not in str([full.xcom(task) for task in ("preflight", "snapshot", "catalog")])
    sealed = full.xcom("catalog")
    assert (sealed["kind"], sealed["disks_copied"], sealed["disks_skipped"]) == ("full", 3, 1)
    assert full.xcom("close_run")["point"] == sealed["point"]
    assert control.snapshots("app01") == []

    control.write("app01", 16000, [(10 * MIB, 3 * MIB), (100 * MIB + 512, 1024)])
    changed = control.hashes("app01")
    requests.clear()
    second = run_dag("vm_backup", vm="name:app01")
    assert second.state == "success", second.states
    assert second.xcom("catalog")["kind"] == "incremental"
    assert second.xcom("catalog")["bytes_read"] < 16 * MIB
    assert requests["GET xcoms"] <= 16, "each costs CPU seconds of the API server, at every backup of every VM"
    assert requests.total() <= 67, f"three of them for links; of ten tasks, three of which copy a disk: {requests}"

    control.write("app01", 2000, [(0, 4 * MIB)])
    overwritten = control.hashes("app01")
    over = run_dag("vm_restore", point=sealed["point"], vm="app01", on_conflict="overwrite", undo="snapshot")
    assert over.state == "success", over.states
    assert control.hashes("app01") == before
    back = run_dag("restore_undo", vm="app01", yes=True, power_on=True)
    assert back.state == "success", back.states
    assert (control.hashes("app01"), control.snapshots("app01")) == (overwritten, [])
    assert back.xcom("undo")["restore"] == over.xcom("finish")["run"]

    new = run_dag("vm_restore", point=second.xcom("catalog")["point"], new_name="app01-copy")
    assert new.state == "success", new.states
    copy = control.hashes("app01-copy")
    assert copy.pop(2016) == control.zeros("app01-copy", 2016), "a placeholder stands in for the physical RDM"
    assert copy == {key: value for key, value in changed.items() if key != 2016}
    assert control.snapshots("app01-copy") == []


def test_a_restore_over_an_existing_vm_has_to_be_told_to_overwrite(web01_point, run_dag, control):
    before = control.hashes("web01")
    run = run_dag("vm_restore", point="latest:web01")
    assert run.state == "failed"
    assert run.states["plan"] == "failed"
    assert run.states["prepare_target"] == "upstream_failed"
    assert control.vm("web01")["power"] == "poweredOn"
    assert control.hashes("web01") == before


def test_an_existing_vm_that_is_kept_ends_the_restore_well_with_nothing_done(web01_point, run_dag, control):
    run = run_dag("vm_restore", point="latest:web01", on_conflict="keep")
    assert run.state == "success", run.states
    assert run.states["approve"] == "skipped"
    assert run.states["prepare_target"] == "skipped"
    assert control.vm("web01")["power"] == "poweredOn"


def test_a_restore_that_fails_leaves_no_half_made_vm(web01_point, run_dag, control):
    control.call("POST", "/fault", {"nfc": {"code": 1, "count": None, "on": "write"}})
    run = run_dag("vm_restore", point="latest:web01", new_name="web01-broken")
    assert run.state == "failed"
    assert run.states["clean_up"] == "success"
    names = [vm["name"] for vm in control.call("GET", "/state")["vms"]]
    assert "web01-broken" not in names
