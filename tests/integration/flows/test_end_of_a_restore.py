"""The end of a restore: once its disks are written, nothing that fails costs the VM, and nothing goes by in silence."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.flows.restoring import (
    Restoring,
    back_up,
    hands,
    names,
    new_run,
    power,
    reconfigure,
    silent,
)
from tests.patience import HANG
from vmkeep.errors import TransientError, VmKeepError, VSphereError
from vmkeep.flows import nvram
from vmkeep.flows.complete_runs import run_restore
from vmkeep.flows.restore_request import OnConflict, make_request
from vmkeep.vsphere import inventory, machines, tasks, vmfiles
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import run_task

VM = "web01"


@pytest.fixture
def name(lab):
    made = f"new-{uuid.uuid4().hex[:6]}"
    yield made
    lab.clear()
    destroy(lab, made)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """No test waits long for a server that is to fail."""
    monkeypatch.setattr(nvram, "PUT_SECONDS", 0.0)
    monkeypatch.setattr(tasks, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def off(lab):
    """The VM is off, and on again after the test."""
    power(lab, VM, on=False)
    yield
    lab.clear()
    if lab.vm(VM)["power"] != "poweredOn":
        power(lab, VM, on=True)


def destroy(lab, vm: str) -> None:
    if vm not in names(lab):
        return
    with hands(lab) as session:
        moref = inventory.find_vm(session, vm).moref
        machines.power_off(session, moref)
        run_task(session, session.vm(moref).Destroy_Task, what="test", timeout=HANG, look=lambda: None)


def restore_as_a_person(site, point, **options):
    """Restore as the command line does; return the result, or the error, and all that was announced."""
    lines: list[str] = []
    request = make_request(point=point, run=new_run(), **options)
    try:
        return run_restore(site, request, bars=silent, announce=lines.append), lines
    except VmKeepError as error:
        return error, lines


def set_nvram(lab, name: str, vm: str = VM) -> None:
    reconfigure(lab, vm, vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key="nvram", value=name)]))


@pytest.mark.parametrize("plan", [{"status": 500}, {"status": 403}, {"status": 404}, {"drop": True}])
def test_a_new_vm_whose_nvram_is_not_taken_stays_and_it_is_said(lab, kept, name, plan):
    site, point = kept
    lab.fault(method="folder.PUT", count=9, **plan)

    done, lines = restore_as_a_person(site, point, new_name=name, power_on=False)

    assert done.vm.name == name
    assert name in names(lab)
    assert [line for line in lines if "the NVRAM is not put back" in line] == [done.warnings[-1]]


def test_a_server_that_is_busy_for_a_moment_gets_the_nvram_again(lab, kept, name, monkeypatch):
    monkeypatch.setattr(nvram, "PUT_SECONDS", 60.0)
    monkeypatch.setattr(nvram, "PAUSE_SECONDS", 0.0)
    site, point = kept
    lab.fault(method="folder.PUT", status=503, count=2)

    done, _ = restore_as_a_person(site, point, new_name=name, power_on=False)

    assert not [line for line in done.warnings if "NVRAM" in line]


@pytest.mark.parametrize("setting", ["../db01/db01.nvram", "/vmfs/volumes/datastore1/a.nvram", "..", "sub/x.nvram"])
def test_no_nvram_is_read_or_written_outside_the_folder_of_its_vm(lab, site, kept, off, setting):
    _, point = kept
    set_nvram(lab, setting)
    try:
        with hands(lab) as session:
            moref = lab.vm(VM)["moref"]
            for action in (vmfiles.fetch_nvram, lambda *where: vmfiles.put_nvram(*where, b"MRVN")):
                with pytest.raises(VmKeepError, match="in the folder of the VM"):
                    action(session, moref)
        done, lines = restore_as_a_person(kept[0], point, on_conflict=OnConflict.OVERWRITE, power_on=False)
    finally:
        set_nvram(lab, "web01.nvram")

    assert done.disks_written == 1
    assert any("in the folder of the VM" in line for line in lines)


@pytest.mark.parametrize("identity", [True, False], ids=["new identity", "the same identity"])
def test_a_new_vm_stays_off_beside_an_original_switched_on_since_the_plan(lab, site, off, name, identity):
    point = back_up(site, VM).point
    begun = Restoring.new(site, point, name, power_on=True, keep_identity=not identity).prepared().written()
    power(lab, VM, on=True)

    done = begun.finish()

    assert (done.powered_on, lab.vm(name)["power"]) == (False, "poweredOff")
    assert any("is left off, because" in line for line in done.warnings)
    assert begun.finish() == done


def test_a_new_vm_that_is_to_be_connected_anyway_is_switched_on_beside_its_original(lab, site, off, name):
    point = back_up(site, VM).point
    begun = Restoring.new(site, point, name, power_on=True, connect_networks=True).prepared().written()
    power(lab, VM, on=True)

    assert begun.finish().powered_on


def test_where_only_the_start_fails_it_is_said_that_the_vm_is_restored(lab, kept, name, caplog):
    site, point = kept
    lab.fault(method="PowerOnVM_Task", fault="InsufficientResourcesFault")

    error, _ = restore_as_a_person(site, point, new_name=name, power_on=True)

    assert isinstance(error, VSphereError)
    assert f"VM {name} (" in caplog.text
    assert "is restored, with all its disks" in caplog.text
    assert "half-made" not in caplog.text
    assert name in names(lab)


def test_over_a_vm_whose_start_fails_nobody_is_told_that_it_is_half_written(lab, kept, caplog):
    site, point = kept
    lab.fault(method="PowerOnVM_Task", fault="InsufficientResourcesFault")

    error, _ = restore_as_a_person(site, point, on_conflict=OnConflict.OVERWRITE, power_on=True)

    assert isinstance(error, VSphereError)
    assert "is restored, with all its disks" in caplog.text
    assert "half written" not in caplog.text
    power(lab, VM, on=True)


def test_a_start_whose_reply_was_lost_is_a_start(lab, kept, name):
    site, point = kept
    lab.fault(method="PowerOnVM_Task", drop=True, after=True)

    done, _ = restore_as_a_person(site, point, new_name=name, power_on=True)

    assert done.powered_on
    assert lab.vm(name)["power"] == "poweredOn"


def test_a_template_whose_reply_was_lost_is_a_template(lab, site, name):
    point = back_up(site, "debian-template").point
    lab.fault(method="MarkAsTemplate", drop=True, after=True)

    done, _ = restore_as_a_person(site, point, new_name=name)

    assert done.vm.name == name
    with hands(lab) as session:
        managed = session.vm(done.vm.moref)
        assert managed.config.template
        managed.MarkAsVirtualMachine(managed.environmentBrowser and session.vm(lab.vm(VM)["moref"]).resourcePool)


def test_what_there_was_to_say_is_not_lost_where_the_last_step_is_tried_again(lab, kept, name, monkeypatch):
    monkeypatch.setattr(machines, "UNHEARD_SECONDS", 0.0)
    site, point = kept
    begun = Restoring.new(site, point, name, power_on=True).prepared().written()
    lab.fault(method="folder.PUT", status=404)
    lab.fault(method="PowerOnVM_Task", status=503)
    with pytest.raises(TransientError):
        begun.finish()

    done = begun.finish()

    assert done.powered_on
    assert any("the NVRAM is not put back" in line for line in done.warnings)


@pytest.mark.parametrize("method", ["CreateVM_Task", "ReconfigVM_Task"])
def test_a_restore_that_fails_before_it_began_calls_nothing_half_made(lab, kept, name, caplog, method):
    site, point = kept
    lab.fault(method=method, fault="InvalidState")
    where = {"new_name": name} if method == "CreateVM_Task" else {"on_conflict": OnConflict.OVERWRITE}

    error, _ = restore_as_a_person(site, point, **where)

    assert isinstance(error, VmKeepError)
    assert name not in names(lab)
    (told,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("stopping: ")]
    assert "if it was begun" in told or "if a disk" in told
    assert told.endswith("; interrupt to end at once")  # nobody has interrupted it yet
