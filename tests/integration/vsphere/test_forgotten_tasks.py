"""A vCenter that is restarted forgets its tasks, while its hosts go on: what the task worked on tells the outcome."""

from __future__ import annotations

import threading

import pytest

from tests.patience import HANG
from vmkeep.errors import DeadlineError, TaskForgottenError
from vmkeep.vsphere import changes, claims, create, inventory, machines, snapshots
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.configspec import SpecOptions
from vmkeep.vsphere.describe import config_xml
from vmkeep.vsphere.places import PlaceRequest, resolve_place
from vmkeep.vsphere.tasks import run_task
from vmlab.managed.site import Injection

RUN = "restarted/web01"
WHEN = pytest.mark.parametrize("after", [False, True], ids=["before the work", "after it"])


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """The lab shows at once what its hosts have done; so no test has to wait for it."""
    monkeypatch.setattr("vmkeep.vsphere.tasks._RETRY_SECONDS", 0.05)
    monkeypatch.setattr("vmkeep.vsphere.snapshots._RETRY_SECONDS", 0.05)


@pytest.fixture
def vm(session):
    moref = inventory.find_vm(session, "web01").moref
    yield moref
    for snapshot in reversed(snapshots.list_all(session, moref)):
        snapshots.remove(session, moref, snapshot.moref)


@pytest.fixture
def off(session):
    moref = inventory.find_vm(session, "old01").moref
    yield moref
    machines.power_off(session, moref)


def restart(lab, method, **plan):
    lab.site.faults.add(Injection(method=method, restart=True, **plan))


@WHEN
def test_a_snapshot_whose_task_is_forgotten_is_taken_once(session, vm, lab, after):
    restart(lab, "CreateSnapshot_Task", after=after, delay=0.2)

    made = snapshots.create(session, vm, run=RUN, quiesce=False)

    assert snapshots.list_all(session, vm) == (made,)
    assert lab.site.faults.calls["CreateSnapshot_Task"] == 1


def test_a_snapshot_that_failed_while_its_task_was_forgotten_is_taken_anew(session, vm, lab, monkeypatch):
    monkeypatch.setattr("vmkeep.vsphere.snapshots.FORGOTTEN_SECONDS", 0.2)
    restart(lab, "CreateSnapshot_Task", fault="FileFault")

    made = snapshots.create(session, vm, run=RUN, quiesce=False)

    assert snapshots.list_all(session, vm) == (made,)


def test_a_snapshot_that_comes_later_than_it_is_looked_for_is_not_taken_twice(session, vm, lab, monkeypatch):
    """The second start is refused as long as the first is at work, and its snapshot seen before the third."""
    monkeypatch.setattr("vmkeep.vsphere.snapshots.FORGOTTEN_SECONDS", 0.0)
    restart(lab, "CreateSnapshot_Task", delay=1)

    made = snapshots.create(session, vm, run=RUN, quiesce=False)

    assert snapshots.list_all(session, vm) == (made,)
    assert lab.site.faults.calls["CreateSnapshot_Task"] > 1


def test_a_snapshot_of_another_call_is_not_taken_for_the_forgotten_one(session, vm, lab, monkeypatch):
    monkeypatch.setattr("vmkeep.vsphere.snapshots.FORGOTTEN_SECONDS", 0.2)
    first = snapshots.create(session, vm, run=RUN, quiesce=False)
    restart(lab, "CreateSnapshot_Task", fault="FileFault")

    second = snapshots.create(session, vm, run=RUN, quiesce=False)

    assert second.moref != first.moref
    assert snapshots.list_all(session, vm) == (first, second)


@WHEN
def test_a_removal_whose_task_is_forgotten_is_success_only_when_the_snapshot_is_gone(session, vm, lab, after):
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    restart(lab, "RemoveSnapshot_Task", after=after, delay=0.2)

    snapshots.remove(session, vm, made.moref)

    assert snapshots.list_all(session, vm) == ()


def test_a_removal_that_failed_while_its_task_was_forgotten_is_done_again(session, vm, lab, monkeypatch):
    monkeypatch.setattr("vmkeep.vsphere.tasks.SETTLE_SECONDS", 0.0)
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    restart(lab, "RemoveSnapshot_Task", fault="FileFault")

    snapshots.remove(session, vm, made.moref)

    assert snapshots.list_all(session, vm) == ()


def test_a_removal_that_stays_in_progress_over_a_restart_is_waited_for(session, vm, lab):
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    restart(lab, "RemoveSnapshot_Task", delay=HANG)

    with pytest.raises(DeadlineError, match=f"remove snapshot {made.moref}"):
        snapshots.remove(session, vm, made.moref, timeout=0.2)
    lab.site.faults.clear()
    snapshots.remove(session, vm, made.moref)

    assert snapshots.list_all(session, vm) == ()


@WHEN
def test_a_consolidation_whose_task_is_forgotten_is_looked_at(session, vm, lab, after):
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    lab.site.faults.add(Injection(method="", effect="consolidation_needed"))
    restart(lab, "ConsolidateVMDisks_Task", after=after, delay=0.1)

    snapshots.remove(session, vm, made.moref)

    assert not inventory.describe_vm(session, vm).consolidation_needed


def test_a_revert_whose_task_is_forgotten_is_done_again(session, off, lab):
    made = snapshots.create(session, off, run=RUN, quiesce=False)
    machines.power_on(session, off)
    restart(lab, "RevertToSnapshot_Task", fault="FileFault")

    snapshots.revert(session, off, made.moref)

    assert machines.power_state(session, off) == "poweredOff"
    snapshots.remove(session, off, made.moref)


@WHEN
@pytest.mark.parametrize("fails", [False, True])
def test_power_whose_task_is_forgotten_is_looked_at(session, off, lab, monkeypatch, after, fails):
    if fails:
        monkeypatch.setattr("vmkeep.vsphere.tasks.SETTLE_SECONDS", 0.0)
    restart(lab, "PowerOnVM_Task", after=after, fault="FileFault" if fails else None)
    assert machines.power_on(session, off)
    assert machines.power_state(session, off) == "poweredOn"

    restart(lab, "PowerOffVM_Task", after=after, fault="FileFault" if fails else None)
    assert machines.power_off(session, off)
    assert machines.power_state(session, off) == "poweredOff"


@WHEN
@pytest.mark.parametrize("fails", [False, True])
def test_tracking_whose_switch_is_forgotten_is_looked_at(session, vm, lab, monkeypatch, after, fails):
    if fails:
        monkeypatch.setattr("vmkeep.vsphere.tasks.SETTLE_SECONDS", 0.0)
    for enabled in (True, False):
        restart(lab, "ReconfigVM_Task", after=after, fault="FileFault" if fails else None)
        changes.set_tracking(session, vm, enabled=enabled)
        assert inventory.describe_vm(session, vm).tracked is enabled


@WHEN
def test_a_mark_whose_task_is_forgotten_is_set_and_taken_off(session, off, lab, after):
    mark = VmClaim(run=RUN, made=False, began=session.server_time(), repository="r")
    restart(lab, "ReconfigVM_Task", after=after)
    version = inventory.describe_vm(session, off).change_version

    assert claims.hold(session, off, mark, version=version)
    assert claims.claim_on(session, off) == mark

    restart(lab, "ReconfigVM_Task", after=after)
    assert claims.let_go(session, off, RUN)
    assert claims.claim_on(session, off) is None


def test_a_mark_whose_task_is_forgotten_is_seen_however_its_keys_are_spelt(session, off, lab):
    """vSphere compares keys without regard to case, and keeps a setting's first spelling."""
    option = vim.option.OptionValue
    spec = vim.vm.ConfigSpec(extraConfig=[option(key=claims.BEGAN.upper(), value="somebody's")])
    run_task(session, lambda: session.vm(off).ReconfigVM_Task(spec), what="test", timeout=HANG, look=lambda: None)
    mark = VmClaim(run=RUN, made=False, began=session.server_time(), repository="r")
    restart(lab, "ReconfigVM_Task", after=True)
    version = inventory.describe_vm(session, off).change_version

    assert claims.hold(session, off, mark, version=version)
    claims.let_go(session, off, RUN)


def make(session, name):
    moref = inventory.find_vm(session, "old01").moref
    original = inventory.describe_vm(session, moref).identity
    place = resolve_place(session, original, PlaceRequest(), name)
    options = SpecOptions(name=name, claim=VmClaim(run=RUN, made=True, began=session.server_time(), repository="r"))
    return create.create_vm(session, config_xml(session, moref), place, options)


@WHEN
def test_a_vm_whose_creation_is_forgotten_is_made_once(session, lab, after):
    restart(lab, "CreateVM_Task", after=after, delay=0.2)

    made = make(session, "forgotten")

    assert [found.vm.moref for found in claims.list_claimed(session)] == [made]
    assert lab.site.faults.calls["CreateVM_Task"] == 1
    assert machines.destroy_claimed(session, RUN) == 1


def test_a_creation_that_failed_while_forgotten_makes_and_starts_no_second_vm(session, lab, monkeypatch):
    monkeypatch.setattr("vmkeep.vsphere.create.FORGOTTEN_SECONDS", 0.2)
    restart(lab, "CreateVM_Task", fault="FileFault")

    with pytest.raises(TaskForgottenError, match="create VM forgotten"):
        make(session, "forgotten")

    assert claims.list_claimed(session) == ()
    assert lab.site.faults.calls["CreateVM_Task"] == 1


@WHEN
def test_a_vm_whose_destruction_is_forgotten_is_gone(session, lab, after):
    make(session, "doomed")
    restart(lab, "Destroy_Task", after=after)

    assert machines.destroy_claimed(session, RUN) == 1
    assert claims.list_claimed(session) == ()


def test_a_snapshot_being_taken_is_found_by_its_run_though_its_task_is_forgotten(session, vm, lab):
    """As whoever cleans up after a dead run does: its process is gone, the host goes on."""
    lab.site.faults.add(Injection(method="CreateSnapshot_Task", delay=1))
    managed = session.vm(vm)
    managed.CreateSnapshot_Task("by hand", '{"vmkeep": {"run": "dead"}}', False, False)
    restarting = threading.Timer(0.3, lab.site.restart_vcenter)
    restarting.start()

    found = snapshots.find_by_run(session, vm, "dead")

    restarting.join()
    assert [snapshot.run for snapshot in found] == ["dead"]


def test_what_a_forgotten_task_has_done_counts_where_a_second_start_fails_on_it(session, off, lab):
    """The VM is on by the second start, which vSphere refuses for that very reason."""
    restart(lab, "PowerOnVM_Task")
    looks = iter([None, "seen late"])

    done = run_task(
        session,
        lambda: session.vm(off).PowerOnVM_Task(None),
        what="test",
        timeout=HANG,
        look=lambda: next(looks),
        settle=0,
    )

    assert done == "seen late"
    assert lab.site.faults.calls["PowerOnVM_Task"] == 2


def test_a_second_task_on_a_vm_is_refused_while_a_forgotten_one_works(session, vm, lab):
    restart(lab, "CreateSnapshot_Task", delay=HANG)
    managed = session.vm(vm)
    managed.CreateSnapshot_Task("first", "", False, False)

    with pytest.raises(vim.fault.TaskInProgress) as caught:
        managed.CreateSnapshot_Task("second", "", False, False)

    assert isinstance(caught.value.task, vim.Task)
    lab.site.faults.clear()
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    assert [snapshot.name for snapshot in snapshots.list_all(session, vm)] == ["first", made.name]
