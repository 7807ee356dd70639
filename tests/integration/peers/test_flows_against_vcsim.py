"""A backup and a restore against govmomi's simulator, in all but the disks' bytes, which it does not have."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest

from tests.command_line import run_here
from vmkeep.flows import backup, restore
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.restore_request import make_request
from vmkeep.images.diskfiles import LocalFileSource
from vmkeep.model.job import DiskCopy, DiskWrite
from vmkeep.model.point import BackupKind, Consistency
from vmkeep.model.site import Site
from vmkeep.repository import create_repository, open_repository
from vmkeep.transfer import back_up_disk
from vmkeep.vsphere import claims, inventory, machines, snapshots

pytestmark = pytest.mark.slow


@pytest.fixture
def site(vcsim, tmp_path: Path, nineteen: Path) -> Site:
    create_repository(str(tmp_path / "repository"))
    return Site(repository=str(tmp_path / "repository"), vcenter=vcsim.vcenter, vddk=str(nineteen))


def copied(site: Site, job, folder: Path) -> DiskCopy:
    """Store a local file as if it were the job's disk."""
    raw = folder / f"{job.disk.key}.raw"
    raw.write_bytes(os.urandom(job.disk.capacity))
    with open_repository(site.repository) as repository:
        stored = back_up_disk(
            LocalFileSource(raw), repository, run=job.run, extents=None, parent_root=None, cursor=None,
            snapshot=job.snapshot, piece_size=job.piece_size, depth=1, on_progress=lambda _: None, check=lambda: None,
        )  # fmt: skip
    return DiskCopy(
        run=job.run, snapshot=job.snapshot, disk=job.disk, root=stored.root, kind=job.kind, reason=job.reason,
        change_id=job.change_id, extents=stored.extents_root, extents_size=stored.extents_size,
        bytes_read=stored.bytes_read, bytes_stored=stored.bytes_stored, seconds=stored.seconds, transport="file",
    )  # fmt: skip


@pytest.fixture
def back_up(site, vcsim, tmp_path):
    """Run every step of a backup; the jobs and the end are returned."""

    def run_one(run: str):
        pre = backup.preflight(site, BackupRequest(vm_selector=vcsim.guest, run=run))
        taken = backup.take_snapshot(site, pre)
        jobs = backup.plan_disks(site, pre, taken)
        sealed = backup.seal(site, pre, taken, [copied(site, job, tmp_path) for job in jobs])
        removal = backup.remove_snapshot(site, taken.vm, run)
        assert removal.snapshots_removed == 1
        return pre, taken, jobs, sealed

    return run_one


def test_every_backup_is_a_full_with_the_reason_that_there_is_no_tracking(back_up, session):
    pre, taken, jobs, sealed = back_up("run/1")

    assert any("quiescing" in warning for warning in pre.warnings)
    assert any("every backup reads all" in warning for warning in taken.warnings)
    assert taken.consistency is Consistency.CRASH
    assert [(job.kind, job.extents, job.change_id) for job in jobs] == [(BackupKind.FULL, None, None)]
    assert sealed.kind == BackupKind.FULL
    assert snapshots.list_all(session, taken.vm) == ()

    _, _, again, _ = back_up("run/2")
    assert [job.kind for job in again] == [BackupKind.FULL]
    assert "no change id" in again[0].reason


def test_the_snapshot_of_a_dead_run_is_found_and_removed(site, vcsim, session):
    moref = vcsim.machines[vcsim.guest]["moref"]
    snapshots.create(session, moref, run="dead", quiesce=False)

    removal = backup.remove_snapshot(site, moref, "dead")

    assert removal.snapshots_removed == 1
    assert snapshots.list_all(session, moref) == ()


def test_a_sealed_point_becomes_a_new_vm(site, back_up, session, vcsim):
    *_, sealed = back_up("run/1")
    request = make_request(point=f"latest:{vcsim.guest}", run="restore/1", new_name="from the point")

    plan = restore.plan_restore(site, request)
    target = restore.prepare_target(site, plan)
    jobs = restore.write_jobs(site, plan, target)

    assert plan.point == sealed.point
    mark = claims.claim_on(session, target.vm)
    assert mark is not None
    assert (mark.run, mark.made) == ("restore/1", True)
    assert [(job.capacity, job.fresh, job.vm.moref) for job in jobs] == [(1 << 20, True, target.vm)]
    assert jobs[0].target_file == inventory.describe_vm(session, target.vm).disks[0].file_name
    writes = [
        DiskWrite(
            run=job.run, device_key=job.device_key, target_file=job.target_file, bytes_written=job.capacity,
            bytes_zeroed=0, bytes_compared=0, seconds=0.0, transport="file",
        )
        for job in jobs
    ]  # fmt: skip
    restored = restore.finish_restore(site, plan, target, writes)
    assert (restored.created, restored.powered_on) == (True, True)
    assert machines.power_state(session, target.vm) is inventory.PowerState.ON
    assert restore.clean_up(site, "restore/1") == 0, "a finished VM is nobody's leftover"
    machines.power_off(session, target.vm)
    assert restore.clean_up(site, "restore/1") == 0
    session.vm(target.vm).Destroy_Task()


def test_a_restore_that_was_given_up_leaves_no_vm(site, back_up, session, vcsim):
    back_up("run/1")
    request = make_request(point=f"latest:{vcsim.guest}", run="restore/2", new_name="given up")
    restore.prepare_target(site, restore.plan_restore(site, request))

    assert restore.clean_up(site, "restore/2") == 1
    assert "given up" not in {record.name for record in inventory.list_vms(session)}


@pytest.fixture
def vmkeep(vcsim, tmp_path):
    """Run the command line against the simulator."""
    vcenter = vcsim.vcenter
    return partial(
        run_here, VMKEEP_VCENTER=f"{vcenter.host}:{vcenter.port}", VMKEEP_USER=vcenter.user,
        VMKEEP_PASSWORD=vcenter.password, VMKEEP_THUMBPRINT=vcenter.thumbprint, XDG_STATE_HOME=str(tmp_path / "state"),
    )  # fmt: skip


def test_the_command_line_lists_and_shows_vms(vmkeep, vcsim):
    listed = json.loads(vmkeep("vm", "list", "--json").stdout)
    assert {record["name"] for record in listed} == set(vcsim.machines)
    assert vcsim.other in vmkeep("vm", "list").stdout

    shown = json.loads(vmkeep("vm", "show", f"uuid:{vcsim.machines[vcsim.other]['instance_uuid']}", "--json").stdout)
    assert shown["identity"]["name"] == vcsim.other
    assert [disk["capacity"] for disk in shown["disks"]] == [1 << 20]
    text = vmkeep("vm", "show", vcsim.guest).stdout
    assert vcsim.guest in text
    assert "scsi0:0" in text


@pytest.mark.parametrize(("arguments", "changed", "code"), [
    (("vm", "show", "nobody"), {}, 10),
    (("vm", "list"), {"VMKEEP_PASSWORD": "wrong"}, 20),
    (("vm", "list"), {"VMKEEP_THUMBPRINT": "00" * 20}, 22),
])  # fmt: skip
def test_the_command_line_answers_an_error_in_one_line(vmkeep, arguments, changed, code):
    ended = vmkeep(*arguments, **changed)

    assert ended.returncode == code
    assert ended.stdout == ""
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "Traceback" not in ended.stderr
