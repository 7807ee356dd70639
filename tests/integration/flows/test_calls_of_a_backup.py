"""A backup asks little of a vCenter, because a thousand VMs ask it in one night."""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial

import pytest

from tests.integration.flows.restoring import back_up, devices, hands, new_run, power, reconfigure
from tests.integration.flows.test_restored_as_it_was import make_vm
from vmkeep.errors import NotFoundError
from vmkeep.flows import connect
from vmkeep.flows.backup import preflight
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.leftovers import find_run_snapshots
from vmkeep.vsphere import inventory
from vmkeep.vsphere.api import vim

MOST = 36
"""Calls of a backup of one disk beside those that wait for its two tasks, which are four on a quiet machine.

Its changes take two or three answers of the lab.
"""
LOOKS = 7
"""Calls of a backup of one disk that read properties, without the one that follows each wait for a task."""
OF_HOSTS = ("host.GET",)
"""Requests that the lab counts too, though a host answers them, and not the vCenter."""


def calls_of(lab, action) -> Counter[str]:
    """The vCenter's calls during an action, by method."""
    before = Counter(lab.state()["calls"])
    action()
    calls = Counter(lab.state()["calls"]) - before
    return Counter({method: count for method, count in calls.items() if method not in OF_HOSTS})


def test_a_backup_of_a_vm_with_one_disk_takes_few_calls_whether_it_is_full_or_not(bench):
    back_up(bench.site, "web01")  # switches change tracking on

    increment = calls_of(bench.lab, partial(back_up, bench.site, "web01"))
    full = calls_of(bench.lab, partial(back_up, bench.site, "web01", full=True))

    for calls in (increment, full):
        assert calls.total() - 2 * calls["WaitForUpdatesEx"] <= MOST, calls


@pytest.fixture
def many_disks(lab):
    """A running VM, and the number of its disks."""
    more = 5
    name = f"vm-{new_run()}"
    moref = make_vm(lab, name)
    first = next(one for one in devices(lab, f"moref:{moref}") if isinstance(one, vim.vm.device.VirtualDisk))
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
    added = [
        vim.vm.device.VirtualDisk(
            key=-1 - at, controllerKey=first.controllerKey, unitNumber=1 + at, capacityInKB=1024, backing=backing
        )
        for at in range(more)
    ]
    spec = partial(vim.vm.device.VirtualDeviceSpec, operation="add", fileOperation="create")
    change = vim.vm.ConfigSpec(deviceChange=[spec(device=disk) for disk in added])
    reconfigure(lab, f"moref:{moref}", change)
    power(lab, f"moref:{moref}", on=True)
    return f"moref:{moref}", 1 + more


def test_a_disk_more_costs_the_question_for_its_changes_and_no_look_at_all_disks(bench, many_disks):
    vm, disks = many_disks
    back_up(bench.site, vm)  # switches change tracking on

    calls = calls_of(bench.lab, partial(back_up, bench.site, vm))

    assert calls["QueryChangedDiskAreas"] == disks
    looks = calls["RetrievePropertiesEx"] - calls["WaitForUpdatesEx"]
    assert looks < LOOKS + disks / 2, "a look brings all disks, so that one for each of them costs their square"


@pytest.fixture
def shared_probes(monkeypatch):
    """The tries of drivers that the processes of a worker share."""
    monkeypatch.setattr(connect, "_probes", None)
    connect.share_probes()


@pytest.mark.usefixtures("shared_probes")
def test_the_next_process_of_a_worker_does_not_start_the_same_driver_again(site, monkeypatch):
    monkeypatch.setattr(connect, "_STARTED", {})
    told = connect.check_driver(site)
    monkeypatch.setattr(connect, "_STARTED", {})  # which the next process has not
    monkeypatch.setattr(sys, "executable", "/nowhere")  # so that no child can start

    assert connect.check_driver(site) == told


def test_a_look_for_snapshots_of_dead_runs_on_one_vm_takes_one_call(bench):
    with hands(bench.lab) as session:
        moref = inventory.find_vm(session, "old01").moref

    calls = calls_of(bench.lab, lambda: find_run_snapshots(bench.site, moref))

    assert calls["RetrievePropertiesEx"] == 1, calls


def test_a_backup_that_a_window_starts_reads_no_names_of_other_vms(bench):
    with hands(bench.lab) as session:
        moref = inventory.find_vm(session, "web01").moref

    calls = calls_of(bench.lab, lambda: preflight(bench.site, window_request(moref)))

    assert calls["CreateContainerView"] == 0, calls
    with pytest.raises(NotFoundError, match="no VM with id 'vm-999'"):
        preflight(bench.site, window_request("vm-999"))


def window_request(moref: str) -> BackupRequest:
    return BackupRequest(vm_selector=f"moref:{moref}", run=new_run(), policy="nightly")
