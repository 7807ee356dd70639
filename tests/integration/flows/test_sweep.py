"""The sweep finds what dead runs left on a vCenter, repairs what is surely ours, and reports the rest."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.flows.restoring import back_up, devices, hands, new_run, reconfigure, swept
from tests.patience import HANG
from vmkeep.flows import attached_disks, backup, leftovers, listing, liveness
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.sweep import Kind, State
from vmkeep.flows.sweep_ground import SweepWishes, open_ground
from vmkeep.repository import Repository, open_repository
from vmkeep.vsphere import snapshots
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import run_task, wait_task

PROXY, VM = "app01", "web01"


def ended(_owner: str) -> bool:
    return True


def runs_on(_owner: str) -> bool:
    return False


@pytest.fixture(autouse=True)
def nothing_left(lab, site):
    yield
    lab.clear()
    vm = lab.vm(VM)
    if vm["snapshots"] or vm["held_by"]:
        swept(site, has_ended=ended)
        assert lab.vm(VM)["snapshots"] == []


@pytest.fixture
def leave(site):
    """Do what a run does that dies right after its snapshot. Return the snapshot."""

    def dead(owner="an Airflow"):
        request = BackupRequest(vm_selector=VM, run=new_run(), owner=owner)
        return backup.take_snapshot(site, backup.preflight(site, request))

    return dead


def states(found) -> dict[Kind, State]:
    return {one.kind: one.state for one in found}


def test_looking_at_all_vms_takes_the_same_calls_for_few_and_for_many(lab, site):
    """One view of all VMs is read page by page, once before the repairs and once after them."""
    before = lab.state()["calls"]

    assert swept(site) == []

    calls = {name: count - before.get(name, 0) for name, count in lab.state()["calls"].items()}
    assert {name: count for name, count in calls.items() if count and name.startswith(("Retrieve", "Create"))} == {
        "RetrievePropertiesEx": 2, "RetrieveServiceContent": 1, "CreateContainerView": 2,
    }  # fmt: skip


@pytest.fixture
def proxy(lab, site, monkeypatch):
    """Let this machine be a VM of the lab. Return a function that attaches a VM's first disk to it, as HotAdd does."""
    uuid = listing.describe_vm(site.vcenter, PROXY).identity.bios_uuid
    monkeypatch.setattr(attached_disks, "read_uuids", lambda: ("42000000-0000-0000-0000-000000000000", uuid))
    own = {device.key for device in devices(lab, PROXY)}

    def attach(file_name):
        (controller,) = [one for one in devices(lab, PROXY) if isinstance(one, vim.vm.device.VirtualSCSIController)][:1]
        backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=file_name, diskMode="independent_nonpersistent"
        )
        disk = vim.vm.device.VirtualDisk(key=-1, controllerKey=controller.key, unitNumber=9, backing=backing)
        change = vim.vm.device.VirtualDeviceSpec(operation="add", device=disk)
        reconfigure(lab, PROXY, vim.vm.ConfigSpec(deviceChange=[change]))

    yield attach
    for device in devices(lab, PROXY):
        if device.key not in own:
            change = vim.vm.device.VirtualDeviceSpec(operation="remove", device=device)
            reconfigure(lab, PROXY, vim.vm.ConfigSpec(deviceChange=[change]))


def disk_files(lab, vm) -> list[str]:
    return [one.backing.fileName for one in devices(lab, vm) if isinstance(one, vim.vm.device.VirtualDisk)]


def test_a_disk_that_a_dead_run_left_on_the_proxy_is_detached_before_its_snapshot_goes(lab, site, proxy, leave):
    (base,) = disk_files(lab, VM)
    before = lab.hash(VM, 2000)
    leave()
    proxy(base)

    assert states(swept(site, has_ended=runs_on))[Kind.ATTACHED] is State.IN_USE
    assert states(swept(site, has_ended=ended, dry_run=True))[Kind.ATTACHED] is State.DEAD
    assert base in disk_files(lab, PROXY)
    done = states(swept(site, has_ended=ended))

    assert done == dict.fromkeys((Kind.ATTACHED, Kind.SNAPSHOT), State.REPAIRED)
    assert base not in disk_files(lab, PROXY)
    assert (lab.hash(VM, 2000), lab.vm(VM)["snapshots"]) == (before, [])


def test_a_disk_that_somebody_else_attached_to_the_proxy_is_reported_and_stays(lab, site, proxy):
    (base,) = disk_files(lab, VM)
    proxy(base)

    (found,) = swept(site, Kind.ATTACHED, has_ended=ended)

    assert (found.state, found.vm.name) == (State.LEFT, VM)
    assert base in found.detail
    assert base in disk_files(lab, PROXY)


def leave_at_once(ground, vm, owner="an Airflow") -> None:
    """Do what a run does that begins at once with another, and dies before it sees the other's snapshot."""
    run = new_run()
    ground.repository.run(run).store("owner", owner.encode())
    snapshots.create(ground.session, vm, run=run, repository=ground.repository.id, quiesce=False)


def test_a_disk_stays_that_a_run_may_read_which_began_since_or_that_nobody_knows(lab, site, proxy, leave, monkeypatch):
    (base,) = disk_files(lab, VM)
    proxy(base)
    died = leave()
    with open_ground(site, SweepWishes(has_ended=lambda owner: owner == "an Airflow" or None)) as ground:
        (left,) = leftovers.judged_on(ground, [died.vm])
        backup.remove_snapshot(site, died.vm, left.run)
        leave("an unknown Airflow")
        began_since = attached_disks.sweep_attached(ground)
        monkeypatch.setattr(liveness, "YOUNG", timedelta())
        leave_at_once(ground, died.vm)
        unknown = attached_disks.sweep_attached(ground)

    assert [found.state for found in (*began_since, *unknown)] == [State.IN_USE, State.LEFT]
    assert base in disk_files(lab, PROXY)


def leave_unmerged(lab, vm) -> None:
    """Take a snapshot and remove it as a program does that leaves its delta disks."""
    with hands(lab) as session:
        managed = session.vm(lab.vm(vm)["moref"])
        made = run_task(
            session, lambda: managed.CreateSnapshot_Task("theirs", "", False, False), what="take", timeout=HANG,
            look=lambda: None,
        )  # fmt: skip
        task = made.RemoveSnapshot_Task(removeChildren=False, consolidate=False)
        wait_task(session, task, what="remove", timeout=HANG)
    assert lab.vm(vm)["consolidation_needed"]


def test_unmerged_disks_are_consolidated_where_the_repository_has_points_of_the_vm(lab, site, kept):
    leave_unmerged(lab, VM)

    assert states(swept(site)) == {Kind.CONSOLIDATION: State.LEFT}
    assert lab.vm(VM)["consolidation_needed"]
    assert states(swept(kept[0])) == {Kind.CONSOLIDATION: State.REPAIRED}
    assert not lab.vm(VM)["consolidation_needed"]


def test_an_old_snapshot_of_somebody_else_is_reported_and_never_removed(lab, site):
    with hands(lab) as session:
        managed = session.vm(lab.vm("db01")["moref"])
        made = run_task(
            session, lambda: managed.CreateSnapshot_Task("before the update", "", False, False), what="take",
            timeout=HANG, look=lambda: None,
        )  # fmt: skip
        assert swept(site) == []

        (found,) = swept(site, foreign_age=timedelta())

        assert (found.kind, found.state, found.vm.name) == (Kind.FOREIGN, State.LEFT, "db01")
        assert "before the update" in found.line
        assert len(lab.vm("db01")["snapshots"]) == 1
        wait_task(session, made.RemoveSnapshot_Task(False, True), what="remove", timeout=HANG)


def test_a_removal_that_takes_long_is_left_to_vsphere_and_holds_up_no_sweep(lab, site, leave, monkeypatch):
    monkeypatch.setattr(leftovers, "PATIENCE", 0.2)
    leave()
    lab.fault(method="RemoveSnapshot_Task", fault="TaskInProgress", fields={"task": "task-17"}, count=99)

    (found,) = swept(site, Kind.SNAPSHOT, has_ended=ended)

    assert found.state is State.UNDER_WAY


def test_a_removal_that_does_not_end_is_a_failure_that_names_its_task_once_the_limit_of_the_run_is_over(
    lab, site, leave, monkeypatch
):
    monkeypatch.setattr(leftovers, "PATIENCE", 0.2)
    monkeypatch.setattr(leftovers, "_GRACE", timedelta())
    leave()
    lab.fault(method="RemoveSnapshot_Task", fault="TaskInProgress", fields={"task": "task-17"}, count=99)

    (found,) = swept(site, Kind.SNAPSHOT, has_ended=ended, given_up=timedelta())

    assert found.state is State.FAILED
    assert "task task-17 holds it" in found.detail


def test_a_failed_repair_keeps_no_other_from_being_done(lab, site, leave):
    leave()
    leave_unmerged(lab, "db01")
    lab.fault(method="RemoveSnapshot_Task", fault="FileFault", count=9)

    found = {(one.kind, one.vm.name): one.state for one in swept(site, has_ended=ended)}

    assert found[Kind.SNAPSHOT, VM] is State.FAILED
    assert found[Kind.CONSOLIDATION, "db01"] is State.LEFT
    with hands(lab) as session:
        wait_task(session, session.vm(lab.vm("db01")["moref"]).ConsolidateVMDisks_Task(), what="merge", timeout=HANG)


class PowerCut(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("owner", ["an Airflow", ""])
def test_permits_of_a_run_that_died_before_its_snapshot_are_given_back_whoever_owned_it(site, owner, monkeypatch):
    def die(*_: object) -> None:
        assert swept(site, Kind.PERMITS, has_ended=lambda _owner: False if owner else None) == []  # it is at work
        raise PowerCut

    request = BackupRequest(vm_selector=VM, run=new_run(), owner=owner)
    pre = backup.preflight(site, request)
    monkeypatch.setattr(Repository, "begin_run", die)
    with pytest.raises(PowerCut):
        backup.take_snapshot(site, pre)

    (found,) = swept(site, has_ended=lambda words: True if words else None)

    assert (found.kind, found.state, found.run) == (Kind.PERMITS, State.REPAIRED, request.run)
    with open_repository(site.repository) as repository:
        assert {use.holders for use in repository.usages()} == {()}


def test_a_backup_of_the_command_line_keeps_its_snapshot_also_when_no_copy_runs(site, monkeypatch):
    monkeypatch.setattr(liveness, "YOUNG", timedelta())
    seal, seen = backup.seal, []

    def swept_before(*arguments):
        seen.extend(one.state for one in swept(site, Kind.SNAPSHOT))
        return seal(*arguments)

    monkeypatch.setattr(backup, "seal", swept_before)

    back_up(site, VM)

    assert seen == [State.IN_USE]
