"""A restore that dies leaves nothing half made for long: whoever comes next clears it away, and no living one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.integration.flows.restoring import (
    Restoring,
    hands,
    hold_still,
    names,
    power,
    restore_whole,
    silent,
    swept,
    write,
)
from tests.patience import eventually
from vmkeep.errors import ConflictError, NotFoundError, StaleError, TransferError, VmKeepError
from vmkeep.flows import backup, restore
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.complete_runs import carry_out, run_restore
from vmkeep.flows.leftovers import find_run_snapshots
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.flows.restore_request import MacAddresses, OnConflict, make_request
from vmkeep.flows.resumed_restores import resume_restore
from vmkeep.flows.sweep import Kind, State
from vmkeep.model.job import from_json
from vmkeep.model.point import BackupMode
from vmkeep.repository import create_repository, open_repository
from vmkeep.repository.notes import runs
from vmkeep.transfer.writelog import WrittenPart
from vmkeep.vsphere import claims

VM = "web01"
DISK = 2000
NEVER = timedelta(days=9999)


@pytest.fixture
def name() -> str:
    return f"new-{uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="module")
def standing(kept) -> str:
    """A restored VM that runs, whose tests leave it as it was."""
    site, point = kept
    Restoring.new(site, point, "standing").prepared().written().finish()
    return "standing"


def ended(_owner: str) -> bool:
    return True


def runs_on(_owner: str) -> bool:
    return False


def mark(lab, vm: str):
    with hands(lab) as session:
        return claims.claim_on(session, lab.vm(vm)["moref"])


def found(site, **how):
    listed = swept(site, Kind.RESTORE, dry_run=True, **how)
    return [(one.vm.name, one.detail == "made by the restore", one.state is State.IN_USE) for one in listed]


def again(site, point, monkeypatch, **options):
    """Restore in one call, as the command line does, by an observer who need not wait long for a dead one's lease."""
    monkeypatch.setattr(runs, "EXPIRES_AFTER", 0.5)  # nobody renews the lease of a process that is gone
    return restore_whole(site, point, **options)


def handed_over_but_off(lab, written: Restoring) -> Restoring:
    """End a restore up to its last step, which vCenter refuses."""
    lab.fault(method="PowerOnVM_Task", fault="InvalidHostState", count=1)
    try:
        with pytest.raises(VmKeepError):
            written.finish()
    finally:
        lab.clear()
    return written


@pytest.mark.parametrize("over", [False, True], ids=["to a new VM", "over a VM"])
def test_a_restore_killed_in_the_middle_can_be_run_again(lab, kept, name, monkeypatch, over, in_children):
    site, point = kept
    in_children("import vmkeep.transfer.stop_reasons as s; s.GRACE = 0.2")
    if over:
        Restoring.new(site, point, name).prepared().written().finish()
    goal = ["--vm", name, "--on-conflict", "overwrite"] if over else ["--new-name", name]
    lab.fault(nfc={"on": "write", "hang_seconds": 300, "after_bytes": 0, "count": None})
    try:
        command = subprocess.Popen(
            [sys.executable, "-m", "vmkeep.cli.main", "restore", "run", point, *goal],
            env=os.environ
            | {
                "VMKEEP_REPOSITORY": site.repository, "VMKEEP_VCENTER": f"{lab.host}:{lab.port}",
                "VMKEEP_USER": lab.user, "VMKEEP_PASSWORD": lab.password, "VMKEEP_THUMBPRINT": lab.thumbprint,
                "VMKEEP_VDDK": str(lab.vddk),
            },
        )  # fmt: skip
        eventually(lambda: lab.state()["nfc"] or command.poll() is not None)
        assert command.poll() is None, "it ended before it wrote"
        command.send_signal(signal.SIGKILL)
        command.wait()
    finally:
        lab.clear()
    eventually(lambda: not lab.state()["nfc"], "the end of the child process that writes")
    assert mark(lab, name).made is not over

    done = again(
        site,
        point,
        monkeypatch,
        **({"vm_selector": name, "on_conflict": OnConflict.OVERWRITE} if over else {"new_name": name}),
    )

    assert names(lab).count(name) == 1
    assert (done.vm.moref, mark(lab, name), lab.vm(name)["power"]) == (lab.vm(name)["moref"], None, "poweredOn")
    assert lab.hash(name, 2000) == lab.hash(VM, 2000)


def test_a_restore_to_the_name_of_a_half_made_vm_works_once_its_restore_is_dead(lab, kept, name):
    site, point = kept
    dead = Restoring.new(site, point, name).prepared()
    half_made = lab.vm(name)["moref"]
    request = replace(dead.request, run="a-later-one")

    with pytest.raises(ConflictError, match=dead.request.run):
        restore.plan_restore(site, request, has_ended=runs_on)
    plan = restore.plan_restore(site, request, has_ended=ended)
    assert (plan.dead.vm, plan.dead.run) == (half_made, dead.request.run)
    assert lab.vm(name)["moref"] == half_made, "a plan changes nothing"
    restore.prepare_target(site, plan, has_ended=ended)

    assert names(lab).count(name) == 1
    assert lab.vm(name)["moref"] != half_made
    with pytest.raises(StaleError, match="cleaned up"):
        dead.prepared()
    restore.clean_up(site, "a-later-one")
    assert name not in names(lab)


def test_a_half_made_vm_that_is_removed_first_keeps_no_mac_address_from_the_new_one(lab, kept, name):
    site, point = kept
    request = make_request(point=point, run="a-later-one", new_name=VM, mac_addresses=MacAddresses.KEEP)
    with open_repository(site.repository) as repository, hands(lab) as session:
        RunLedger(repository, name).begin("an Airflow")
        claim = claims.VmClaim(run=name, made=True, began=session.server_time(), repository=repository.id)
        assert claims.hold(session, lab.vm(VM)["moref"], claim, version=None)
        try:
            plan = restore.plan_restore(site, request, has_ended=ended)
        finally:
            claims.let_go(session, lab.vm(VM)["moref"], name)

    assert plan.dead.vm == lab.vm(VM)["moref"]
    assert all(address for _, address in plan.place.addresses), plan.warnings


def test_the_sweep_finds_what_dead_restores_made_and_held_and_nothing_else(lab, kept, name):
    site, point = kept
    finished = f"{name}-finished"
    Restoring.new(site, point, finished).prepared().written().finish()
    made = Restoring.new(site, point, name).prepared()
    held = Restoring.over(site, point, vm_selector=finished).prepared()
    both = [(name, True), (finished, False)]

    assert sorted(found(site, has_ended=runs_on, given_up=timedelta())) == sorted((*vm, True) for vm in both)
    assert sorted(found(site, given_up=NEVER)) == sorted((*vm, True) for vm in both), "nobody here knows its owner"
    assert sorted(found(site, given_up=timedelta())) == sorted((*vm, False) for vm in both)
    assert sorted(found(site, has_ended=ended, given_up=NEVER)) == sorted((*vm, False) for vm in both)

    assert (made.clean_up(), held.clean_up()) == (1, 0)
    assert found(site) == []
    assert name not in names(lab)
    assert lab.vm(finished)["power"] == "poweredOn", "because it was running, and nothing was written to it"


def test_a_restore_of_one_process_is_alive_by_its_lease_alone(lab, kept, name):
    site, point = kept
    plan = restore.plan_restore(site, make_request(point=point, run=f"cli-{name}", new_name=name))
    with restore.open_site_repository(site) as repository:
        with repository.run(f"cli-{name}").open_lease("restore"):
            restore.prepare_target(site, plan)
            assert found(site, given_up=timedelta()) == [(name, True, True)]
        assert found(site, given_up=NEVER) == [(name, True, False)]
    assert restore.clean_up(site, f"cli-{name}") == 1


def test_the_mark_of_another_repository_is_left_alone(lab, kept, name, tmp_path):
    site, point = kept
    create_repository(str(tmp_path / "other"))
    elsewhere = replace(site, repository=str(tmp_path / "other"))
    theirs = Restoring.new(site, point, name).prepared()

    assert found(elsewhere, has_ended=ended, given_up=timedelta()) == [(name, True, True)]
    assert theirs.clean_up() == 1


def test_a_vm_that_was_handed_over_but_not_switched_on_is_complete_and_stays(lab, kept, name):
    site, point = kept
    done = handed_over_but_off(lab, Restoring.new(site, point, name).prepared().written())

    assert done.clean_up() == 0
    assert (names(lab).count(name), mark(lab, name), lab.vm(name)["power"]) == (1, None, "poweredOff")
    with pytest.raises(ConflictError, match="choose another name"):
        Restoring.new(site, point, name)
    assert done.finish().powered_on, "its retry does what is left to do"
    assert lab.vm(name)["power"] == "poweredOn"


def test_a_complete_vm_stays_whose_restore_died_before_it_took_its_mark_off(lab, kept, name):
    site, point = kept
    done = Restoring.new(site, point, name).prepared().written()
    with restore.open_site_repository(site) as repository:
        RunLedger(repository, done.request.run).record_outcome(Outcome.HANDED_OVER)

    assert done.clean_up() == 0

    assert (names(lab).count(name), mark(lab, name)) == (1, None)
    assert lab.hash(name, 2000) == lab.hash(VM, 2000)


def test_who_cleans_up_stops_the_writers_first(kept, name):
    site, point = kept
    given_up = Restoring.new(site, point, name).prepared()

    given_up.clean_up()

    with restore.open_site_repository(site) as repository:
        assert repository.run(given_up.request.run).fenced


def test_a_half_made_vm_that_somebody_has_switched_on_is_his_and_stays(lab, kept, name):
    site, point = kept
    dead = Restoring.new(site, point, name).prepared()
    power(lab, name, on=True)

    assert dead.clean_up() == 0

    assert (mark(lab, name), lab.vm(name)["power"]) == (None, "poweredOn")


def test_nothing_is_backed_up_while_it_is_being_restored(kept, standing):
    site, point = kept
    ready = Restoring.over(site, point, vm_selector=standing).prepared()

    with pytest.raises(ConflictError, match=ready.request.run):
        backup.preflight(site, BackupRequest(vm_selector=standing, run="a-backup"))

    ready.written().finish()
    after = backup.preflight(site, BackupRequest(vm_selector=standing, run="a-backup"))
    assert not any("restore" in warning for warning in after.warnings)


def test_a_failed_try_of_getting_the_vm_ready_is_cleared_away_by_the_next(lab, kept, name):
    site, point = kept
    planned = Restoring.new(site, point, name)
    lab.fault(method="CreateVM_Task", after=True, drop=True, count=50)
    try:
        with pytest.raises(VmKeepError):
            restore.prepare_target(site, planned.plan, run=f"{name}.1")
    finally:
        lab.clear()

    target = restore.prepare_target(site, planned.plan, run=f"{name}.2", earlier=[f"{name}.1"])

    assert (names(lab).count(name), mark(lab, name).run) == (1, f"{name}.2")
    assert restore.clean_up(site, target.run) == 1


def test_a_vm_whose_restore_begins_before_its_snapshot_is_not_backed_up(lab, kept, standing):
    site, point = kept
    pre = backup.preflight(site, BackupRequest(vm_selector=standing, run=f"waiting-{standing}"))
    ready = Restoring.over(site, point, vm_selector=standing).prepared()

    with pytest.raises(ConflictError, match=ready.request.run):
        backup.take_snapshot(site, pre)

    assert find_run_snapshots(site, lab.vm(standing)["moref"]) == ()
    ready.written().finish()


def test_a_restore_sees_a_backup_that_begins_just_before_its_mark(lab, kept, standing, monkeypatch):
    site, point = kept
    late = Restoring.over(site, point, vm_selector=standing)
    held = []

    def after_a_snapshot(*args, **kwargs):
        if not held:
            held.append(hold_still(site, standing))
        return holding(*args, **kwargs)

    holding = claims.hold
    monkeypatch.setattr(claims, "hold", after_a_snapshot)
    with pytest.raises(ConflictError, match="being backed up"):
        late.prepared()
    assert lab.vm(standing)["power"] == "poweredOn", "it was not switched off"

    late.clean_up()
    pre, taken = held[0]
    backup.remove_snapshot(site, taken.vm, pre.request.run)


def test_a_run_of_another_repository_with_the_same_key_removes_nothing_of_ours(lab, kept, name, tmp_path):
    site, point = kept
    create_repository(str(tmp_path / "other"))
    ours = Restoring.new(site, point, name).prepared()

    assert restore.clean_up(replace(site, repository=str(tmp_path / "other")), ours.request.run) == 0

    assert (names(lab).count(name), mark(lab, name).run) == (1, ours.request.run)
    assert ours.clean_up() == 1


def test_a_note_of_the_owner_that_cannot_be_read_hides_no_other_restore(lab, kept, name):
    site, point = kept
    damaged = Restoring.new(site, point, name).prepared()
    other = Restoring.new(site, point, f"{name}-b").prepared()
    with restore.open_site_repository(site) as repository:
        repository.blobs.replace(f"runs/{damaged.request.run}/notes/owner", b"not a note")

    assert sorted(found(site, has_ended=ended, given_up=NEVER)) == [(name, True, True), (f"{name}-b", True, False)]
    assert (name, True, False) in found(site, has_ended=ended, given_up=timedelta())
    assert (damaged.clean_up(), other.clean_up()) == (1, 1)


def test_a_vm_that_is_being_restored_again_is_not_switched_on_by_the_restore_before(lab, kept, name):
    site, point = kept
    done = handed_over_but_off(lab, Restoring.new(site, point, name).prepared().written())
    again = Restoring.over(site, point, vm_selector=name).prepared()

    with pytest.raises(StaleError, match=again.request.run):
        done.finish()

    assert lab.vm(name)["power"] == "poweredOff"
    again.written().finish()


def at_rest(site, point, name):
    """Make a VM that is off, and begin a backup of it that reads its disks without a snapshot."""
    Restoring.new(site, point, name, power_on=False).prepared().written().finish()
    return backup.preflight(site, BackupRequest(vm_selector=name, run=f"at-rest-{name}", mode=BackupMode.ASIS))


def copies(site, pre, taken):
    for job in backup.plan_disks(site, pre, taken):
        with backup.copy_disk(site, job, cursor=None, on_progress=lambda _: None) as running:
            yield running.wait()


def test_a_vm_that_is_off_is_sealed_without_a_snapshot_where_nobody_has_touched_it(kept, name):
    site, point = kept
    pre = at_rest(site, point, name)
    taken = backup.take_snapshot(site, pre)

    assert backup.seal(site, pre, taken, tuple(copies(site, pre, taken))).disks_copied


def test_a_vm_switched_on_while_its_backup_waited_is_not_read_without_a_snapshot(lab, kept, name):
    site, point = kept
    pre = at_rest(site, point, name)
    power(lab, name, on=True)

    with pytest.raises(StaleError, match="switched on"):
        backup.take_snapshot(site, pre)


def test_a_vm_written_over_while_it_was_read_without_a_snapshot_is_not_sealed(kept, name):
    site, point = kept
    pre = at_rest(site, point, name)
    taken = backup.take_snapshot(site, pre)
    read = tuple(copies(site, pre, taken))
    Restoring.over(site, point, vm_selector=name, power_on=False).prepared().written().finish()

    with pytest.raises(StaleError, match="nothing is sealed"):
        backup.seal(site, pre, taken, read)


@pytest.fixture
def ready(kept, name):
    """A restore to a new VM that is ready to be written."""
    site, point = kept
    ready = Restoring.new(site, point, name).prepared()
    ready.jobs = restore.write_jobs(site, ready.plan, ready.target)
    yield ready
    ready.clean_up()


@pytest.fixture
def die(lab, in_children):
    """Kill the process that writes a disk once a note tells of a part that is written. Return that note."""
    in_children(
        "import vmkeep.transfer.pipeline as p, vmkeep.transfer.reading as r, vmkeep.transfer.writelog as w;"
        "p.TICK = 0.01; r._CHECK_SECONDS = w._EVERY = 0"
    )

    def run(site, job):
        area = open_repository(site.repository).run(job.run)

        def note():
            try:
                found = from_json(WrittenPart, area.load(f"written-{job.device_key}"))
            except NotFoundError:
                return None
            return found if found.below > 3 else None

        lab.fault(nfc={"latency": 0.05})
        try:
            with restore.write_disk(site, job, on_progress=lambda _: None) as running:
                eventually(note, "a note of what is written")
                os.kill(running.pid, signal.SIGKILL)
                with pytest.raises(TransferError, match="SIGKILL"):
                    running.wait()
        finally:
            lab.clear()
        eventually(lambda: not lab.state()["nfc"], "the end of the writer's session")
        return note()

    return run


def test_after_a_writer_was_killed_the_next_try_writes_only_the_rest(lab, ready, die):
    job = next(job for job in ready.jobs if job.device_key == DISK)
    note = die(ready.site, job)

    done = write(ready.site, job)

    others = [write(ready.site, job) for job in ready.jobs if job.device_key != DISK]
    assert note.below
    assert done.bytes_resumed > 0
    assert done.bytes_compared >= done.bytes_resumed
    again = write(ready.site, job)
    assert (again.bytes_written, again.bytes_resumed) == (0, done.bytes_written + done.bytes_resumed)
    ready.writes = [again, *others]
    assert ready.finish().vm.name == ready.plan.target_name
    assert lab.hash(ready.plan.target_name, DISK) == lab.hash(VM, DISK)


def test_every_byte_is_written_zeros_too_once_somebody_has_started_the_vm(lab, ready, die):
    job = next(job for job in ready.jobs if job.device_key == DISK)
    die(ready.site, job)
    name = ready.plan.target_name
    power(lab, name, on=True)
    lab.write(name, DISK, [{"offset": a_hole(lab), "length": 4096, "seed": 5}])
    power(lab, name, on=False)

    done = write(ready.site, job)

    assert done.bytes_resumed == 0
    assert done.bytes_zeroed > 0
    assert lab.hash(name, DISK) == lab.hash(VM, DISK)


def a_hole(lab) -> int:
    """The first byte of an area of the original's disk that was never written."""
    at = 0
    for start, length in lab.extents(VM, DISK):
        if start - at >= 1 << 20:
            break
        at = start + length
    return -(-at // (1 << 18)) * (1 << 18)


@pytest.fixture
def broken(lab):
    """Let the second disk write of whatever comes fail, until the returned function is called."""
    lab.fault(nfc={"on": "write", "code": 14011, "after_bytes": 1 << 20, "count": None})
    yield lab.clear
    lab.clear()


def failed(site, point, **options):
    """Let a restore in one call fail while it writes, and return its run."""
    request = make_request(point=point, run=f"cli-{uuid.uuid4().hex[:8]}", **options)
    with pytest.raises(VmKeepError):
        run_restore(site, request, bars=silent, announce=lambda _line: None)
    return request.run


def notes_of(lab, vm: str) -> str:
    with hands(lab) as session:
        return session.vm(lab.vm(vm)["moref"]).config.annotation or ""


def test_a_new_vm_whose_restore_fails_is_removed(lab, kept, name, broken):
    site, point = kept

    failed(site, point, new_name=name)

    assert name not in names(lab)


def test_a_new_vm_stays_if_asked_for_and_the_restore_goes_on_with_it(lab, kept, name, broken):
    site, point = kept
    before = notes_of(lab, VM)

    run = failed(site, point, new_name=name, on_failure="keep")

    moref = lab.vm(name)["moref"]
    assert (lab.vm(name)["power"], mark(lab, name).run) == ("poweredOff", run)
    assert notes_of(lab, name).startswith("vmkeep: do not start this VM.")
    assert f"restore resume {run}" in notes_of(lab, name)
    (finding,) = swept(site, Kind.RESTORE)
    assert (finding.state, run in finding.detail) == (State.LEFT, True)
    with pytest.raises(ConflictError, match=f"restore resume {run}"):
        restore.plan_restore(site, make_request(point=point, run="another", new_name=name))
    broken()

    done = resume_restore(site, run, bars=silent, announce=lambda _line: None)

    assert (done.vm.moref, mark(lab, name), notes_of(lab, name)) == (moref, None, before)
    assert lab.hash(name, DISK) == lab.hash(VM, DISK)
    with pytest.raises(StaleError, match="has finished"):
        resume_restore(site, run, bars=silent, announce=lambda _line: None)


def test_an_existing_vm_stays_off_with_a_clear_note_until_a_restore_is_complete(lab, kept, name, broken):
    site, point = kept
    broken()
    restore_whole(site, point, new_name=name, power_on=False)
    before = notes_of(lab, name)
    lab.fault(nfc={"on": "write", "code": 14011, "after_bytes": 1 << 20, "count": None})

    run = failed(site, point, vm=name, on_conflict="overwrite", all_blocks=True, power_on=True)

    assert (lab.vm(name)["power"], lab.vm(name)["snapshots"], mark(lab, name)) == ("poweredOff", [], None)
    assert notes_of(lab, name).splitlines()[0].endswith(f"the restore of run {run} did not finish: restore it again.")
    broken()
    pre = backup.preflight(site, BackupRequest(vm_selector=name, run="next"))
    assert any(f"restore of run {run} over this VM did not finish" in warning for warning in pre.warnings)

    restore_whole(site, point, vm=name, on_conflict="overwrite")

    assert notes_of(lab, name) == before
    pre = backup.preflight(site, BackupRequest(vm_selector=name, run="next"))
    assert not any("did not finish" in warning for warning in pre.warnings)
    assert lab.hash(name, DISK) == lab.hash(VM, DISK)


def test_a_process_whose_restore_another_one_has_taken_over_takes_nothing_back(lab, ready, name):
    site, run = ready.site, ready.request.run

    with open_repository(site.repository) as repository, ExitStack() as other:

        def interrupted(_disk):
            other.enter_context(repository.run(run).open_lease("restore"))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            carry_out(site, ready.plan, bars=interrupted, announce=lambda _line: None, run=run)

        assert (name in names(lab), RunLedger(repository, run).outcome()) == (True, None)


def test_only_a_restore_that_is_known_open_and_dead_can_be_gone_on_with(kept, ready):
    site, run = ready.site, ready.request.run

    with pytest.raises(
        NotFoundError, match=r"no restore of run other.*before its first change has touched nothing, so restore again"
    ):
        resume_restore(site, "other", bars=silent, announce=lambda _line: None)
    with (
        open_repository(site.repository) as repository,
        repository.run(run).open_lease("restore"),
        pytest.raises(ConflictError, match="is at work"),
    ):
        resume_restore(site, run, bars=silent, announce=lambda _line: None)
    with pytest.raises(ConflictError, match="belongs to a test"):
        resume_restore(site, run, bars=silent, announce=lambda _line: None)
    ready.clean_up()
    with pytest.raises(StaleError, match="cleaned up"):
        resume_restore(site, run, bars=silent, announce=lambda _line: None)
