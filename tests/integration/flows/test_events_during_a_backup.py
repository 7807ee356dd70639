"""Events at vSphere in the middle of a backup: each ends in a good point or a clear failure, and nothing is left over.

Each case has a small VM of its own in one lab. An event happens after the plan, after the snapshot, while a disk is
copied, or before the seal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.flows.restoring import hands, new_run, site_of
from tests.integration.flows.test_restored_as_it_was import make_vm
from tests.patience import HANG, eventually
from vmkeep.errors import (
    CertificateError,
    NotFoundError,
    QuiesceFailedError,
    StaleError,
    TransientError,
    VmKeepError,
)
from vmkeep.flows import backup
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.model.point import BackupKind, BackupMode, Quiesce
from vmkeep.model.site import Site
from vmkeep.repository import open_repository
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import wait_task
from vmlab.testing import Lab, LabError

MIB = 1 << 20


@dataclass
class Vm:
    """The VM of one case."""

    lab: Lab
    moref: str

    def do(self, start: Callable[[Any], Any]) -> None:
        """Let an administrator start a task on the VM, and wait for it."""
        with hands(self.lab) as session:
            wait_task(session, start(session.vm(self.moref)), what="test", timeout=HANG)

    def disks(self) -> list[Any]:
        with hands(self.lab) as session:
            devices = session.vm(self.moref).config.hardware.device
            return [device for device in devices if isinstance(device, vim.vm.device.VirtualDisk)]

    def reconfigure(self, operation: str, device: Any, **fields: Any) -> None:
        change = vim.vm.device.VirtualDeviceSpec(operation=operation, device=device, **fields)
        self.do(lambda vm: vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))

    @property
    def content(self) -> dict[int, str]:
        return {disk.key: self.lab.hash(self.moref, disk.key) for disk in self.disks()}


def switched_on(vm: Vm) -> None:
    vm.do(lambda managed: managed.PowerOnVM_Task(None))


def switched_off(vm: Vm) -> None:
    vm.do(lambda managed: managed.PowerOffVM_Task())


def switched_on_and_off_again(vm: Vm) -> None:
    switched_on(vm)
    vm.lab.write(vm.moref, 2000, [{"offset": 0, "length": 4096, "seed": 9}])
    switched_off(vm)


def reverted(vm: Vm) -> None:
    snapshot_of_a_person(vm)
    vm.do(lambda managed: managed.RevertToCurrentSnapshot_Task())


def suspended(vm: Vm) -> None:
    vm.do(lambda managed: managed.SuspendVM_Task())


def deleted(vm: Vm) -> None:
    switched_off(vm)
    vm.do(lambda managed: managed.Destroy_Task())


def renamed(vm: Vm) -> None:
    vm.do(lambda managed: managed.Rename_Task("a-new-name"))


def disk_added(vm: Vm) -> None:
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
    old = vm.disks()[0]
    disk = vim.vm.device.VirtualDisk(
        key=-1, controllerKey=old.controllerKey, unitNumber=5, capacityInKB=1024, backing=backing
    )
    vm.reconfigure("add", disk, fileOperation="create")


def disk_grown(vm: Vm) -> None:
    disk = vm.disks()[0]
    disk.capacityInKB, disk.capacityInBytes = 2048, 2 * MIB
    vm.reconfigure("edit", disk)


def tools_stopped(vm: Vm) -> None:
    vm.lab.post("guest/tools", {"vm": vm.moref, "running": False})


def snapshot_of_a_person(vm: Vm) -> None:
    vm.do(lambda managed: managed.CreateSnapshot_Task("theirs", "", False, False))


def all_snapshots_removed(vm: Vm) -> None:
    vm.do(lambda managed: managed.RemoveAllSnapshots_Task(True))


def moved_to_another_datastore(vm: Vm) -> None:
    vm.lab.relocate(vm.moref, "datastore2")


def move_refused(vm: Vm) -> None:
    with pytest.raises(LabError, match="MethodDisabled"):
        moved_to_another_datastore(vm)


def host_into_maintenance(vm: Vm) -> None:
    with hands(vm.lab) as session:
        host = session.vm(vm.moref).runtime.host
        wait_task(session, host.EnterMaintenanceMode_Task(0), what="test", timeout=HANG)
        assert session.vm(vm.moref).runtime.host != host, "the VM has moved to another host"
        wait_task(session, host.ExitMaintenanceMode_Task(0), what="test", timeout=HANG)


def moved_to_another_host(vm: Vm) -> None:
    with hands(vm.lab) as session:
        managed = session.vm(vm.moref)
        here = managed.runtime.host
        there = next(host for host in here.parent.host if host != here)
        wait_task(session, managed.MigrateVM_Task(None, there, "defaultPriority"), what="test", timeout=HANG)


def host_name(vm: Vm) -> str:
    with hands(vm.lab) as session:
        return str(session.vm(vm.moref).runtime.host.name)


def host_disconnected(vm: Vm) -> None:
    vm.lab.post("host/connection", {"host": host_name(vm), "state": "disconnected"})


def host_not_responding(vm: Vm) -> None:
    vm.lab.post("host/connection", {"host": host_name(vm), "state": "notResponding"})


def host_connected(vm: Vm) -> None:
    vm.lab.post("host/connection", {"host": host_name(vm), "state": "connected"})


def vcenter_restarted(vm: Vm) -> None:
    vm.lab.post("vcenter/restart", {})


def session_ended(vm: Vm) -> None:
    vm.lab.post("sessions/drop", {})


def certificate_renewed(vm: Vm) -> None:
    vm.lab.renew_certificate()


PLANNED, TAKEN, COPYING, COPIED = "planned", "taken", "copying", "copied"
CASES: dict[str, tuple[dict[str, Callable[[Vm], None]], type[VmKeepError] | None]] = {
    "switched on before the snapshot": ({PLANNED: switched_on}, StaleError),
    "Tools stopped before the snapshot": ({PLANNED: tools_stopped}, QuiesceFailedError),
    "a disk added before the snapshot": ({PLANNED: disk_added}, StaleError),
    "grown, renamed, kept from moving, session ended": (
        {PLANNED: disk_grown, TAKEN: renamed, COPYING: move_refused, COPIED: session_ended},
        None,
    ),
    "moved, vCenter restarted, host into maintenance, switched off": (
        {
            PLANNED: moved_to_another_datastore,
            TAKEN: vcenter_restarted,
            COPYING: host_into_maintenance,
            COPIED: switched_off,
        },
        None,
    ),
    "a person's snapshot, suspended": ({TAKEN: snapshot_of_a_person, COPYING: suspended}, None),
    "read without a snapshot, and switched on and off again": ({TAKEN: switched_on_and_off_again}, StaleError),
    "read without a snapshot, and reverted to one": ({COPIED: reverted}, StaleError),
    "all snapshots removed": ({TAKEN: all_snapshots_removed}, StaleError),
    "deleted": ({TAKEN: deleted}, NotFoundError),
    "the host disconnected before the snapshot": ({PLANNED: host_disconnected}, TransientError),
    "the host does not respond before the snapshot": ({PLANNED: host_not_responding}, TransientError),
    "certificate renewed": ({TAKEN: certificate_renewed}, CertificateError),
}
"""The events by their moment, and the failure; ``None``: there is a good point. Harmless events share one VM."""


OFF = (switched_on, switched_on_and_off_again, reverted)
"""Events of a VM that is off before."""
OPTIONS: dict[Callable[[Vm], None], dict[str, Any]] = {
    tools_stopped: {"quiesce": Quiesce.FILE_SYSTEM, "quiesce_required": True},
    switched_on_and_off_again: {"mode": BackupMode.ASIS},
    reverted: {"mode": BackupMode.ASIS},
}


@pytest.fixture
def vm(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Vm]:
    """The VM of a case: web01, which has Tools, where they are stopped; else a new one."""
    events = request.node.callspec.params["events"].values()
    if tools_stopped in events:
        yield Vm(lab, str(lab.vm("web01")["moref"]))
        lab.post("guest/tools", {"vm": "web01", "running": True})
        return
    made = Vm(lab, make_vm(lab, f"vm-{new_run()}"))
    if not set(OFF) & set(events):
        switched_on(made)
        lab.write(made.moref, 2000, [{"offset": 65536, "length": 65536, "seed": 7}])
    yield made


def back_up(site: Site, vm: Vm, run: str, events: dict[str, Callable[[Vm], None]], **options: Any) -> str:
    """Back up the VM step by step, each event at its moment and the clean-up at the end. Return the point's ref."""
    waiting = dict(events)

    def reach(moment: str) -> None:
        if (event := waiting.pop(moment, None)) is not None:
            event(vm)

    pre = backup.preflight(site, BackupRequest(vm_selector=f"moref:{vm.moref}", run=run, **options))
    try:
        reach(PLANNED)
        taken = backup.take_snapshot(site, pre)
        jobs = backup.plan_disks(site, pre, taken)
        reach(TAKEN)
        copies = []
        for job in jobs:
            with backup.copy_disk(site, job, cursor=None, on_progress=lambda _: reach(COPYING)) as running:
                copies.append(running.wait())
        reach(COPIED)
        point = backup.seal(site, pre, taken, copies).point
    finally:
        backup.remove_snapshot(site, vm.moref, run, vcenter=pre.vm.vcenter)
    assert not waiting, "every event has happened"
    return point


@pytest.mark.parametrize(("events", "error"), CASES.values(), ids=CASES)
def test_an_event_ends_in_a_good_point_or_a_clear_failure_and_leaves_nothing(lab, bench, vm, events, error):
    run = new_run()
    options = {name: value for event in events.values() for name, value in OPTIONS.get(event, {}).items()}
    before = vm.content

    if error is None:
        point = back_up(bench.site, vm, run, events)
        assert bench.stored(point) == (vm.content if disk_grown in events.values() else before)
    else:
        with pytest.raises(error):
            back_up(bench.site, vm, run, events, **options)

    if error is CertificateError:
        assert lab.vm(vm.moref)["snapshots"], "nobody was asked to trust the new certificate"
        backup.remove_snapshot(site_of(lab, bench.site.repository), vm.moref, run)  # with the new pin
    if {host_disconnected, host_not_responding} & set(events.values()):
        host_connected(vm)
    require_nothing_left(lab, vm, theirs=bool({snapshot_of_a_person, reverted} & set(events.values())))


@pytest.fixture
def running_vm(lab: Lab) -> Vm:
    made = Vm(lab, make_vm(lab, f"vm-{new_run()}"))
    switched_on(made)
    return made


def test_a_vm_that_moves_to_another_host_keeps_its_history_and_its_persons_snapshots(lab, bench, running_vm):
    vm = running_vm
    back_up(bench.site, vm, new_run(), {})
    snapshot_of_a_person(vm)
    lab.write(vm.moref, 2000, [{"offset": 65536, "length": 65536, "seed": 3}])
    moves = {PLANNED: moved_to_another_host, TAKEN: moved_to_another_host, COPYING: moved_to_another_host}

    point = back_up(bench.site, vm, new_run(), moves)

    with open_repository(bench.site.repository) as repository:
        assert [image.kind for image in repository.load_point(point).images] == [BackupKind.INCREMENTAL]
    assert bench.stored(point) == vm.content
    require_nothing_left(lab, vm, theirs=True)


@pytest.mark.parametrize("lost", [host_disconnected, host_not_responding])
def test_a_snapshot_whose_host_is_lost_is_removed_as_soon_as_the_host_is_back(lab, bench, running_vm, lost):
    vm, run = running_vm, new_run()
    pre = backup.preflight(bench.site, BackupRequest(vm_selector=f"moref:{vm.moref}", run=run))
    backup.take_snapshot(bench.site, pre)
    lost(vm)

    before = lab.state()["calls"].get("RemoveSnapshot_Task", 0)
    with ThreadPoolExecutor(1) as pool:
        removing = pool.submit(backup.remove_snapshot, bench.site, vm.moref, run)
        try:
            eventually(lambda: lab.state()["calls"].get("RemoveSnapshot_Task", 0) > before)
        finally:
            host_connected(vm)
        assert removing.result(HANG).snapshots_removed == 1

    require_nothing_left(lab, vm, theirs=False)


def require_nothing_left(lab: Lab, vm: Vm, *, theirs: bool) -> None:
    state = lab.state()
    found = [one for one in state["vms"] if one["moref"] == vm.moref]
    for one in found:
        assert [snapshot["name"] for snapshot in one["snapshots"]] == (["theirs"] if theirs else [])
        assert one["held_by"] == []
    assert state["running_tasks"] == []
