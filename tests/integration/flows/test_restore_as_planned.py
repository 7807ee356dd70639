"""A restore does what was shown: every step sees that the world is still as planned, or stops and touches nothing."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.flows.restoring import (
    Restoring,
    back_up,
    hands,
    names,
    power,
    reconfigure,
    rename,
    site_of,
    swap_disk,
    write,
)
from tests.labs import start_lab
from vmkeep.errors import ConflictError, StaleError, VmKeepError
from vmkeep.flows import restore
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.model.site import Site
from vmkeep.vsphere import inventory
from vmkeep.vsphere.api import vim

VM = "web01"


@pytest.fixture
def fresh(kept, lab) -> tuple[Site, str, str]:
    """A VM of this test's own, made from the point and switched on: site, its point, its name."""
    site, point = kept
    return site, point, made(site, point)


def made(site: Site, point: str) -> str:
    """Restore a new VM that runs, and return its name."""
    name = f"own-{uuid.uuid4().hex[:6]}"
    Restoring.new(site, point, name).prepared().written().finish()
    return name


@pytest.fixture(scope="module")
def finished(kept, lab):
    """A restore over a VM that has finished, its last step's answer, and the VM's name; its disk has changed since."""
    site, point = kept
    name = made(site, point)
    done = Restoring.over(site, point, vm_selector=name).prepared().written()
    answer = done.finish()
    lab.write(name, 2000, [{"offset": 0, "length": 4096, "seed": 5}])
    return done, answer, name


def look(lab, vm: str) -> tuple[object, ...]:
    """All of a VM that a restore might change."""
    state = lab.vm(vm)
    with hands(lab) as session:
        config = session.vm(state["moref"]).config
        settings = sorted((option.key, str(option.value)) for option in config.extraConfig)
        tracking = config.changeTrackingEnabled
    return state["power"], lab.hash(vm, 2000), tracking, settings


CHANGES = {
    "another disk in its place": swap_disk,
    "a disk more": lambda lab, vm: reconfigure(lab, vm, disk_more(lab, vm)),
    "another instance UUID": lambda lab, vm: reconfigure(lab, vm, vim.vm.ConfigSpec(instanceUuid=str(uuid.uuid4()))),
    "another BIOS UUID": lambda lab, vm: reconfigure(lab, vm, vim.vm.ConfigSpec(uuid=str(uuid.uuid4()))),
    "another name": lambda lab, vm: rename(lab, vm, f"{vm}-do-not-touch"),
}


def disk_more(lab, vm):
    with hands(lab) as session:
        device = session.vm(inventory.find_vm(session, vm).moref).config.hardware.device
    disk = next(d for d in device if d.key == 2000)
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
    new = vim.vm.device.VirtualDisk(
        key=-1, controllerKey=disk.controllerKey, unitNumber=5, capacityInKB=1024, capacityInBytes=1 << 20,
        backing=backing,
    )  # fmt: skip
    spec = vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=new)
    return vim.vm.ConfigSpec(deviceChange=[spec])


@pytest.mark.parametrize("change", CHANGES)
def test_a_vm_that_is_not_as_planned_any_more_is_not_touched(lab, fresh, change):
    site, point, name = fresh
    planned = Restoring.over(site, point, vm_selector=name)
    moref = lab.vm(name)["moref"]
    CHANGES[change](lab, name)
    before = look(lab, moref)

    with pytest.raises(StaleError) as caught:
        planned.prepared()

    assert "\n" not in str(caught.value)
    assert look(lab, moref) == before


def test_a_guest_that_changes_its_vms_settings_meanwhile_stops_no_restore(lab, fresh):
    site, point, name = fresh
    planned = Restoring.over(site, point, vm_selector=name)
    lab.fault(method="ReconfigVM_Task", fault="ConcurrentAccess", count=3)
    try:
        planned.prepared()
    finally:
        lab.clear()

    planned.written().finish()


def test_a_disk_swapped_after_the_vm_was_made_ready_is_not_written(lab, fresh):
    site, point, name = fresh
    ready = Restoring.over(site, point, vm_selector=name).prepared()
    swap_disk(lab, name)
    before = look(lab, name)

    with pytest.raises(StaleError):
        ready.written()

    assert look(lab, name) == before


def test_a_disk_swapped_after_the_jobs_were_planned_is_not_written(lab, fresh):
    site, point, name = fresh
    ready = Restoring.over(site, point, vm_selector=name).prepared()
    ready.jobs = restore.write_jobs(site, ready.plan, ready.target)
    swap_disk(lab, name)
    before = look(lab, name)

    with pytest.raises(StaleError):
        write(site, ready.jobs[0])

    assert look(lab, name) == before


def test_a_plan_made_at_one_vcenter_is_not_carried_out_at_another(lab, fresh, tmp_path):
    site, point, name = fresh
    planned = Restoring.over(site, point, vm_selector=f"moref:{lab.vm(name)['moref']}")
    with start_lab(tmp_path / "other", data_disk_gib=0.0625) as other:
        before = other.state()["vms"]
        elsewhere = site_of(other, site.repository)

        with pytest.raises(StaleError, match="vCenter"):
            restore.prepare_target(elsewhere, planned.plan)

        assert other.state()["vms"] == before


def test_a_name_taken_after_the_plan_is_not_used(lab, kept):
    site, point = kept
    name = f"new-{uuid.uuid4().hex[:6]}"
    first, second = Restoring.new(site, point, name), Restoring.new(site, point, name)
    first.prepared().written().finish()
    before = look(lab, name)

    with pytest.raises(VmKeepError, match=name):
        second.prepared()

    assert look(lab, name) == before
    assert names(lab).count(name) == 1


def test_a_folder_renamed_after_the_plan_gets_no_vm(lab, kept):
    site, point = kept
    name = f"new-{uuid.uuid4().hex[:6]}"
    with hands(lab) as session:
        parent = session.vm(lab.vm(VM)["moref"]).parent.parent
        folder = parent.CreateFolder(f"folder-{name}")
    planned = Restoring.new(site, point, name, folder=f"folder-{name}")
    with hands(lab) as session:
        session.managed(vim.Folder, folder._moId).Rename_Task(f"secret-{name}")

    with pytest.raises(StaleError, match=f"folder-{name}"):
        planned.prepared()

    assert name not in names(lab)


def test_the_place_shown_is_the_place_used_though_the_original_was_moved(lab, fresh):
    """A place that nobody names follows the original VM; once shown, it stays."""
    site, _, original = fresh
    point = back_up(site, original).point
    name = f"new-{uuid.uuid4().hex[:6]}"
    planned = Restoring.new(site, point, name)
    with hands(lab) as session:
        managed = session.vm(lab.vm(original)["moref"])
        folder = managed.parent.parent.CreateFolder(f"elsewhere-{name}")
        folder.MoveIntoFolder_Task([managed])

    planned.prepared().written().finish()

    with hands(lab) as session:
        assert session.vm(lab.vm(name)["moref"]).parent.name != f"elsewhere-{name}"


def test_a_plan_is_carried_out_once(lab, finished):
    done, _, name = finished
    before = look(lab, name)

    with pytest.raises(StaleError, match="finished"):
        restore.prepare_target(done.site, done.plan)

    assert look(lab, name) == before


def test_a_disk_of_a_finished_restore_is_not_written_again_though_its_vm_is_off(lab, finished):
    done, _, name = finished
    power(lab, name, on=False)
    before = look(lab, name)

    with pytest.raises(VmKeepError, match="finished"):
        restore.write_jobs(done.site, done.plan, done.target)
    with pytest.raises(VmKeepError, match="finished"):
        write(done.site, done.jobs[0])

    assert look(lab, name) == before
    power(lab, name, on=True)


def test_finishing_twice_touches_nothing_and_tells_the_same(lab, finished):
    done, answer, name = finished
    power(lab, name, on=False)
    before = look(lab, name)

    assert done.finish() == answer
    assert look(lab, name) == before, "the VM that somebody switched off since stays off"
    power(lab, name, on=True)


def test_cleaning_up_after_a_finished_restore_touches_nothing(lab, kept):
    site, point = kept
    name = f"new-{uuid.uuid4().hex[:6]}"
    done = Restoring.new(site, point, name, power_on=False).prepared().written()
    done.finish()
    before = look(lab, name)

    assert done.clean_up() == 0
    assert look(lab, name) == before


def test_a_restore_that_was_cleaned_up_is_neither_written_nor_finished(lab, fresh):
    site, point, name = fresh
    given_up = Restoring.over(site, point, vm_selector=name).prepared().written()
    given_up.clean_up()
    before = look(lab, name)

    with pytest.raises(VmKeepError, match="cleaned up"):
        given_up.finish()
    with pytest.raises(VmKeepError, match="cleaned up"):
        given_up.written()
    with pytest.raises(VmKeepError, match="cleaned up"):
        given_up.prepared()

    assert look(lab, name) == before


def test_a_restore_that_is_still_open_can_be_made_ready_again_without_touching_the_vm(lab, fresh):
    site, point, name = fresh
    ready = Restoring.over(site, point, vm_selector=name).prepared()
    before = look(lab, name)

    assert restore.prepare_target(site, ready.plan, run="a-second-try") == ready.target
    assert look(lab, name) == before
    ready.written().finish()


def test_a_second_restore_over_the_same_vm_at_the_same_time_is_refused(lab, fresh):
    site, point, name = fresh
    both = [Restoring.over(site, point, vm_selector=name) for _ in range(2)]
    both[0].prepared()
    before = look(lab, name)

    with pytest.raises(ConflictError, match=both[0].request.run):
        both[1].prepared()
    with pytest.raises(ConflictError, match=both[0].request.run):
        Restoring.over(site, point, vm_selector=name)

    assert look(lab, name) == before
    both[0].written().finish()


def test_a_vm_switched_on_in_mid_restore_is_neither_written_nor_finished(lab, fresh):
    site, point, name = fresh
    ready = Restoring.over(site, point, vm_selector=name).prepared().written()
    power(lab, name, on=True)
    before = look(lab, name)

    with pytest.raises(StaleError, match="switched on"):
        ready.written()
    with pytest.raises(StaleError, match="switched on"):
        ready.finish()

    assert look(lab, name) == before


def test_a_restore_does_not_finish_with_the_writes_of_another_try(lab, fresh):
    site, point, name = fresh
    old = Restoring.over(site, point, vm_selector=name).prepared().written()
    old.clean_up()
    ready = Restoring.over(site, point, vm_selector=name).prepared()
    ready.writes = old.writes
    before = look(lab, name)

    with pytest.raises(VmKeepError, match="disk"):
        ready.finish()

    assert look(lab, name) == before


@pytest.mark.parametrize("asked", [("hotadd", "nbdssl"), ("san", "nbd", "hotadd")])
def test_a_new_vm_is_written_by_the_first_mode_that_can_and_the_plan_names_all_in_order(lab, kept, asked):
    site, point = kept
    name = f"own-{uuid.uuid4().hex[:6]}"
    lab.settings(transports="san:hotadd:nbdssl:nbd")
    try:
        restoring = Restoring.new(site, point, name, transports=asked)
        (left,) = {"nbdssl", "nbd"} & set(asked)
        assert any(f"by the first of {', '.join(asked)} that can" in line for line in plan_lines(restoring.plan))
        assert {done.transport for done in restoring.prepared().written().writes} == {left}
        restoring.finish()
    finally:
        lab.settings(transports="")
    assert lab.hash(name, 2000) == lab.hash(VM, 2000)
