"""Snapshots of a run: found again, removed twice, consolidated, never left behind in silence."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.patience import HANG
from vmkeep.errors import (
    DeadlineError,
    NotFoundError,
    PermissionDeniedError,
    QuiesceFailedError,
    StaleError,
    TransientError,
    VSphereError,
)
from vmkeep.vsphere import inventory, snapshots
from vmkeep.vsphere.api import vim, vmodl
from vmkeep.vsphere.describe import held_disks
from vmkeep.vsphere.session import open_session
from vmlab.managed.site import Injection

RUN = "scheduled__2026-11-20T10:00:00+00:00/web/01 – " + "x" * 60


class Busy(Injection):
    """Another task holds the VM; the fault has to name it."""

    def make_fault(self):
        return vim.fault.TaskInProgress(
            task=vim.Task("task-1"), msg="The operation is not allowed in the current state"
        )


@dataclass(slots=True, kw_only=True)
class Failing(Injection):
    """A fault with more in it than its required fields."""

    added: dict[str, Any] = field(default_factory=dict)

    def make_fault(self):
        fault = Injection.make_fault(self)
        for name, value in self.added.items():
            setattr(fault, name, value)
        return fault


@pytest.fixture
def vm(session):
    moref = inventory.find_vm(session, "web01").moref
    yield moref
    for snapshot in reversed(snapshots.list_all(session, moref)):
        snapshots.remove(session, moref, snapshot.moref)


def test_a_snapshot_is_found_by_its_run_however_long_the_name(session, vm):
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    snapshots.create(session, vm, run="another", quiesce=False)

    assert snapshots.find_by_run(session, vm, RUN) == (made,)
    assert [found.run for found in snapshots.list_ours(session, vm)] == [RUN, "another"]
    assert made.created_at.utcoffset().total_seconds() == 0


def test_our_snapshots_are_listed_in_two_calls_however_many_tasks_the_vm_has_seen(session, vm, lab):
    for run in ("first", "second"):
        made = snapshots.create(session, vm, run=run, quiesce=False)
        snapshots.remove(session, vm, made.moref)
    assert len(session.vm(vm).recentTask) >= 4
    before = dict(lab.site.faults.calls)

    assert snapshots.list_ours(session, vm) == ()

    asked = {name: count - before.get(name, 0) for name, count in lab.site.faults.calls.items()}
    assert {name: count for name, count in asked.items() if count} == {"RetrievePropertiesEx": 2}


def test_a_task_that_vanishes_while_tasks_are_listed_hides_no_snapshot(session, vm, lab):
    made = snapshots.create(session, vm, run="mine", quiesce=False)
    gone = {"obj": vim.Task("task-1")}
    lab.site.faults.add(Failing(method="RetrievePropertiesEx", fault="ManagedObjectNotFound", added=gone))

    assert snapshots.find_by_run(session, vm, "mine") == (made,)


def test_tasks_that_vanish_at_each_try_do_not_count_as_a_vm_that_is_gone(session, vm, lab):
    gone = {"obj": vim.Task("task-1")}
    lab.site.faults.add(Failing(method="RetrievePropertiesEx", fault="ManagedObjectNotFound", count=3, added=gone))

    with pytest.raises(TransientError, match=r"task-1.*try again"):
        snapshots.find_by_run(session, vm, "mine")


def test_a_foreign_snapshot_is_not_ours(session, vm):
    session.vm(vm).CreateSnapshot_Task("before the upgrade", '{"by": "hand"}', False, False)
    deadline = time.monotonic() + HANG
    while not snapshots.list_all(session, vm) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert [found.run for found in snapshots.list_all(session, vm)] == [""]
    assert snapshots.list_ours(session, vm) == ()


def test_removing_twice_is_success_both_times(session, vm):
    made = snapshots.create(session, vm, run=RUN, quiesce=False)

    snapshots.remove(session, vm, made.moref)
    snapshots.remove(session, vm, made.moref)

    assert snapshots.list_all(session, vm) == ()
    assert not inventory.describe_vm(session, vm).has_snapshots


def test_removing_from_a_vm_that_is_gone_is_success(session):
    snapshots.remove(session, "vm-999999", "snapshot-999999")

    assert snapshots.find_by_run(session, "vm-999999", RUN) == ()


def test_two_removals_at_once_both_succeed(session, vm):
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            snapshots.remove(session, vm, made.moref)
        except BaseException as error:  # noqa: BLE001 - told to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert snapshots.list_all(session, vm) == ()


def test_the_disks_are_consolidated_where_the_removal_left_them_unmerged(session, vm, lab):
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    lab.site.faults.add(Injection(method="", effect="consolidation_needed"))

    snapshots.remove(session, vm, made.moref)

    described = inventory.describe_vm(session, vm)
    assert not described.consolidation_needed
    assert not any("-00000" in disk.file_name for disk in described.disks)


@pytest.mark.parametrize(("fault", "kind"), [("CannotAccessVmDisk", VSphereError), ("FileLocked", TransientError)])
def test_disks_that_cannot_be_consolidated_are_a_loud_error_and_a_lock_is_tried_again(
    session, vm, lab, monkeypatch, fault, kind
):
    monkeypatch.setattr("vmkeep.vsphere.snapshots._RETRY_SECONDS", 0.01)
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    lab.site.faults.add(Injection(method="", effect="consolidation_needed"))
    lab.site.faults.add(Injection(method="ConsolidateVMDisks_Task", fault=fault, count=3))

    with pytest.raises(kind, match="still need consolidation"):
        snapshots.remove(session, vm, made.moref)

    assert snapshots.consolidate_if_needed(session, vm)
    assert not snapshots.consolidate_if_needed(session, vm)


def test_a_removal_that_meets_a_lock_is_tried_again(session, vm, lab):
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    lab.site.faults.add(Injection(method="RemoveSnapshot_Task", fault="FileLocked"))

    with pytest.raises(TransientError, match="try again"):
        snapshots.remove(session, vm, made.moref)

    snapshots.remove(session, vm, made.moref)
    assert snapshots.find_by_run(session, vm, RUN) == ()


def test_a_lock_held_for_a_moment_does_not_fail_the_consolidation(session, vm, lab, monkeypatch):
    monkeypatch.setattr("vmkeep.vsphere.snapshots._RETRY_SECONDS", 0.01)
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    lab.site.faults.add(Injection(method="", effect="consolidation_needed"))
    lab.site.faults.add(Injection(method="ConsolidateVMDisks_Task", fault="FileLocked"))

    snapshots.remove(session, vm, made.moref)

    assert not inventory.describe_vm(session, vm).consolidation_needed


@pytest.mark.parametrize("fault", ["ApplicationQuiesceFault", "FilesystemQuiesceFault", "ToolsUnavailable"])
def test_a_guest_that_cannot_be_quiesced_is_told_apart(session, vm, lab, fault):
    lab.site.faults.add(Injection(method="CreateSnapshot_Task", fault=fault))

    with pytest.raises(QuiesceFailedError) as caught:
        snapshots.create(session, vm, run=RUN, quiesce=True)

    assert caught.value.fault == fault
    assert snapshots.list_all(session, vm) == ()


@pytest.mark.parametrize("fault", ["SystemError", "GenericVmConfigFault", "SnapshotFault", "ApplicationQuiesceFault"])
def test_a_guest_that_cannot_be_quiesced_is_told_apart_in_every_language(session, vm, lab, fault):
    """Faults that give no reason are counted in: the caller's snapshot without quiescing tells whether they are."""
    lab.site.faults.add(
        Injection(method="CreateSnapshot_Task", fault=fault, message="Gast liess sich nicht einfrieren")
    )

    with pytest.raises(QuiesceFailedError, match="Gast liess sich nicht einfrieren"):
        snapshots.create(session, vm, run=RUN, quiesce=True)
    assert snapshots.create(session, vm, run=RUN, quiesce=False).run == RUN


OF_OTHER_THINGS = (
    "CannotAccessFile", "CannotAccessVmDisk", "DeltaDiskFormatNotSupported", "FileFault", "FileLocked", "FileNotFound",
    "FileNotWritable", "FileTooLarge", "GenericDrsFault", "InsufficientResourcesFault", "InvalidDatastore",
    "InvalidName",
    "InvalidPowerState", "InvalidState", "InvalidVmConfig", "MemorySnapshotOnIndependentDisk",
    "MultipleSnapshotsNotSupported", "NoDiskSpace", "NotEnoughCpus", "NotSupported", "RequestCanceled",
    "ResourceInUse",
    "SharedBusControllerNotSupported", "SnapshotDisabled", "SnapshotIncompatibleDeviceInVm", "SnapshotLocked",
    "SnapshotNoChange", "TooManySnapshotLevels", "VirtualDiskBlocksNotFullyProvisioned", "VmConfigFault",
)  # fmt: skip
"""Faults that a snapshot, quiesced or not, can end with."""


@pytest.mark.parametrize("fault", OF_OTHER_THINGS)
def test_a_fault_of_another_kind_is_not_blamed_on_the_guest_by_its_words(session, vm, lab, fault):
    key = vmodl.LocalizableMessage(key="msg.snapshot.error-QUIESCINGERROR", message="quiesce")
    cause = vim.fault.ApplicationQuiesceFault(msg="quiesce")
    fields = {} if fault == "VmConfigFault" else {"faultMessage": [key], "faultCause": cause}
    lab.site.faults.add(Failing(method="CreateSnapshot_Task", fault=fault, message="quiesce", added=fields))

    with pytest.raises(VSphereError) as caught:
        snapshots.create(session, vm, run=RUN, quiesce=True)

    assert (type(caught.value), caught.value.fault) == (VSphereError, fault)
    assert lab.site.faults.calls["CreateSnapshot_Task"] == 1


@pytest.mark.parametrize("fault", ["VmConfigFault", "GenericVmConfigFault", "SnapshotFault", "SystemError"])
@pytest.mark.parametrize("told", ["key", "cause", "cause of the cause"])
def test_a_fault_of_a_general_kind_is_the_guest_s_where_a_key_or_a_cause_says_so(session, vm, lab, fault, told):
    key = vmodl.LocalizableMessage(key="msg.snapshot.error-QUIESCINGERROR", message="Gast")
    cause = vim.fault.FilesystemQuiesceFault(msg="Gast")
    fields = {
        "key": {"faultMessage": [key]},
        "cause": {"faultCause": cause},
        "cause of the cause": {"faultCause": vim.fault.SnapshotFault(msg="Gast", faultCause=cause)},
    }
    lab.site.faults.add(Failing(method="CreateSnapshot_Task", fault=fault, message="Fehler", added=fields[told]))

    with pytest.raises(QuiesceFailedError):
        snapshots.create(session, vm, run=RUN, quiesce=True)


def test_the_same_failures_without_quiescing_are_what_they_are(session, vm, lab):
    lab.site.faults.add(Injection(method="CreateSnapshot_Task", fault="SystemError", message="quiesce"))

    with pytest.raises(VSphereError) as caught:
        snapshots.create(session, vm, run=RUN, quiesce=False)

    assert not isinstance(caught.value, QuiesceFailedError)


def test_other_failures_of_a_quiesced_snapshot_are_not_blamed_on_the_guest(session, vm, lab):
    words = "No room, not even for quiescing"
    lab.site.faults.add(Injection(method="CreateSnapshot_Task", fault="NoDiskSpace", message=words))

    with pytest.raises(VSphereError, match="No room") as caught:
        snapshots.create(session, vm, run=RUN, quiesce=True)

    assert not isinstance(caught.value, QuiesceFailedError)


def test_a_start_refused_for_another_task_is_tried_again(session, vm, lab):
    lab.site.faults.add(Busy(method="CreateSnapshot_Task", fault="TaskInProgress"))

    assert snapshots.create(session, vm, run=RUN, quiesce=False).run == RUN


def test_waiting_for_another_task_ends_at_the_deadline_and_says_for_what(session, vm, lab):
    lab.site.faults.add(Busy(method="CreateSnapshot_Task", fault="TaskInProgress", count=99))

    with pytest.raises(DeadlineError, match="task task-1 holds it"):
        snapshots.create(session, vm, run=RUN, quiesce=False, timeout=0.1)


def test_a_snapshot_whose_answer_was_lost_is_found_again(session, vm, lab):
    lab.site.faults.add(Injection(method="CreateSnapshot_Task", drop=True, after=True))

    with pytest.raises(TransientError):
        snapshots.create(session, vm, run=RUN, quiesce=False)

    (found,) = snapshots.find_by_run(session, vm, RUN)
    snapshots.remove(session, vm, found.moref)


def test_a_removal_whose_answer_was_lost_is_success(session, vm, lab, monkeypatch):
    monkeypatch.setattr("vmkeep.vsphere.snapshots._RETRY_SECONDS", 0.05)
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    lab.site.faults.add(Injection(method="RemoveSnapshot_Task", drop=True, after=True))

    snapshots.remove(session, vm, made.moref)

    assert snapshots.list_all(session, vm) == ()


def test_a_session_that_expires_during_a_wait_does_not_lose_the_task(session, vm, lab):
    lab.site.faults.add(Injection(method="WaitForUpdatesEx", fault="NotAuthenticated"))
    lab.site.sessions.close_all()

    made = snapshots.create(session, vm, run=RUN, quiesce=False)

    assert snapshots.find_by_run(session, vm, RUN) == (made,)


def test_a_connection_that_dies_during_a_wait_does_not_lose_the_task(session, vm, lab):
    lab.site.faults.add(Injection(method="WaitForUpdatesEx", drop=True, count=2))

    assert snapshots.create(session, vm, run=RUN, quiesce=False).run == RUN


def test_a_missing_snapshot_makes_the_plan_stale(session, vm):
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    snapshots.require(session, vm, made.moref)
    snapshots.remove(session, vm, made.moref)

    with pytest.raises(StaleError, match="start a new run"):
        snapshots.require(session, vm, made.moref)


def test_a_user_who_may_not_take_snapshots_is_told_so(lab, reach):
    with open_session(reach(lab, lab.port, user="readonly@vsphere.local")) as session:
        moref = inventory.find_vm(session, "web01").moref

        with pytest.raises(PermissionDeniedError, match=r"VirtualMachine\.State\.CreateSnapshot"):
            snapshots.create(session, moref, run=RUN, quiesce=False)


def test_a_snapshot_of_no_vm_is_not_found(session):
    with pytest.raises(NotFoundError, match="vm-999999"):
        snapshots.create(session, "vm-999999", run=RUN, quiesce=False)


def test_a_snapshot_holds_the_files_the_vm_had_and_a_revert_brings_its_state_back(session):
    moref = inventory.find_vm(session, "old01").moref
    before = inventory.describe_vm(session, moref)
    made = snapshots.create(session, moref, run=RUN, quiesce=False)

    held = held_disks(session, moref, made.moref)
    now = inventory.describe_vm(session, moref)

    assert [item.disk.file_name for item in held] == [disk.file_name for disk in before.disks]
    assert [disk.file_name for disk in now.disks] != [disk.file_name for disk in before.disks]
    snapshots.revert(session, moref, made.moref)
    snapshots.remove(session, moref, made.moref)
    assert [disk.file_name for disk in inventory.describe_vm(session, moref).disks] == [
        disk.file_name for disk in before.disks
    ]


def test_a_removal_that_takes_too_long_goes_on_and_can_be_waited_for_again(session, vm, lab):
    made = snapshots.create(session, vm, run=RUN, quiesce=False)
    lab.site.faults.add(Injection(method="RemoveSnapshot_Task", delay=HANG))

    with pytest.raises(DeadlineError, match=f"remove snapshot {made.moref} of VM {vm} "):
        snapshots.remove(session, vm, made.moref, timeout=0.3)
    lab.site.faults.clear()
    snapshots.remove(session, vm, made.moref)

    assert snapshots.list_all(session, vm) == ()
