"""Disks of a point become new disks of a VM, which may run: whole, all of them or none, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.flows.restoring import devices, hands, names, new_run, power, reconfigure, restore_whole, swept
from tests.patience import HANG
from vmkeep.errors import ConflictError, NotFoundError, StaleError, VmKeepError
from vmkeep.flows import attach, attach_moves, restore
from vmkeep.flows.attach_values import AttachRequest
from vmkeep.flows.complete_attach import run_attach
from vmkeep.flows.connect import open_vsphere as hands_of
from vmkeep.flows.restore_request import OnConflict
from vmkeep.flows.stopping import Stop
from vmkeep.flows.sweep import Kind, State
from vmkeep.model.job import to_json
from vmkeep.repository import open_repository
from vmkeep.vsphere import attaching, carriers, choices, inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import run_task

FROM, RUNNING, OFF = "web01", "app01", "old01"


def request(point, vm, *disks, **options) -> AttachRequest:
    return AttachRequest(point=point, run=new_run(), disks=disks or ("scsi0:0",), vm_selector=vm, **options)


def attach_all(site, asked, **options):
    return run_attach(site, asked, bars=lambda _: lambda _: None, announce=lambda _: None, **options)


def look(lab, vm):
    """All that a VM is: its devices by key, its settings, its power."""
    with hands(lab) as session:
        managed = session.vm(lab.vm(vm)["moref"])
        config = managed.config
        return (
            {device.key: str(device) for device in config.hardware.device},
            {setting.key: setting.value for setting in config.extraConfig},
            str(managed.runtime.powerState),
        )


def vmdks(lab) -> set[str]:
    return {str(path.relative_to(lab.folder)) for path in lab.folder.rglob("*.vmdk")}


def new_disk(lab, vm, before):
    """The key of the one disk that a VM has more than before."""
    (key,) = look(lab, vm)[0].keys() - before[0].keys()
    return key


@pytest.fixture
def world(lab):
    """The VMs and their disks' files before the test."""
    return names(lab), vmdks(lab)


def detach(lab, vm, *keys):
    """Take disks away again, with their files."""
    spec = vim.vm.device.VirtualDeviceSpec
    gone = [device for device in devices(lab, vm) if device.key in keys]
    changes = [
        spec(operation="remove", fileOperation="destroy" if hasattr(device, "capacityInKB") else None, device=device)
        for device in gone
    ]
    reconfigure(lab, vm, vim.vm.ConfigSpec(deviceChange=changes))


def test_a_running_vm_gets_a_disk_and_nothing_else_of_it_changes(lab, kept, vmkeep, bench, world):
    site, point = kept
    before = look(lab, RUNNING)

    asked = ("restore", "disk", point, "scsi0:0", "--to", RUNNING, "-r", site.repository, "--vddk", site.vddk, "--json")
    planned = json.loads(vmkeep(*asked, "--dry-run").stdout)
    assert (planned["dry_run"], look(lab, RUNNING)) == (True, before)
    assert "becomes scsi0:2, thin, as [datastore1] app01/app01-" in "".join(planned["lines"])

    told = vmkeep(*asked)

    (new,) = json.loads(told.stdout)["disks"]
    key = new_disk(lab, RUNNING, before)
    after = look(lab, RUNNING)
    assert {kept: text for kept, text in after[0].items() if kept in before[0]}.keys() == before[0].keys()
    assert after[1:] == before[1:]
    assert names(lab) == world[0]
    power(lab, RUNNING, on=False)
    assert lab.hash(RUNNING, key) == lab.hash(FROM, 2000)
    assert new["file_name"].startswith("[datastore1] app01/app01-")
    detach(lab, RUNNING, key)
    power(lab, RUNNING, on=True)
    assert vmdks(lab) == world[1]


def test_a_vm_that_is_off_gets_a_disk_where_it_was_told_and_a_map_writes_over_that_disk_alone(lab, kept, world):
    site, point = kept
    before = look(lab, OFF)

    done = attach_all(site, request(point, OFF, at=("scsi2:4",), datastore="datastore1"))

    keys = look(lab, OFF)[0].keys() - before[0].keys()
    disk = next(device for device in devices(lab, OFF) if device.key in keys and hasattr(device, "capacityInKB"))
    assert (done.disks[0].address, disk.unitNumber, disk.backing.thinProvisioned) == ("scsi2:4", 4, True)
    assert done.disks[0].file_name.startswith("[datastore1] ")
    assert lab.hash(OFF, disk.key) == lab.hash(FROM, 2000)
    assert done.bytes_compared >= done.bytes_written > 0, "all that the new disk holds is read back"

    others = {key: lab.hash(OFF, key) for key in before[0] if key in (2000, 2001)}
    over = {"vm_selector": OFF, "on_conflict": OnConflict.OVERWRITE, "power_on": False}
    with pytest.raises(ConflictError, match="the disk there has"):
        restore_whole(site, point, **over)
    written = restore_whole(site, point, disk_map=(f"scsi0:0={disk.key}",), **over)

    assert (written.disks_written, lab.hash(OFF, disk.key)) == (1, lab.hash(FROM, 2000))
    assert {key: lab.hash(OFF, key) for key in others} == others
    detach(lab, OFF, disk.key)
    detach(lab, OFF, *(keys - {disk.key}))


def died(site, asked, stage: int):
    """Do the steps of a run up to a stage, as a process that dies there."""
    plan = attach.plan_attach(site, asked)
    carrier = attach.make_carrier(site, plan)
    target = plan.target.moref
    with open_repository(site.repository) as repository, hands_of(site) as session:
        whole = attach.whole_disks(plan, inventory.describe_vm(session, carrier.vm).disks)
        files = tuple(disk.file_name for disk in whole)
        move = attach_moves.Move(carrier=carrier.vm, vm=target, files=files)
        repository.run(asked.run).store("move", to_json(move))
        attaching.announce(session, target, asked.run)
        if stage >= 1:
            carriers.unload(session, carrier.vm, files)
        if stage >= 2:
            attaching.attach(session, target, asked.run, whole)
    return target, whole


STAGES = ["announced", "taken off the carrier", "attached"]


@pytest.mark.parametrize("stage", range(3), ids=STAGES)
def test_a_run_that_dies_leaves_all_disks_or_none_after_the_sweep_and_does_nothing_when_it_wakes_up(
    lab, kept, world, stage
):
    site, point = kept
    before = look(lab, OFF)
    asked = request(point, OFF, owner="a test")
    target, whole = died(site, asked, stage)

    (finding,) = swept(site, Kind.RESTORE, has_ended=lambda _: True)

    assert finding.state is State.REPAIRED
    with hands_of(site) as session, pytest.raises(StaleError, match="was given up"):
        attaching.attach(session, target, asked.run, whole)
    assert names(lab) == world[0]
    after = look(lab, OFF)
    assert after[1:] == before[1:]
    detach(lab, OFF, *(after[0].keys() - before[0].keys()))
    assert len(after[0].keys() - before[0].keys()) == (1 if stage == 2 else 0)
    assert vmdks(lab) == world[1]


def let_go_of(lab, vm, key):
    """Detach a disk, and keep its file, as the warning of twin disks advises."""
    device = next(device for device in devices(lab, vm) if device.key == key)
    change = vim.vm.device.VirtualDeviceSpec(operation="remove", device=device)
    reconfigure(lab, vm, vim.vm.ConfigSpec(deviceChange=[change]))


def test_a_disk_that_its_user_has_detached_again_is_never_destroyed_by_the_sweep(lab, kept, world):
    site, point = kept
    before = look(lab, OFF)
    _, (disk,) = died(site, request(point, OFF, owner="a test"), 2)
    let_go_of(lab, OFF, new_disk(lab, OFF, before))

    (finding,) = swept(site, Kind.RESTORE, has_ended=lambda _: True)

    assert finding.state is State.REPAIRED
    assert disk.file_name in finding.detail
    assert names(lab) == world[0]
    assert lab.files(disk.file_name).is_file()


def test_a_disk_whose_vm_was_unregistered_is_never_destroyed_by_the_sweep(lab, kept, world):
    site, point = kept
    before = look(lab, OFF)
    target, (disk,) = died(site, request(point, OFF, owner="a test"), 2)
    with hands(lab) as session:
        vm = session.vm(target)
        asked = (vm.config.files.vmPathName, None, False, vm.resourcePool)
        folder = vm.parent
        vm.UnregisterVM()
        try:
            (finding,) = swept(site, Kind.RESTORE, has_ended=lambda _: True)
        finally:
            run_task(
                session, lambda: folder.RegisterVM_Task(*asked), what="test", timeout=HANG, look=lambda: None
            )  # fmt: skip

    assert (finding.state, disk.file_name in finding.detail) == (State.REPAIRED, True)
    detach(lab, OFF, new_disk(lab, OFF, before))  # fails if the file is gone
    assert sorted(names(lab)) == sorted(world[0])


def test_a_disk_of_a_vm_that_cannot_be_read_stays_and_so_does_the_carrier(lab, kept, world):
    site, point = kept
    before = look(lab, OFF)
    target, _ = died(site, request(point, OFF, owner="a test"), 2)

    lab.post("vm/connection", {"vm": target, "state": "inaccessible"})
    try:
        (finding,) = swept(site, Kind.RESTORE, has_ended=lambda _: True)
        carriers_left = set(names(lab)) - set(world[0])
    finally:
        lab.post("vm/connection", {"vm": target, "state": "connected"})

    assert (finding.state, len(carriers_left)) == (State.FAILED, 1)
    assert "cannot be read (it is inaccessible)" in finding.detail
    assert len(vmdks(lab) - world[1]) >= 1
    (later,) = swept(site, Kind.RESTORE, has_ended=lambda _: True)
    assert (later.state, names(lab)) == (State.REPAIRED, world[0])
    detach(lab, OFF, new_disk(lab, OFF, before))


def test_a_repository_that_fails_after_the_last_change_makes_no_failure_of_a_success(lab, kept, world, monkeypatch):
    site, point = kept
    before = look(lab, OFF)
    asked = request(point, OFF)
    notes = Path(site.repository) / "runs" / asked.run / "notes"
    real = attaching.attach

    def and_then_the_repository_fails(*args):
        slots = real(*args)
        notes.rename(notes.with_name("away"))
        notes.write_text("no folder")
        return slots

    monkeypatch.setattr(attaching, "attach", and_then_the_repository_fails)

    done = attach_all(site, asked)

    assert [warning for warning in done.warnings if "could not be noted" in warning]
    assert names(lab) == world[0]
    detach(lab, OFF, new_disk(lab, OFF, before))


@pytest.mark.parametrize("lost", [False, True], ids=["refused", "done, and its answer lost"])
def test_a_failure_of_the_last_change_leaves_all_disks_or_none(lab, kept, world, lost):
    site, point = kept
    before = look(lab, OFF)
    asked = request(point, OFF)
    target, whole = died(site, asked, stage=1)
    lab.fault(method="ReconfigVM_Task", fault="InvalidState", count=1, after=lost)

    try:
        with hands_of(site) as session, pytest.raises(VmKeepError):
            attaching.attach(session, target, asked.run, whole)
    finally:
        lab.clear()
    assert restore.clean_up(site, asked.run) == 1

    after = look(lab, OFF)
    new = after[0].keys() - before[0].keys()
    assert (len(new), after[1:], names(lab)) == (int(lost), before[1:], world[0])
    detach(lab, OFF, *new)
    assert vmdks(lab) == world[1]


def test_a_run_that_is_stopped_while_it_writes_leaves_nothing_behind(lab, kept, world):
    site, point = kept
    before, stop = look(lab, OFF), Stop()

    with pytest.raises(VmKeepError):
        run_attach(
            site, request(point, OFF), bars=lambda _: lambda _: stop.ask(), announce=lambda _: None, stop=stop
        )  # fmt: skip

    assert look(lab, OFF) == before
    assert (names(lab), vmdks(lab)) == world


def test_a_disk_of_the_vm_itself_is_warned_of_as_a_twin(lab, kept):
    site, point = kept

    plan = attach.plan_attach(site, request(point, FROM))

    assert [warning for warning in plan.warnings if "same ids of partitions" in warning]


def test_a_datastore_is_found_by_its_name_its_path_and_its_id_as_for_a_new_vm(lab, kept):
    site, point = kept
    with hands(lab) as session:
        store = next(one for one in choices.list_datastores(session) if one.name == "datastore1")

    plans = [attach.plan_attach(site, request(point, OFF, datastore=word)) for word in (store.path, store.id)]

    assert [plan.carrier.disks[0].file_name.partition(" ")[0] for plan in plans] == ["[datastore1]"] * 2


@pytest.mark.parametrize(
    ("vm", "options", "error", "told"),
    [
        ("nobody", {}, NotFoundError, "nobody"),
        (OFF, {"at": ("scsi0:0",)}, ConflictError, "scsi0:0 is taken by Hard disk 1"),
        (OFF, {"datastore": "ds-9"}, NotFoundError, "no datastore 'ds-9' in /Lab; there are datastore1"),
        (OFF, {"datastore": "datastor1"}, NotFoundError, "near: 'datastore1'"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_refused_before_any_change(lab, kept, world, vm, options, error, told):
    site, point = kept

    with pytest.raises(error, match=told):
        attach_all(site, request(point, vm, **options))

    assert (names(lab), vmdks(lab)) == world


def test_a_vm_over_which_a_restore_is_at_work_gets_no_disk(lab, kept):
    site, point = kept
    mark = vim.option.OptionValue(key="vmkeep.restoring", value="some/run")
    reconfigure(lab, OFF, vim.vm.ConfigSpec(extraConfig=[mark]))

    try:
        with pytest.raises(ConflictError, match="is being written over by the restore of run some/run"):
            attach_all(site, request(point, OFF))
    finally:
        mark.value = ""
        reconfigure(lab, OFF, vim.vm.ConfigSpec(extraConfig=[mark]))
