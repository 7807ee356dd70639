"""Storage vMotion stays off a VM as long as its snapshot is there, and no longer, whoever dies on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from tests.integration.flows.restoring import (
    Restoring,
    back_up,
    hands,
    hold_still,
    new_run,
    restore_whole,
    silent,
    swept,
)  # fmt: skip
from tests.patience import HANG, eventually
from vmkeep.cli.main import cli
from vmkeep.clock import now
from vmkeep.errors import ConflictError, DiskMovedError, StaleError, StoreFullError, TransientError, VmKeepError
from vmkeep.flows import backup, liveness, other_snapshots, vm_access
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.complete_runs import run_backup
from vmkeep.flows.held_vms import run_holding
from vmkeep.flows.restore_request import OnConflict
from vmkeep.flows.sweep import Kind, State
from vmkeep.flows.vm_access import identity_of
from vmkeep.model.access import AccessJob, VmAccess
from vmkeep.model.point import BackupMode
from vmkeep.model.vmref import VmRef
from vmkeep.repository import open_repository
from vmkeep.repository.notes import runs
from vmkeep.repository.notes.runs import RunArea
from vmkeep.transfer import change_access
from vmkeep.vddk.diskaddress import IDENTITY_LIMIT
from vmkeep.vsphere import snapshots
from vmkeep.vsphere.session import Session
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


def let_go(site, **wishes) -> list[tuple[str, State]]:
    """Sweep, and return the VMs that were held, each with what became of it."""
    return [(found.vm.name, found.state) for found in swept(site, Kind.HELD, **wishes)]


def is_alive(site, **wishes) -> bool:
    """Tell whether the one VM that is held now is in use."""
    (found,) = swept(site, Kind.HELD, dry_run=True, **wishes)
    return found.state is State.IN_USE


def held(lab, vm: str = VM) -> list[str]:
    return lab.vm(vm)["held_by"]


def warnings_of(site, vm: str = VM) -> list[str]:
    """Back a VM up, and return what there was to say."""
    lines: list[str] = []
    run_backup(site, BackupRequest(vm_selector=vm, run=new_run()), bars=silent, announce=lines.append)
    return lines


@pytest.mark.parametrize("parts", [("", "", ""), ("r" * 300, "v" * 300, "m" * 300), ("ä", None, "vm-1")])
def test_an_identity_fits_whatever_it_is_made_of(parts):
    assert len(identity_of(*parts).encode()) <= IDENTITY_LIMIT


def test_every_vm_vcenter_and_repository_has_an_identity_that_every_run_knows():
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
    pre = backup.preflight(site, BackupRequest(vm_selector=OFF, run=new_run(), mode=BackupMode.ASIS))
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


@pytest.fixture
def slow_to_tell(lab):
    """A vCenter that does not tell yet which VMs cannot be moved."""
    lab.settings(hides_disabled_methods=True)
    yield
    lab.settings(hides_disabled_methods=False)


@pytest.mark.usefixtures("slow_to_tell")
def test_a_run_ends_what_it_has_taken_though_vcenter_does_not_tell_of_it_yet(lab, site):
    assert warnings_of(site) == []
    assert held(lab) == []


@pytest.mark.usefixtures("slow_to_tell")
def test_a_run_that_cannot_open_its_repository_ends_its_access_all_the_same(lab, site):
    pre, taken = hold_still(site, VM)
    gone = replace(site, repository=f"{site.repository}-gone")
    backup.remove_own_snapshot(gone, taken.vm, pre.request.run, vcenter=pre.vm.vcenter, repository=pre.repository)
    assert held(lab) == []


@pytest.fixture
def another_program(lab, site):
    """Another program's hold on the VM."""
    theirs = AccessJob(
        vms=(VmAccess(vm=VmRef(moref=lab.vm(VM)["moref"], name=VM), identity="another program"),), prepare=True
    )
    assert change_access(site, theirs).problems == {}
    yield "another program"
    change_access(site, replace(theirs, prepare=False))


def test_what_another_program_holds_stays_and_is_no_failure(lab, site, another_program):
    assert warnings_of(site) == []
    assert held(lab) == [another_program]
    assert let_go(site) == [(VM, State.LEFT)]
    assert held(lab) == [another_program]


def test_a_run_that_lives_keeps_its_vm_whoever_sweeps_or_ends(lab, site, ours):
    pre, taken = hold_still(site, VM)
    (found,) = swept(site, Kind.HELD)
    assert (found.vm.name, found.run, found.state) == (VM, pre.request.run, State.IN_USE)
    backup.remove_snapshot(site, taken.vm, "another run")
    assert held(lab) == [ours()]
    backup.remove_snapshot(site, taken.vm, pre.request.run)
    assert swept(site) == []


def test_a_backup_that_is_refused_beside_another_takes_nothing_from_it(lab, site, ours):
    pre, taken = hold_still(site, VM)
    with pytest.raises(ConflictError, match=pre.request.run):
        back_up(site, VM)
    assert held(lab) == [ours()]
    backup.remove_snapshot(site, taken.vm, pre.request.run)


def test_a_run_without_a_snapshot_is_alive_as_long_as_it_may_be(lab, site, monkeypatch):
    pre = backup.preflight(site, BackupRequest(vm_selector=OFF, run=new_run(), mode=BackupMode.ASIS, owner="somebody"))
    taken = backup.take_snapshot(site, pre)
    alive = {
        "young": is_alive(site),
        "it has ended": is_alive(site, has_ended=lambda _: True),
        "it goes on": is_alive(site, has_ended=lambda _: False, given_up=timedelta()),
    }
    monkeypatch.setattr(liveness, "YOUNG", timedelta())
    alive |= {
        "old": is_alive(site),
        "given up": is_alive(site, given_up=timedelta()),
    }
    assert alive == {"young": True, "it has ended": False, "it goes on": True, "old": True, "given up": False}
    assert let_go(site, given_up=timedelta()) == [(OFF, State.REPAIRED)]
    backup.remove_snapshot(site, taken.vm, pre.request.run)


def test_a_vcenter_whose_clock_was_ahead_keeps_no_dead_run_alive(lab, site, monkeypatch):
    ahead = timedelta(days=400)
    with monkeypatch.context() as wrong:
        right = Session.server_time
        wrong.setattr(Session, "server_time", lambda session: right(session) + ahead)
        pre = backup.preflight(site, BackupRequest(vm_selector=OFF, run=new_run(), mode=BackupMode.ASIS))
        backup.take_snapshot(site, pre)
    left = snapshots.VmSnapshot(
        moref="snapshot-1", name="", run="dead", created_at=datetime.now(UTC) + ahead, quiesced=False
    )
    with open_repository(site.repository) as repository:
        assert not other_snapshots.snapshot_run_is_alive(repository, left, now=datetime.now(UTC))
    assert let_go(site) == [(OFF, State.REPAIRED)]


@pytest.mark.parametrize("error", [StoreFullError("full"), TransientError("busy")], ids=["full", "busy"])
def test_a_run_that_cannot_note_that_it_holds_a_vm_holds_none_and_goes_on(lab, site, monkeypatch, error):
    store = RunArea.store

    def without_note(area, name, data):
        if name == "holder":
            raise error
        store(area, name, data)

    monkeypatch.setattr(RunArea, "store", without_note)
    (warning,) = warnings_of(site)
    assert str(error) in warning


def test_an_access_that_a_sweep_cannot_end_is_told_and_tried_again(lab, site, monkeypatch):
    monkeypatch.setattr(liveness, "YOUNG", timedelta())
    pre = backup.preflight(site, BackupRequest(vm_selector=OFF, run=new_run(), mode=BackupMode.ASIS))
    backup.take_snapshot(site, pre)
    lab.fault(nfc={"on": "end", "code": 14011})
    (tried,) = swept(site, Kind.HELD)
    assert (tried.vm.name, tried.state) == (OFF, State.FAILED)
    assert "VixError 14011" in tried.line
    assert let_go(site) == [(OFF, State.REPAIRED)]


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


@pytest.fixture
def moved(lab, site):
    """A planned copy whose VM was held, and was moved after somebody had ended the hold."""
    pre, taken = hold_still(site, VM)
    (job,) = backup.plan_disks(site, pre, taken)
    with open_repository(site.repository) as repository, hands(lab) as session:
        vm_access.release(site, session, repository, taken.vm, pre.request.run)
    lab.relocate(VM, "datastore2")
    yield job
    backup.remove_snapshot(site, taken.vm, pre.request.run)
    lab.relocate(VM, "datastore1")


def test_a_held_disk_that_was_moved_all_the_same_is_not_read_elsewhere_and_is_found_by_the_next_try(site, moved):
    with pytest.raises(DiskMovedError), copying(site, moved) as running:
        running.wait()
    with copying(site, moved, again=True) as running:
        assert running.wait().disk.file_name.startswith("[datastore2]")


@pytest.mark.parametrize("ago", [backup.SEEN_LATELY, -timedelta(minutes=1)], ids=["long ago", "a clock went back"])
def test_a_copy_does_not_go_by_a_plan_that_is_not_known_to_be_young(site, moved, ago):
    with copying(site, replace(moved, seen_at=now() - ago)) as running:
        assert running.wait().disk.file_name.startswith("[datastore2]")


def test_copies_look_for_their_disks_where_the_driver_holds_no_vm(site, monkeypatch):
    real = vm_access.choose_driver
    monkeypatch.setattr(vm_access, "choose_driver", lambda of: replace(real(of), holds=False))
    pre, taken = hold_still(site, VM)
    (job,) = backup.plan_disks(site, pre, taken)
    backup.remove_snapshot(site, taken.vm, pre.request.run)
    assert (taken.held, job.seen_at) == (False, None)


def copying(site, job, **options):
    return backup.copy_disk(site, job, cursor=None, on_progress=lambda _: None, **options)


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
        copying(site, job, again=True)
    with pytest.raises(VmKeepError, match=r"this run is being cleaned up"), copying(site, job) as running:
        running.wait()


@pytest.fixture
def command(lab, site):
    """Run the command line; returns what it said and its exit code."""

    def run(*arguments: str) -> tuple[str, int]:
        vsphere = ["--vcenter", f"{lab.host}:{lab.port}", "--user", lab.user, "--thumbprint", lab.thumbprint]
        given = [*arguments, "-r", site.repository, *vsphere, "--vddk", str(lab.vddk)]
        done = CliRunner().invoke(cli, given, env={"VMKEEP_PASSWORD": lab.password}, standalone_mode=False)
        return done.output, getattr(done.exception, "exit_code", done.exit_code)

    return run


def test_the_command_sweep_tells_what_it_would_do_and_does_it(lab, site, command, monkeypatch):
    pre = backup.preflight(site, BackupRequest(vm_selector=OFF, run=new_run(), mode=BackupMode.ASIS))
    backup.take_snapshot(site, pre)
    said, code = command("vm", "sweep")
    assert (pre.request.run in said, "in use" in said, code, len(held(lab, OFF))) == (True, True, 0, 1)
    monkeypatch.setattr(liveness, "YOUNG", timedelta())
    said, code = command("vm", "sweep", "--dry-run")
    assert (pre.request.run in said, "to be repaired" in said, code, len(held(lab, OFF))) == (True, True, 0, 1)
    lab.fault(nfc={"on": "end", "code": 14011})
    said, code = command("vm", "sweep")
    assert ("VixError 14011" in said, code) == (True, TransientError.exit_code)
    said, code = command("vm", "sweep", "--json")
    assert (json.loads(said)["counts"], code) == ({"VM that cannot be moved": {"repaired": 1}}, 0)
    assert command("vm", "sweep") == ("no leftovers\n", 0)


KILLED = """
import os, signal, sys
from importlib import import_module
module, _, name = sys.argv.pop(1).partition(":")
setattr(import_module(module), name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
from vmkeep.cli.main import main
main()
"""
"""The command line, which dies without a word when it comes to a function."""


@pytest.fixture
def killed_at(lab, site):
    """Let a backup of the command line be killed at a function."""

    def kill(function: str) -> None:
        with started_command(lab, site, KILLED, function) as command:
            _, said = command.communicate(timeout=HANG)
        assert command.returncode == -signal.SIGKILL, said

    return kill


def started_command(lab, site, code: str, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {
        "VMKEEP_REPOSITORY": site.repository, "VMKEEP_VCENTER": f"{lab.host}:{lab.port}", "VMKEEP_USER": lab.user,
        "VMKEEP_PASSWORD": lab.password, "VMKEEP_THUMBPRINT": lab.thumbprint, "VMKEEP_VDDK": str(lab.vddk),
    }  # fmt: skip
    argv = [sys.executable, "-c", code, *arguments, "backup", "run", VM]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_backup_killed_while_it_asks_vcenter_holds_its_vm_until_the_next_one(lab, site):
    lab.fault(nfc={"on": "prepare", "hang_seconds": HANG})
    with started_command(lab, site, "from vmkeep.cli.main import main; main()") as command:
        eventually(lambda: run_holding(site, lab.vm(VM)["moref"]))
        command.kill()
    lab.clear()  # and vCenter goes on with what it was asked, though nobody waits for it
    assert warnings_of(site) == []


def next_one(site) -> None:
    assert warnings_of(site) == []


def sweep(site) -> None:
    assert {found.state for found in swept(site)} == {State.REPAIRED}


@pytest.mark.parametrize(
    ("step", "cure"),
    [
        ("vmkeep.flows.backup:hold_still", next_one),
        ("vmkeep.flows.backup:seal", next_one),
        ("vmkeep.flows.backup:seal", sweep),
        ("vmkeep.flows.vm_access:release_identity", sweep),
    ],
)
def test_a_backup_killed_anywhere_holds_its_vm_until_the_next_one_or_a_sweep(
    lab, site, ours, killed_at, monkeypatch, step, cure
):
    killed_at(step)
    assert held(lab) == [ours()]
    monkeypatch.setattr(liveness, "YOUNG", timedelta())
    monkeypatch.setattr(runs, "EXPIRES_AFTER", 0.5)  # nobody renews the lease of a process that is gone
    cure(site)
    assert (held(lab), lab.vm(VM)["snapshots"]) == ([], [])


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
    point = back_up(site, OFF).point
    lab.fault(nfc={"on": "prepare", "code": 16064})
    done = restore_whole(site, point, vm_selector=OFF, on_conflict=OnConflict.OVERWRITE, power_on=False)
    assert any("Storage vMotion" in warning for warning in done.warnings)
