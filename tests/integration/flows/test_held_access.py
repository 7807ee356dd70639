"""Storage vMotion stays off a VM as long as its snapshot is there, and no longer, whoever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.integration.flows.restoring import Restoring, back_up, hands, hold_still, new_run, restore_whole, silent
from tests.patience import eventually
from vmkeep.errors import DiskMovedError, StaleError, VmKeepError
from vmkeep.flows import backup, vm_access
from vmkeep.flows.accesses import find_held, free
from vmkeep.flows.values import BackupRequest, OnConflict
from vmkeep.flows.vm_access import identity_of
from vmkeep.flows.whole import run_backup
from vmkeep.model.point import BackupMode
from vmkeep.repository import open_repository
from vmkeep.vddk.address import IDENTITY_LIMIT
from vmkeep.vsphere import snapshots
from vmlab.testing import LabError

VM, OFF = "web01", "old01"


@pytest.fixture(autouse=True)
def nothing_left(lab):
    """No test leaves a VM held, or a fault."""
    yield
    lab.clear()
    assert {vm["name"]: vm["held_by"] for vm in lab.state()["vms"] if vm["held_by"]} == {}


@pytest.fixture
def ours(lab, site):
    """The identity under which runs into the repository hold a VM."""

    def identity(vm: str = VM) -> str:
        with open_repository(site.repository) as repository, hands(lab) as session:
            return identity_of(repository.id, session.instance_uuid, lab.vm(vm)["moref"])

    return identity


def held(lab, vm: str = VM) -> list[str]:
    return lab.vm(vm)["held_by"]


def warnings_of(site, vm: str = VM) -> list[str]:
    """Back a VM up, and return what there was to say."""
    lines: list[str] = []
    run_backup(site, BackupRequest(vm=vm, run=new_run()), bars=silent, announce=lines.append)
    return lines


@pytest.mark.parametrize("parts", [("", "", ""), ("r" * 300, "v" * 300, "m" * 300), ("ä", None, "vm-1")])
def test_an_identity_fits_whatever_it_is_made_of(parts):
    assert len(identity_of(*parts).encode()) <= IDENTITY_LIMIT


def test_vms_vcenters_and_repositories_have_identities_of_their_own_that_every_run_knows():
    made = [identity_of("r", "v", "vm-1"), identity_of("s", "v", "vm-1"), identity_of("r", "w", "vm-1")]
    assert len({*made, identity_of("r", "v", "vm-2")}) == 4
    assert identity_of("r", "v", "vm-1") == made[0]


def test_a_vm_is_held_before_its_snapshot_is_made_and_until_it_is_deleted(lab, site, ours, monkeypatch):
    seen = {}

    def watched(name):
        function = getattr(snapshots, name)

        def call(*arguments, **options):
            seen[name] = held(lab)
            return function(*arguments, **options)

        monkeypatch.setattr(snapshots, name, call)

    watched("create")
    watched("remove")
    assert warnings_of(site) == []
    assert seen == {"create": [ours()], "remove": [ours()]}
    assert held(lab) == []


def test_a_vm_that_is_off_and_read_as_it_is_is_held_too(lab, site, ours):
    pre = backup.preflight(site, BackupRequest(vm=OFF, run=new_run(), mode=BackupMode.ASIS))
    taken = backup.take_snapshot(site, pre)
    assert held(lab, OFF) == [ours(OFF)]
    backup.remove_snapshot(site, taken.vm, pre.request.run)


def test_a_vm_cannot_be_moved_from_its_snapshot_to_the_end_of_its_backup(lab, site):
    pre, taken = hold_still(site, VM)
    with pytest.raises(LabError, match="MethodDisabled"):
        lab.relocate(VM, "datastore2")
    backup.remove_snapshot(site, taken.vm, pre.request.run)
    lab.relocate(VM, "datastore2")
    lab.relocate(VM, "datastore1")


def test_a_snapshot_that_fails_lets_the_vm_go(lab, site):
    lab.fault(method="CreateSnapshot_Task", fault="SnapshotFault", count=9)
    lab.fault(method="CreateSnapshotEx_Task", fault="SnapshotFault", count=9)
    with pytest.raises(VmKeepError):
        back_up(site, VM)
    assert held(lab) == []


@pytest.mark.parametrize("code", [5, 16064], ids=["already disabled", "no right"])
def test_a_vm_that_cannot_be_held_is_backed_up_with_a_warning_in_the_point(lab, site, code):
    lab.fault(nfc={"on": "prepare", "code": code})
    (warning,) = warnings_of(site)
    assert "may be moved by Storage vMotion" in warning
    assert f"VixError {code}" in warning


def test_an_access_that_cannot_be_ended_costs_no_backup_and_the_next_one_ends_it(lab, site, ours):
    lab.fault(nfc={"on": "end", "code": 1, "count": 2})  # also what would be ended before the first
    assert warnings_of(site) == []
    assert held(lab) == [ours()]
    lab.clear()
    assert warnings_of(site) == []


def test_what_another_program_holds_stays_and_is_no_warning(lab, site):
    with hands(lab) as session:
        vm_access.release_identity(site, session, lab.vm(VM)["moref"], "not ours")  # nothing is held: nothing is done
    other = replace(site, repository=site.repository)
    pre, taken = hold_still(other, VM)
    backup.remove_snapshot(site, taken.vm, pre.request.run)
    assert held(lab) == []


def test_a_disk_that_was_moved_before_its_copy_begins_is_found_where_it_is(lab, site):
    lab.fault(nfc={"on": "prepare", "code": 5})
    pre, taken = hold_still(site, VM)
    (job,) = backup.plan_disks(site, pre, taken)
    lab.relocate(VM, "datastore2")
    with backup.copy_disk(site, job, cursor=None, on_progress=lambda _: None) as running:
        copy = running.wait()
    assert copy.disk.file_name.startswith("[datastore2]")
    sealed = backup.seal(site, pre, taken, [copy])
    assert any("Storage vMotion" in warning for warning in sealed.warnings)
    backup.remove_snapshot(site, taken.vm, pre.request.run)
    lab.relocate(VM, "datastore1")


def test_a_disk_that_moves_under_the_open_is_looked_for_once_more(lab, site, bench):
    lab.fault(nfc={"on": "open", "code": 4})
    sealed = back_up(site, VM)
    assert bench.stored(sealed.point) == {2000: lab.hash(VM, 2000)}


def test_a_disk_that_is_never_where_it_should_be_ends_the_backup_and_leaves_nothing(lab, site):
    lab.fault(nfc={"on": "open", "code": 4, "count": 9})
    with pytest.raises(DiskMovedError):
        back_up(site, VM)
    assert (held(lab), lab.vm(VM)["snapshots"]) == ([], [])


def test_a_snapshot_that_is_gone_is_no_reason_to_look_for_its_disks(lab, site):
    pre, taken = hold_still(site, VM)
    (job,) = backup.plan_disks(site, pre, taken)
    backup.remove_snapshot(site, taken.vm, pre.request.run)
    with pytest.raises((StaleError, VmKeepError), match=r"snapshot"):
        backup.copy_disk(site, job, cursor=None, on_progress=lambda _: None)


@pytest.mark.parametrize("over", [True, False], ids=["over a VM", "to a new VM"])
def test_a_restore_holds_its_vm_from_before_the_first_write_to_its_end(lab, kept, over):
    site, point = kept
    name = VM if over else f"new-{uuid.uuid4().hex[:6]}"
    run = Restoring.over(site, point) if over else Restoring.new(site, point, name)
    run.prepared()
    assert len(held(lab, name)) == 1
    with pytest.raises(LabError, match="MethodDisabled"):
        lab.relocate(name, "datastore2")
    restored = run.written().finish()
    assert (held(lab, name), restored.warnings) == ([], run.plan.warnings)


@pytest.mark.parametrize("over", [True, False], ids=["over a VM", "to a new VM"])
def test_a_restore_that_is_given_up_lets_its_vm_go(lab, kept, over):
    site, point = kept
    name = OFF if over else f"new-{uuid.uuid4().hex[:6]}"
    run = Restoring.over(site, back_up(site, OFF).point) if over else Restoring.new(site, point, name)
    assert run.prepared().clean_up() == (0 if over else 1)


def test_a_restore_says_that_its_vm_may_be_moved(lab, kept):
    site, _ = kept
    lab.fault(nfc={"on": "prepare", "code": 16064})
    done = restore_whole(site, back_up_off(lab, site), vm=OFF, on_conflict=OnConflict.OVERWRITE, power_on=False)
    assert any("Storage vMotion" in warning for warning in done.warnings)


def back_up_off(lab, site) -> str:
    lab.clear()
    point = back_up(site, OFF).point
    lab.fault(nfc={"on": "prepare", "code": 16064})
    return point
