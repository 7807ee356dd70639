"""A repository that fails in mid-backup is no reason for a VM to keep a snapshot that grows."""

from __future__ import annotations

import subprocess
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.flows.restoring import hands
from tests.patience import HANG
from vmkeep.errors import CorruptError, DeadlineError, StoreFullError
from vmkeep.flows import backup, snapshot_removal
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.complete_runs import run_backup
from vmkeep.repository import create_repository
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import wait_task


@pytest.fixture
def disk(tmp_path):
    """A file system of eight mebibytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def site(site, disk):
    create_repository(str(disk / "repository"))
    return replace(site, repository=str(disk / "repository"))


def request():
    return BackupRequest(vm_selector="app01", run=f"test-{uuid.uuid4().hex}", full=True)


def fill(disk: Path) -> None:
    with (disk / "something else").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_backup_into_a_disk_that_fills_up_leaves_no_snapshot(lab, site, disk, bench):
    lab.write("app01", 2, [{"offset": 0, "length": 16 << 20, "seed": 1}])
    with pytest.raises(StoreFullError):
        run_backup(site, request(), bars=lambda _: lambda _event: fill(disk), announce=lambda _line: None)

    assert bench.snapshots("app01") == []


def test_a_backup_into_a_repository_that_cannot_be_opened_any_more_leaves_no_snapshot(site, disk, bench):
    # Room for the whole VM, because a copy may write all of its data before its first progress is told here.
    subprocess.run(["mount", "-o", "remount,size=512m", disk], check=True)

    class Stop(Exception):
        pass

    def spoil(_event):
        (disk / "repository" / "vmkeep.json").write_bytes(b"{")
        raise Stop

    with pytest.raises((Stop, CorruptError)):  # another disk's copy may open the repository only now
        run_backup(site, request(), bars=lambda _: spoil, announce=lambda _line: None)

    assert bench.snapshots("app01") == []


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


@pytest.mark.parametrize("spoil", [fill, make_read_only])
def test_a_disk_that_takes_nothing_more_keeps_no_step_from_removing_the_snapshot(site, disk, bench, spoil):
    pre = backup.preflight(site, request())
    taken = backup.take_snapshot(site, pre)
    assert len(bench.snapshots("app01")) == 1
    spoil(disk)

    backup.remove_snapshot(site, taken.vm, pre.request.run, vcenter=pre.vm.vcenter)

    assert bench.snapshots("app01") == []


def test_disks_that_somebodys_removal_left_unmerged_are_merged_all_the_same(site, lab, bench):
    pre = backup.preflight(site, request())
    taken = backup.take_snapshot(site, pre)
    with hands(lab) as session:
        snapshot = session.managed(vim.vm.Snapshot, taken.snapshot)
        task = snapshot.RemoveSnapshot_Task(removeChildren=False, consolidate=False)
        wait_task(session, task, what="remove the snapshot", timeout=HANG)

    removal = backup.remove_snapshot(site, taken.vm, pre.request.run, vcenter=pre.vm.vcenter)

    assert (removal.snapshots_removed, removal.consolidated) == (0, True)
    again = backup.remove_snapshot(site, taken.vm, pre.request.run, vcenter=pre.vm.vcenter)
    assert (again.snapshots_removed, again.consolidated) == (0, False)


def test_a_vcenter_that_fails_is_no_fault_of_the_repository_and_is_asked_once(site, monkeypatch):
    asked = []

    def gives_up(_session, vm):
        asked.append(vm)
        raise DeadlineError(waiting_for="remove snapshot", seconds=1)

    monkeypatch.setattr(snapshot_removal, "find_remains", gives_up)
    with pytest.raises(DeadlineError):
        backup.remove_own_snapshot(site, "vm-1", "run-1", vcenter=None)

    assert asked == ["vm-1"]
