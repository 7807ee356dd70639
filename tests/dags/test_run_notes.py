"""The note of a backup's run tells why disks were read in full, the transport, and first of all a lie of tracking."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.models import DagRun

from tests.unit.web.wizards import planned
from vmkeep.flows.backup_values import Sealed
from vmkeep.model.job import to_plain
from vmkeep_airflow import runnotes
from vmkeep_airflow.runnotes import alarm, attached, not_exported, put_back, reached, ways
from vmkeep_airflow.tasknotes import copied, written
from vmkeep_airflow.web.runnames import about_of

SEALED = {
    "point": "vm/point", "vm": "app01", "kind": "full", "consistency": "crash", "disks_copied": 3, "disks_skipped": 0,
    "bytes_read": 1, "bytes_stored": 1,
}  # fmt: skip


def sealed(**fields):
    return to_plain(Sealed(**SEALED, **fields))


def test_each_reason_of_a_full_read_is_told_with_the_number_of_disks():
    found = ways(sealed(full_reads={"resized": 1, "tracking-reset": 2}, transports=("nbdssl",)))

    assert found == ["read in full: the disk was resized (1), change tracking was reset (2)", "transport nbdssl"]


def test_an_increment_tells_only_its_transport():
    assert ways(sealed(transports=("hotadd", "nbdssl"))) == ["transport hotadd, nbdssl"]


def test_a_lie_of_change_tracking_is_told_with_the_suspect_points():
    (line,) = alarm(sealed(lies=7, suspects=("vm/a", "vm/b")))

    assert "LIED about 7 blocks" in line
    assert line.endswith("suspect points: vm/a, vm/b")


def test_nothing_is_told_of_a_run_without_a_result_or_of_an_older_program():
    older = {name: value for name, value in SEALED.items() if name != "full_reads"}
    for found in ({}, older):
        assert (alarm(found), ways(found)) == ([], [])


def test_the_note_tells_the_bytes_of_the_point_and_the_disks_that_it_lacks():
    fields = SEALED | {"mode_used": "SNAPSHOT_EXCL_MEM", "mode_asked": "SNAPSHOT_EXCL_MEM", "disks_skipped": 1}
    assert reached(fields)[1] == "3 disks, 1 skipped: 1 B read, 1 B stored"


def test_the_note_on_a_disk_tells_its_bytes():
    copy = {"bytes_read": 3 << 30, "bytes_stored": 1 << 20, "seconds": 12.4, "transport": "nbdssl"}
    assert copied(copy) == "copied: 3.0 GiB read, 1.0 MiB stored in 12 s over nbdssl"
    write = {"bytes_written": 3 << 30, "bytes_compared": 3 << 30, "seconds": 12.4, "transport": "hotadd"}
    assert written(write) == "written: 3.0 GiB written, 3.0 GiB read back in 12 s over hotadd"


RESTORED = {"disks_written": 2, "bytes_written": 3 << 30, "bytes_zeroed": 1 << 20}


@pytest.mark.parametrize("before", ["", "{ref} to new01", "a person wrote this"])
def test_the_note_of_a_restore_names_its_vm_and_tells_the_bytes(monkeypatch, before):
    plan = to_plain(planned())
    left = {"plan": plan, "finish": RESTORED}
    monkeypatch.setattr(runnotes, "is_ours", lambda _run: True)
    monkeypatch.setattr(runnotes, "result_of", lambda _run, task: left.get(task, {}))
    conf = {"point": plan["point"], "new_name": "new01"}
    run = SimpleNamespace(dag_id="vm_restore", conf=conf, note=before.format(ref=plan["point"]) or None)
    for told in (runnotes.on_dag_run_success, runnotes.on_dag_run_success):  # a run that is cleared ends twice
        told(run, "success")
        own, *others = run.note.splitlines()
        if before == "a person wrote this":
            assert own == before
        else:
            assert (own.startswith("web01 of 20"), own.endswith(" UTC to new01")) == (True, True), own
            assert plan["point"] not in run.note, "nobody reads a UUID"
        assert others == ["2 disks: 3.0 GiB written, 1.0 MiB made empty with zeros"]


def test_a_restore_that_wrote_nothing_tells_no_bytes():
    assert put_back({}) == put_back({**RESTORED, "disks_written": 0}) == []


def test_the_note_of_attached_disks_names_each_with_its_place():
    new = {"disk": "Hard disk 2", "address": "scsi0:3", "file_name": "[ds] a.vmdk", "capacity": 1}
    result = {"vm": {"moref": "vm-1", "name": "web01"}, "disks": [new], "bytes_written": 1 << 20}
    assert attached(result) == ["Hard disk 2 is scsi0:3 of web01", "1 disk: 1.0 MiB written"]
    assert attached({"lines": ["a plan"], "dry_run": True}) == []


def test_the_note_of_a_policys_exports_names_the_points_that_were_left_out():
    left = [f"point {n} is damaged, so it is not exported" for n in range(6)]
    assert not_exported([]) == []
    assert not_exported(left[:2]) == ["2 points left out:", *left[:2]]
    assert not_exported(left) == ["6 points left out:", *left[:4], "and 2 more points: see the log of choose"]


@pytest.mark.parametrize(
    ("dag_id", "conf", "note", "about"),
    [
        ("data_quality", {}, "vmkeep_default: warned; unprotected 8", ""),
        ("guest_checks", {}, "2 points contradict themselves", ""),
        ("policy_exports_gold", {}, "1 point left out:\nweb01", ""),
        ("disaster_recovery", {"plan": "x"}, "Failed at task approve: plan:1:1: a plan has fields", ""),
        ("verify_points", {}, "Failed at task choose: both are empty", ""),
        ("verify_points", {"selector": "name:db*"}, "Failed at task choose: no VM fits", "name:db*"),
        ("verify_points", {"points": ["latest:app01", "ab12"], "selector": None}, None, "latest:app01, ab12"),
        ("malware_scan", {"points": [], "selector": "name:web*"}, None, "name:web*"),
        ("vm_backup", {"vm": "name:a"}, "app01\nFailed at task preflight: no room", "app01"),
        ("vm_backup", {"vm": "name:a"}, None, "name:a"),
        ("backup_window_gold", {}, "2 of 3 backups", "policy gold"),
    ],
)
def test_what_a_run_has_found_is_not_taken_for_what_it_is_about(dag_id, conf, note, about):
    run = DagRun(dag_id=dag_id, run_id="r", run_type="manual", conf=conf)
    run.note = note
    assert about_of(run) == about
