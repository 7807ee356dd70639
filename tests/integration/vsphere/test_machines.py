"""Power, and waits that say what they wait for."""

from __future__ import annotations

import pytest

from tests.patience import HANG
from vmkeep.errors import DeadlineError, NotFoundError, VSphereError
from vmkeep.vsphere import inventory, machines
from vmkeep.vsphere.api import vim
from vmlab.managed.site import Injection


@pytest.fixture
def vm(session):
    moref = inventory.find_vm(session, "old01").moref
    yield moref
    machines.power_off(session, moref)


def test_switching_to_the_state_a_vm_is_in_is_success_and_no_change(session, vm, lab):
    assert not machines.power_off(session, vm)
    assert lab.site.faults.calls["PowerOffVM_Task"] == 0


def test_a_vm_that_somebody_else_switched_on_meanwhile_is_on(session, vm, lab):
    lab.site.faults.add(Injection(method="PowerOnVM_Task", fault="InvalidPowerState", after=True))

    assert machines.power_on(session, vm)
    assert machines.power_state(session, vm) == "poweredOn"


def test_a_start_that_was_not_answered_and_takes_a_while_is_a_start(session, vm, lab, monkeypatch):
    looks = []
    monkeypatch.setattr(machines, "UNHEARD_SECONDS", HANG)
    lab.site.faults.add(Injection(method="PowerOnVM_Task", status=503))
    look = machines.power_state

    def slow(session, moref):
        looks.append(look(session, moref))
        if len(looks) == 3:  # before the start, just after it, and a moment later
            session.vm(moref).PowerOnVM_Task(None)
        return looks[-1]

    monkeypatch.setattr(machines, "power_state", slow)
    assert machines.power_on(session, vm)
    assert set(looks[:3]) == {"poweredOff"}


def test_a_vm_that_is_off_cannot_be_suspended(session, vm):
    with pytest.raises(VSphereError, match=f"bring VM {vm} to suspended"):
        machines.suspend(session, vm)


def test_a_wait_that_ends_says_what_vsphere_asks(session, vm, lab):
    ref = vim.VirtualMachine(vm)
    world = lab.site.world
    answer = vim.ElementDescription(key="0", label="moved", summary="")
    choice = vim.option.ChoiceOption(choiceInfo=[answer], defaultIndex=0)
    question = vim.vm.QuestionInfo(id="1", text="Did you move\nor copy this VM?", choice=choice)
    runtime = world.get(ref, "runtime")
    runtime.question = question
    world.update(ref, runtime=runtime)
    lab.site.faults.add(Injection(method="PowerOnVM_Task", delay=HANG))

    with pytest.raises(DeadlineError, match=r"; vSphere asks: Did you move or copy this VM\?"):
        machines.power_on(session, vm, timeout=0.3)

    runtime.question = None
    world.update(ref, runtime=runtime)


def test_a_vm_that_does_not_exist_is_not_found(session):
    with pytest.raises(NotFoundError, match="vm-999999 does not exist"):
        machines.power_on(session, "vm-999999")
