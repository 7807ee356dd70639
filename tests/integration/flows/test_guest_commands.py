"""Commands in the guest: freeze, snapshot and thaw follow each other at once, and a begun freeze is always thawed."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.integration.flows.restoring import hands, new_run, power
from tests.patience import HANG, eventually
from vmkeep.cli.main import cli
from vmkeep.errors import AuthenticationError, ConflictError, GuestCommandError, StaleError, UsageError, VSphereError
from vmkeep.flows import backup, guest_hooks, guest_thaws
from vmkeep.flows.backup_values import BackupRequest, Preflight, SnapshotTaken
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.liveness import HasEnded, nobody_knows
from vmkeep.model.guest import CommandsRun, GuestCommands, GuestLogin
from vmkeep.model.job import to_json
from vmkeep.model.point import BackupMode
from vmkeep.model.site import Site
from vmkeep.repository import open_repository, open_site_repository
from vmkeep.repository.notes import runs
from vmkeep.vsphere import snapshots
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import wait_task
from vmlab.testing import Lab

VM, FREEZE, THAW = "web01", "/opt/db/freeze", "/opt/db/thaw"
SECRET = "pw-of-the-guest"


def logins(name: str) -> GuestLogin:
    if name != "guest_web":
        raise UsageError(name)
    return GuestLogin(user="backup", password=SECRET)


class Guest:
    """web01's guest: what its programs do, and what happened since the test began."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._before = len(lab.guest_events(VM))

    def script(self, match: str, **behaviour: Any) -> None:
        self._lab.post("guest/program", {"vm": VM, "match": match, **behaviour})

    @property
    def story(self) -> list[str]:
        """The events in words: `freeze`, `snapshot`, `terminate freeze` …; programs that ended well are left out."""
        told = []
        for event in self._lab.guest_events(VM)[self._before :]:
            name = next((name for name in ("freeze", "thaw") if f"/opt/db/{name}" in event.get("command", "")), "")
            if event["what"] != "end":
                told.append({"start": name, "snapshot": "snapshot"}.get(event["what"]) or f"{event['what']} {name}")
        return told

    @property
    def files(self) -> list[str]:
        return self._lab.guest_files(VM)


@pytest.fixture
def guest(lab: Lab) -> Iterator[Guest]:
    lab.post("guest/user", {"vm": VM, "user": "backup", "password": SECRET})
    made = Guest(lab)
    made.script(FREEZE, output="all tables locked")
    made.script(THAW, output="unlocked")
    yield made
    lab.clear()


@pytest.fixture
def begin(site: Site) -> Iterator[Any]:
    """Plan a backup and take its snapshot; everything is cleaned up at the end."""
    begun: list[Preflight] = []

    def take(*, has_ended: HasEnded = nobody_knows, **options: Any) -> SnapshotTaken:
        commands = GuestCommands(**({"freeze": FREEZE, "thaw": THAW, "login": "guest_web"} | options))
        request = BackupRequest(vm_selector=VM, run=new_run(), owner="somebody", guest=commands)
        begun.append(backup.preflight(site, request, logins=logins))
        return backup.take_snapshot(site, begun[-1], has_ended=has_ended, logins=logins)

    take.plans = begun  # type: ignore[attr-defined]
    yield take
    for pre in begun:
        with contextlib.suppress(GuestCommandError):
            backup.remove_snapshot(site, pre.vm.moref or "", pre.request.run, logins=logins)


def test_of_two_backups_of_one_vm_that_begin_at_once_the_later_gives_way_and_the_earlier_keeps_what_it_needs(
    site, guest, lab
):
    """The other backup takes its snapshot when this one has found the VM free, and has not taken its own yet."""
    other = backup.preflight(site, BackupRequest(vm_selector=VM, run=new_run(), owner="the earlier"))
    taken: list[SnapshotTaken] = []

    def meanwhile(name: str) -> GuestLogin:
        if not taken:
            taken.append(backup.take_snapshot(site, other))
        return logins(name)

    commands = GuestCommands(freeze=FREEZE, thaw=THAW, login="guest_web")
    pre = backup.preflight(site, BackupRequest(vm_selector=VM, run=new_run(), guest=commands), logins=logins)
    try:
        with pytest.raises(ConflictError, match=f"{other.request.run}, which began at the same time.*gives way"):
            backup.take_snapshot(site, pre, logins=meanwhile)

        found = lab.vm(VM)
        assert [each["moref"] for each in found["snapshots"]] == [taken[0].snapshot]
        assert len(found["held_by"]) == 1, "the earlier one is still kept from Storage vMotion"
    finally:
        backup.remove_snapshot(site, other.vm.moref or "", other.request.run)
    assert (lab.vm(VM)["snapshots"], lab.vm(VM)["held_by"]) == ([], [])


@pytest.mark.parametrize("whose", ["its own", "a dead run's"])
def test_a_backup_gives_way_to_no_snapshot_of_its_own_or_of_a_dead_run_that_appears_before_its_own(
    site, guest, lab, whose
):
    """vSphere may still take a snapshot whose task it forgot, or whose caller died."""
    run = new_run()
    late = run if whose == "its own" else new_run()

    def meanwhile(name: str) -> GuestLogin:
        if not lab.vm(VM)["snapshots"]:
            with open_site_repository(site) as repository, open_vsphere(site) as session:
                if late != run:
                    repository.run(late).store("owner", b"an Airflow")
                snapshots.create(session, lab.vm(VM)["moref"], run=late, repository=repository.id, quiesce=False)
        return logins(name)

    commands = GuestCommands(freeze=FREEZE, thaw=THAW, login="guest_web")
    pre = backup.preflight(site, BackupRequest(vm_selector=VM, run=run, guest=commands), logins=logins)
    try:
        taken = backup.take_snapshot(site, pre, logins=meanwhile, has_ended=lambda owner: owner == "an Airflow" or None)

        with open_vsphere(site) as session:
            found = snapshots.list_all(session, pre.vm.moref or "")
        assert [each.run for each in found] == [late, run]
        assert found[-1].moref == taken.snapshot
    finally:
        for each in {run, late}:
            backup.remove_snapshot(site, pre.vm.moref or "", each)
    assert (lab.vm(VM)["snapshots"], lab.vm(VM)["held_by"]) == ([], [])


def test_a_dead_runs_snapshot_of_another_repository_is_judged_once_and_by_one_clock(site, guest, lab, monkeypatch):
    """The host that takes snapshots is two days behind vCenter, by whose clock the run is dead."""
    right = Session.server_time
    monkeypatch.setattr(Session, "server_time", lambda session: right(session) + timedelta(hours=49))
    with open_vsphere(site) as session:
        dead = snapshots.create(session, lab.vm(VM)["moref"], run="dead", repository="another", quiesce=False)
    pre = backup.preflight(site, BackupRequest(vm_selector=VM, run=new_run()))
    try:
        assert backup.take_snapshot(site, pre).snapshot
    finally:
        backup.remove_snapshot(site, pre.vm.moref or "", pre.request.run)
        with open_vsphere(site) as session:
            snapshots.remove(session, pre.vm.moref or "", dead.moref)


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_backup_gives_way_to_one_that_began_at_once_although_their_hosts_clocks_differ(
    site, guest, lab, monkeypatch, hours
):
    """The VM was moved between the two snapshots. No copy of the other one holds a lease yet."""
    create, other = snapshots.create, new_run()

    def by_another_clock(*args: Any, **options: Any) -> snapshots.VmSnapshot:
        taken = create(*args, **options)
        return replace(taken, created_at=taken.created_at + timedelta(hours=hours))

    def meanwhile(name: str) -> GuestLogin:
        if not lab.vm(VM)["snapshots"]:
            with open_site_repository(site) as repository, open_vsphere(site) as session:
                repository.run(other).store("owner", b"")  # the command line
                create(session, lab.vm(VM)["moref"], run=other, repository=repository.id, quiesce=False)
        return logins(name)

    monkeypatch.setattr(snapshots, "create", by_another_clock)
    commands = GuestCommands(freeze=FREEZE, thaw=THAW, login="guest_web")
    pre = backup.preflight(site, BackupRequest(vm_selector=VM, run=new_run(), guest=commands), logins=logins)
    try:
        with pytest.raises(ConflictError, match=f"{other}, which began at the same time"):
            backup.take_snapshot(site, pre, logins=meanwhile)
    finally:
        backup.remove_snapshot(site, pre.vm.moref or "", other)


def test_the_snapshot_lies_between_freeze_and_thaw_and_their_output_is_in_the_log(begin, guest, lab, caplog, site):
    caplog.set_level(logging.DEBUG)

    taken = begin()

    assert guest.story == ["freeze", "snapshot", "thaw"]
    assert taken.warnings == ()
    assert taken.guest_commands == CommandsRun(freeze="succeeded", thaw="succeeded")
    assert len(lab.vm(VM)["snapshots"]) == 1
    assert {"VM web01: freeze: all tables locked", "VM web01: thaw: unlocked"} <= set(caplog.messages)
    assert guest.files == []
    assert guest_thaws.find_left(site) == ()
    assert SECRET not in caplog.text + str(begin.plans) + to_json(begin.plans[0]).decode()


def test_a_freeze_that_fails_fails_the_backup_before_the_snapshot_and_the_guest_is_thawed(begin, guest, lab, caplog):
    caplog.set_level(logging.WARNING)  # as on a terminal
    guest.script(FREEZE, exit=3, output="no such database")

    with pytest.raises(GuestCommandError, match="exit code 3"):
        begin()

    assert guest.story == ["freeze", "thaw"]
    assert lab.vm(VM)["snapshots"] == []
    assert [said for said in caplog.messages if "VM web01: freeze: " in said] == ["VM web01: freeze: no such database"]
    assert "unlocked" not in caplog.text  # the thaw succeeded


def test_a_freeze_may_fail_where_that_was_asked_for_and_the_point_says_so(begin, guest):
    guest.script(FREEZE, exit=3)

    taken = begin(required=False)

    assert guest.story == ["freeze", "snapshot", "thaw"]
    assert ["exit code 3" in warning for warning in taken.warnings] == [True]
    assert taken.guest_commands == CommandsRun(freeze="failed", thaw="succeeded")


def test_a_freeze_that_hangs_is_terminated_at_its_limit_and_thawed(begin, guest):
    guest.script(FREEZE, seconds=None, ignores_term=True)

    with pytest.raises(GuestCommandError, match="did not end within 1 s; it was terminated"):
        begin(seconds=1.0)

    assert guest.story == ["freeze", "terminate freeze", "thaw"]


def test_the_guest_is_thawed_when_the_snapshot_fails(begin, guest, lab):
    lab.fault(method="CreateSnapshot_Task", fault="FileFault", count=9)

    with pytest.raises(VSphereError):
        begin()

    assert guest.story == ["freeze", "thaw"]


def test_a_lost_answer_starts_no_command_twice(begin, guest, lab):
    lab.fault(method="StartProgramInGuest", drop=True, after=True, count=2)

    begin()

    assert guest.story == ["freeze", "snapshot", "thaw"]


def test_a_thaw_that_fails_is_a_warning_and_is_tried_again_until_the_removal_of_the_snapshot_fails_loudly(
    begin, guest, lab, site
):
    guest.script(THAW, exit=1)
    taken = begin()
    pre = begin.plans[0]
    assert guest.story == ["freeze", "snapshot", "thaw", "thaw", "thaw"]
    assert ["may still be frozen" in warning for warning in taken.warnings] == [True]
    assert taken.guest_commands == CommandsRun(freeze="succeeded", thaw="failed")

    with pytest.raises(GuestCommandError, match="may still be frozen"):
        backup.remove_snapshot(site, taken.vm, pre.request.run, logins=logins)
    assert lab.vm(VM)["snapshots"] == []
    assert [left.note.run for left in guest_thaws.find_left(site)] == [pre.request.run]

    guest.script(THAW)
    backup.remove_snapshot(site, taken.vm, pre.request.run, logins=logins)
    assert guest_thaws.find_left(site) == ()


@pytest.mark.parametrize("required", [True, False])
def test_a_guest_that_restarts_after_its_freeze_counts_as_not_frozen_and_is_thawed(site, guest, lab, required):
    commands = GuestCommands(freeze=FREEZE, thaw=THAW, login="guest_web", required=required)
    pre = backup.preflight(site, BackupRequest(vm_selector=VM, run=new_run(), guest=commands), logins=logins)
    warnings: list[str] = []

    with (
        pytest.raises(GuestCommandError, match="restarted") if required else contextlib.nullcontext(),
        hands(lab) as session,
        open_repository(site.repository) as repository,
        guest_hooks.frozen_guest(session, repository, pre, logins, warnings) as frozen,
    ):
        machine = session.vm(lab.vm(VM)["moref"])
        wait_task(session, machine.ResetVM_Task(), what="restart", timeout=HANG)

    assert guest.story == ["freeze", "thaw"]
    assert guest_thaws.find_left(site) == ()
    if not required:
        assert frozen.ran == CommandsRun(freeze="failed", thaw="succeeded")
        assert ["restarted" in warning for warning in warnings] == [True]


def test_a_vm_that_is_switched_off_while_its_guest_freezes_has_nothing_to_thaw(begin, guest, lab, site):
    guest.script(FREEZE, seconds=None)

    def switch_off() -> None:
        eventually(lambda: "freeze" in guest.story)
        power(lab, VM, on=False)

    with ThreadPoolExecutor(1) as somebody:
        switched_off = somebody.submit(switch_off)
        with pytest.raises(StaleError, match="does not run any more"):
            begin()
        switched_off.result(HANG)

    assert guest_thaws.find_left(site) == ()
    power(lab, VM, on=True)


def test_a_wrong_password_or_a_missing_user_fails_before_anything_is_touched(site, guest, lab):
    request = BackupRequest(vm_selector=VM, run=new_run(), guest=GuestCommands(thaw=THAW, login="guest_web"))

    named = rf"guest of VM {VM} \({lab.vm(VM)['moref']}\) as user backup"
    with pytest.raises(AuthenticationError, match=named):
        backup.preflight(site, request, logins=lambda _: GuestLogin(user="backup", password="wrong"))
    with pytest.raises(UsageError):
        backup.preflight(site, replace(request, guest=GuestCommands(thaw=THAW, login="other")), logins=logins)

    assert guest.story == []


def test_another_backup_of_the_vm_leaves_the_guest_of_a_living_run_frozen(site, guest, lab, begin):
    """The lease of the living run is held here, as its process would."""
    guest.script(THAW, exit=1)
    lab.fault(method="CreateSnapshot_Task", fault="FileFault")
    with pytest.raises(VSphereError):
        begin()
    running = begin.plans[0].request.run
    before = len(guest.story)
    with open_repository(site.repository) as repository, repository.run(running).open_lease("freeze"):
        assert [left.alive for left in guest_thaws.find_left(site)] == [True]
        with pytest.raises(ConflictError, match=f"run {running}, which has frozen its guest"):
            begin()
    assert guest.story[before:] == []
    guest.script(THAW)


def test_no_command_runs_in_a_vm_that_is_off_and_the_backup_says_so(site):
    commands = GuestCommands(freeze=FREEZE, thaw=THAW, login="guest_web")
    request = BackupRequest(vm_selector="old01", run=new_run(), mode=BackupMode.ASIS, guest=commands)

    pre = backup.preflight(site, request, logins=logins)
    taken = backup.take_snapshot(site, pre, logins=logins)
    backup.remove_snapshot(site, taken.vm, request.run)

    assert any("no command is run in the guest" in warning for warning in pre.warnings)
    assert taken.guest_commands == CommandsRun(freeze="not-run", thaw="not-run")


def test_a_process_that_is_told_to_stop_while_the_guest_is_frozen_thaws_it(site, guest, lab):
    process = begin_and_wait(site, guest, lab)[1]

    process.send_signal(signal.SIGTERM)
    process.wait(HANG)

    assert guest.story == ["freeze", "thaw"]
    assert guest_thaws.find_left(site) == ()
    end_tasks(lab)


def test_the_command_line_freezes_and_thaws_and_refuses_a_freeze_that_nothing_takes_back(site, guest, lab, tmp_path):
    (password := tmp_path / "pw").write_text(SECRET)
    password.chmod(0o600)
    run = ["backup", "run", VM, "-r", site.repository, "--vcenter", f"{lab.host}:{lab.port}", "--user", lab.user,
           "--vddk", str(lab.vddk), "--guest-user", "backup", "--guest-password-file", str(password)]  # fmt: skip
    secrets = {"VMKEEP_PASSWORD": lab.password, "VMKEEP_THUMBPRINT": lab.thumbprint, "VMKEEP_CATALOG": "sqlite://"}
    cli_runner = CliRunner(env=secrets)

    refused = cli_runner.invoke(cli, [*run, "--pre-freeze", FREEZE], standalone_mode=False)
    assert isinstance(refused.exception, UsageError)
    assert guest.story == []
    done = cli_runner.invoke(cli, [*run, "--pre-freeze", FREEZE, "--post-thaw", THAW], standalone_mode=False)

    assert done.exception is None
    assert guest.story == ["freeze", "snapshot", "thaw"]
    assert lab.vm(VM)["snapshots"] == []


def test_a_person_lists_and_thaws_the_guests_that_dead_runs_have_left(site, guest, lab):
    pre = dying_run(site, guest, lab)
    with open_repository(site.repository) as repository:
        repository.run(pre.request.run).fence()  # else each command watches the dead run's lease until it expires
    where = ["-r", site.repository, "--vcenter", f"{lab.host}:{lab.port}", "--user", lab.user]
    secrets = {"VMKEEP_PASSWORD": lab.password, "VMKEEP_THUMBPRINT": lab.thumbprint, "VMKEEP_GUEST_PASSWORD": SECRET}
    cli_runner = CliRunner(env=secrets)

    listed = cli_runner.invoke(cli, ["vm", "thaw", "--dry-run", "--json", *where])
    assert [one["run"] for one in json.loads(listed.stdout)] == [pre.request.run]
    unnamed = cli_runner.invoke(cli, ["vm", "thaw", *where], standalone_mode=False)
    assert isinstance(unnamed.exception, GuestCommandError)
    assert "--guest-user" in unnamed.output
    done = cli_runner.invoke(cli, ["vm", "thaw", "--guest-user", "backup", *where])

    assert (done.exit_code, guest.story) == (0, ["freeze", "thaw"])
    assert "no guest is left frozen" in cli_runner.invoke(cli, ["vm", "thaw", *where]).output
    assert SECRET not in listed.output + unnamed.output + done.output


DYING = """
import signal, sys
from tests.integration.flows.test_guest_commands import logins
from vmkeep.flows import backup
from vmkeep.flows.backup_values import Preflight
from vmkeep.model.job import from_json
from vmkeep.model.site import Site, VCenter
def stop(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
backup.take_snapshot(from_json(Site, sys.argv[1]), from_json(Preflight, sys.argv[2]), logins=logins)
"""


def test_a_guest_whose_run_died_between_freeze_and_snapshot_is_thawed_by_the_sweep_and_by_the_next_backup(
    site, guest, lab, begin, monkeypatch
):
    monkeypatch.setattr(runs, "EXPIRES_AFTER", 0.5)  # nobody renews the lease of a process that is gone
    for cure in ("sweep", "backup"):
        pre = dying_run(site, guest, lab)
        [left] = guest_thaws.find_left(site, has_ended=nobody_knows if cure == "sweep" else lambda _: True)
        assert (left.note.run, left.alive) == (pre.request.run, False)

        if cure == "sweep":
            assert guest_thaws.thaw_dead(site, left, logins) is None
            assert guest.story[-1] == "thaw"
        else:
            before = len(guest.story)
            begin(has_ended=lambda _: True)
            assert guest.story[before:] == ["thaw", "freeze", "snapshot", "thaw"]
        assert guest_thaws.find_left(site) == ()


def dying_run(site: Site, guest: Guest, lab: Lab) -> Preflight:
    """Kill a process that has frozen the guest, while it waits for its snapshot, which fails afterwards."""
    before = len(guest.story)
    pre, process = begin_and_wait(site, guest, lab)
    process.send_signal(signal.SIGKILL)
    process.wait(HANG)
    assert guest.story[before:] == ["freeze"]
    end_tasks(lab)
    return pre


def begin_and_wait(site: Site, guest: Guest, lab: Lab) -> tuple[Preflight, subprocess.Popen[bytes]]:
    """Start a process that freezes the guest, and wait until it waits for its snapshot, which fails."""
    commands = GuestCommands(freeze=FREEZE, thaw=THAW, login="guest_web")
    request = BackupRequest(vm_selector=VM, run=new_run(), owner="somebody", guest=commands)
    pre = backup.preflight(site, request, logins=logins)
    lab.fault(method="CreateSnapshot_Task", fault="FileFault", delay=HANG)
    asked = lab.state()["calls"].get("CreateSnapshot_Task", 0)
    root = Path(__file__).parents[3]
    process = subprocess.Popen([sys.executable, "-c", DYING, to_json(site).decode(), to_json(pre).decode()], cwd=root)

    def has_asked() -> bool:
        assert process.poll() is None
        return bool(lab.state()["calls"].get("CreateSnapshot_Task", 0) > asked)

    eventually(has_asked)
    return pre, process


def end_tasks(lab: Lab) -> None:
    """Let the lab go on with the snapshot of a process that is gone, and wait until it has failed."""
    lab.clear()
    eventually(lambda: not lab.state()["running_tasks"])
