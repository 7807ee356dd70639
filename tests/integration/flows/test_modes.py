"""The mode and the quiescing of a backup: asked, used and reached are in the point; a failure leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.integration.flows.restoring import back_up, hands, new_run, swept
from tests.patience import HANG, eventually
from vmkeep.cli.main import cli
from vmkeep.errors import QuiesceFailedError, StaleError, VSphereError
from vmkeep.flows import backup, quiescing
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.pointlist import list_points
from vmkeep.flows.sweep import Kind, State
from vmkeep.model.job import to_json
from vmkeep.model.point import BackupMode, Consistency, Quiesce
from vmkeep.repository import open_repository
from vmkeep.vsphere import inventory, machines, suspensions
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import wait_task

PROJECT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def quick(monkeypatch, lab):
    """Wait for no busy guest, and leave no planned fault behind."""
    monkeypatch.setattr(quiescing, "PAUSE_SECONDS", 0.0)
    yield
    lab.clear()


def busy(lab, times):
    lab.fault(method="CreateSnapshot_Task", fault="ApplicationQuiesceFault", count=times)


def load(site, ref):
    with open_repository(site.repository) as repository:
        return repository.load_point(ref)


def test_a_guest_that_is_busy_twice_is_quiesced_at_the_third_try(bench):
    busy(bench.lab, 2)

    sealed = back_up(bench.site, "web01", quiesce_required=True)

    point = load(bench.site, sealed.point)
    assert (point.quiesce_required, point.quiesce_used, point.changes) == (True, Quiesce.FILE_SYSTEM, ())
    assert point.consistency is Consistency.FILE_SYSTEM
    assert (sealed.quiesce_asked, sealed.quiesce_used, sealed.consistency) == ("required", "file-system", "file-system")


def test_required_quiescing_that_fails_leaves_no_snapshot_no_hold_and_no_point(bench):
    busy(bench.lab, 3)

    with pytest.raises(QuiesceFailedError, match="required, and failed 3 times"):
        back_up(bench.site, "web01", quiesce_required=True)

    assert bench.snapshots("web01") == []
    assert bench.lab.vm("web01")["held_by"] == []
    with open_repository(bench.site.repository) as repository:
        assert list_points(repository, catalog="sqlite://").entries == ()


def test_preferred_quiescing_that_fails_is_data_in_the_point_and_shown(bench):
    busy(bench.lab, 3)

    sealed = back_up(bench.site, "web01")

    (change,) = load(bench.site, sealed.point).changes
    assert (change.reason, change.asked, change.used) == ("quiescing-failed", "file-system", "none")
    assert sealed.changes == (change,)
    shown = CliRunner().invoke(cli, ["point", "show", sealed.point, "--repository", bench.site.repository])
    assert "crash; quiesce asked preferred, used none" in shown.output
    assert "changed       quiesce file-system changed to none: quiescing failed 3 times" in shown.output


@pytest.fixture
def web(bench):
    """A VM that runs before and after each test."""
    yield "web01"
    bench.lab.clear()
    with hands(bench.lab) as session:
        vm = inventory.find_vm(session, "web01").moref
        machines.power_on(session, vm)
        suspensions.unmark(session, vm)


def suspend(lab, name, *, run=None, repository="", age=timedelta()):
    """Suspend a VM by hand; or as ``run`` does, which then dies at once."""
    with hands(lab) as session:
        vm = inventory.find_vm(session, name).moref
        if run is None:
            machines.suspend(session, vm)
            return
        mark = suspensions.SuspendMark(run=run, began=session.server_time() - age, repository=repository)
        assert suspensions.suspend(session, vm, mark)


def mark_of(lab, name):
    with hands(lab) as session:
        return suspensions.find_marked(session, inventory.find_vm(session, name).moref)


def repository_id(site):
    with open_repository(site.repository) as repository:
        return repository.id


def test_a_vm_is_suspended_for_its_snapshot_only_and_runs_while_it_is_copied(bench, web):
    calls = bench.lab.state()["calls"].get("SuspendVM_Task", 0)
    before = bench.disks(web, 2000)
    pre = backup.preflight(bench.site, BackupRequest(vm_selector=web, run=new_run(), mode=BackupMode.SUSPEND))

    taken = backup.take_snapshot(bench.site, pre)

    assert bench.lab.state()["calls"]["SuspendVM_Task"] == calls + 1
    assert (bench.lab.vm(web)["power"], mark_of(bench.lab, web)) == ("poweredOn", None)
    assert (pre.mode, taken.consistency) == (BackupMode.SUSPEND, Consistency.SUSPENDED)
    backup.remove_snapshot(bench.site, taken.vm, pre.request.run)
    sealed = back_up(bench.site, web, mode=BackupMode.SUSPEND)
    assert (sealed.mode_used, sealed.consistency, sealed.quiesce_used) == ("SUSPEND", "suspended", "none")
    assert bench.stored(sealed.point) == before
    assert [change.reason for change in load(bench.site, sealed.point).changes] == ["memory-is-held"]


def test_a_vm_is_resumed_though_its_snapshot_fails(bench, web):
    bench.lab.fault(method="CreateSnapshot_Task", fault="FileLocked")

    with pytest.raises(VSphereError):
        back_up(bench.site, web, mode=BackupMode.SUSPEND)

    assert (bench.lab.vm(web)["power"], mark_of(bench.lab, web)) == ("poweredOn", None)
    assert bench.snapshots(web) == []


def test_a_vm_whose_resumption_fails_is_resumed_by_the_clean_up_and_keeps_no_snapshot(bench, web):
    bench.lab.fault(method="PowerOnVM_Task", fault="FileLocked")

    with pytest.raises(VSphereError):
        back_up(bench.site, web, mode=BackupMode.SUSPEND)

    assert (bench.lab.vm(web)["power"], mark_of(bench.lab, web)) == ("poweredOn", None)
    assert bench.snapshots(web) == []


def test_the_clean_up_of_a_killed_run_resumes_its_vm_and_no_other_run_does(bench, web):
    suspend(bench.lab, web, run="killed", repository=repository_id(bench.site))
    moref = bench.lab.vm(web)["moref"]

    backup.remove_snapshot(bench.site, moref, "another")
    assert bench.lab.vm(web)["power"] == "suspended"
    backup.remove_snapshot(bench.site, moref, "killed")

    assert (bench.lab.vm(web)["power"], mark_of(bench.lab, web)) == ("poweredOn", None)


@pytest.mark.parametrize("restarted", [False, True], ids=["", "vCenter restarted"])
def test_the_clean_up_waits_for_a_suspension_that_vsphere_still_works_on(bench, web, restarted):
    """A large memory takes minutes to write, and the run that asked for it may be dead by then."""
    with hands(bench.lab) as session:
        managed = session.vm(inventory.find_vm(session, web).moref)
        mark = suspensions.SuspendMark(run="killed", began=session.server_time(), repository=repository_id(bench.site))
        settings = [vim.option.OptionValue(key=key, value=value) for key, value in mark.settings.items()]
        wait_task(session, managed.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=settings)), what="mark", timeout=HANG)
        bench.lab.fault(method="SuspendVM_Task", delay=1.0)
        managed.SuspendVM_Task()

    if restarted:
        bench.lab.fault(method="WaitForUpdatesEx", restart=True)
    backup.remove_snapshot(bench.site, bench.lab.vm(web)["moref"], "killed")

    eventually(lambda: not bench.lab.state()["running_tasks"])
    assert (bench.lab.vm(web)["power"], mark_of(bench.lab, web)) == ("poweredOn", None)


def test_a_suspension_that_ends_between_two_looks_is_seen(bench, web):
    with hands(bench.lab) as session:
        managed = session.vm(inventory.find_vm(session, web).moref)
        mark = suspensions.SuspendMark(run="killed", began=session.server_time(), repository=repository_id(bench.site))
        settings = [vim.option.OptionValue(key=key, value=value) for key, value in mark.settings.items()]
        wait_task(session, managed.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=settings)), what="mark", timeout=HANG)
        before = suspensions.find_marked(session, bench.lab.vm(web)["moref"])
        wait_task(session, managed.SuspendVM_Task(), what="suspend", timeout=HANG)

        assert not before.suspended_by_run
        assert suspensions.settle(session, before).suspended_by_run
        backup.remove_snapshot(bench.site, before.vm.moref, "killed")

    assert bench.lab.vm(web)["power"] == "poweredOn"


def test_the_next_backup_resumes_the_vm_of_a_dead_run_and_has_to_be_started_again(bench, web):
    suspend(bench.lab, web, run="killed", repository=repository_id(bench.site), age=timedelta(minutes=20))

    with pytest.raises(StaleError, match="left suspended by run killed, and is resumed now"):
        back_up(bench.site, web)

    assert bench.lab.vm(web)["power"] == "poweredOn"
    assert back_up(bench.site, web).consistency == "file-system"


@pytest.mark.parametrize(
    ("age", "own", "resumed"),
    [(timedelta(minutes=20), True, True), (timedelta(), True, False), (timedelta(minutes=20), False, False)],
    ids=["dead", "young", "of another repository"],
)
def test_the_sweep_resumes_only_the_vm_of_a_dead_run_into_its_repository(bench, web, age, own, resumed):
    suspend(bench.lab, web, run="killed", repository=repository_id(bench.site) if own else "other", age=age)

    (seen,) = swept(bench.site, Kind.SUSPENDED, dry_run=True)
    assert seen.state is (State.DEAD if resumed else State.IN_USE)
    (left,) = swept(bench.site, Kind.SUSPENDED)

    assert (left.run, left.state) == ("killed", State.REPAIRED if resumed else State.IN_USE)
    assert bench.lab.vm(web)["power"] == ("poweredOn" if resumed else "suspended")


def test_a_vm_that_a_person_suspended_stays_so(bench, web):
    suspend(bench.lab, web)

    sealed = back_up(bench.site, web, mode=BackupMode.SUSPEND)

    assert (sealed.mode_used, sealed.consistency) == ("SNAPSHOT_EXCL_MEM", "suspended")
    assert "already-suspended" in [change.reason for change in sealed.changes]
    assert swept(bench.site, Kind.SUSPENDED) == []
    assert bench.lab.vm(web)["power"] == "suspended"


def test_a_vm_that_a_person_suspended_long_after_a_dead_run_is_not_resumed(bench, web):
    suspend(bench.lab, web, run="killed", repository=repository_id(bench.site), age=timedelta(hours=3))

    (left,) = swept(bench.site, Kind.SUSPENDED)

    assert (left.state, left.detail) == (State.LEFT, "somebody has suspended it since")
    assert bench.lab.vm(web)["power"] == "suspended"


def test_a_vm_that_a_person_suspends_after_the_preflight_is_left_to_that_person(bench, web):
    pre = backup.preflight(bench.site, BackupRequest(vm_selector=web, run=new_run(), mode=BackupMode.SUSPEND))
    suspend(bench.lab, web)

    with pytest.raises(StaleError, match="was suspended or switched off since its backup was planned"):
        backup.take_snapshot(bench.site, pre)
    backup.remove_snapshot(bench.site, pre.vm.moref, pre.request.run)

    assert bench.lab.vm(web)["power"] == "suspended"
    assert bench.snapshots(web) == []


DYING = """
import sys
from vmkeep.flows import backup
from vmkeep.flows.backup_values import Preflight
from vmkeep.model.job import from_json
from vmkeep.model.site import Site
backup.take_snapshot(from_json(Site, sys.argv[1]), from_json(Preflight, sys.argv[2]))
"""


@pytest.mark.parametrize("method", ["SuspendVM_Task", "CreateSnapshot_Task"])
def test_a_process_that_is_killed_at_any_call_leaves_a_vm_that_the_sweep_resumes(bench, web, method):
    request = BackupRequest(vm_selector=web, run=new_run(), owner="somebody", mode=BackupMode.SUSPEND)
    pre = backup.preflight(bench.site, request)
    bench.lab.fault(method=method, delay=HANG, **({"fault": "FileLocked"} if method == "CreateSnapshot_Task" else {}))
    asked = bench.lab.state()["calls"].get(method, 0)
    dying = subprocess.Popen(
        [sys.executable, "-c", DYING, to_json(bench.site).decode(), to_json(pre).decode()], cwd=PROJECT
    )

    eventually(lambda: bench.lab.state()["calls"].get(method, 0) > asked or dying.poll() is not None)
    dying.send_signal(signal.SIGKILL)
    assert dying.wait(HANG) == -signal.SIGKILL
    bench.lab.clear()
    eventually(lambda: bench.lab.vm(web)["power"] == "suspended" and not bench.lab.state()["running_tasks"])

    assert [left.state for left in swept(bench.site, Kind.SUSPENDED)] == [State.IN_USE]
    (left,) = swept(bench.site, Kind.SUSPENDED, has_ended=lambda owner: owner == "somebody")
    assert left.state is State.REPAIRED
    assert (bench.lab.vm(web)["power"], mark_of(bench.lab, web)) == ("poweredOn", None)
    assert bench.snapshots(web) == []
