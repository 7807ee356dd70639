"""The difference between a saved machine and the one that this machine can run."""

import json
import os
from pathlib import Path

import pytest

from tests.unit.qemu.test_controllers import a_disk
from vmkeep.errors import UsageError
from vmkeep.model.portable import Firmware, PortableCard, PortableMachine
from vmkeep.qemu import Accelerator, Drive, MachineRequest, fit_machine, parse_display
from vmkeep.qemu.commandline import qemu_arguments


def a_machine(**changes):
    fields = {"name": "web01", "cpus": 1, "memory_mib": 128, "disks": (a_disk(), a_disk(unit=1, key=2001))}
    return PortableMachine(**(fields | changes))


def arguments(tmp_path, **changes):
    network = changes.pop("network", False)
    machine = a_machine(**changes)
    fitted = fit_machine(MachineRequest(machine=machine, network=network))
    drives = {d.key: Drive(disk=d, socket=tmp_path / "nbd,sock", export=f"disk{d.key}") for d in machine.disks}
    return qemu_arguments(fitted, drives, accelerator=Accelerator.TCG, folder=tmp_path, control=7, serial=8)


def test_a_machine_larger_than_this_one_is_made_smaller_and_this_is_told():
    fitted = fit_machine(MachineRequest(machine=a_machine(cpus=4096, memory_mib=1 << 30)))
    assert fitted.cpus == len(os.sched_getaffinity(0))
    assert fitted.memory_mib < 1 << 30
    assert len(fitted.notes) == 2


@pytest.mark.parametrize("asked", [{"memory_mib": 1 << 30}, {"memory_mib": 1}, {"cpus": 0}, {"cpus": 4096}])
def test_a_number_that_this_machine_does_not_have_is_refused(asked):
    with pytest.raises(UsageError, match="possible here"):
        fit_machine(MachineRequest(machine=a_machine(), **asked))


def test_the_boot_disk_is_tried_first():
    fitted = fit_machine(MachineRequest(machine=a_machine(boot_disk=2001)))
    assert [placed.disk.key for placed in fitted.placed] == [2001, 2000]


def test_a_machine_has_no_network_unless_asked(tmp_path):
    card = PortableCard(label="Network adapter 1", model="vmxnet3", mac="00:50:56:aa:bb:cc", network="LAN")
    assert "user,id=net0" not in arguments(tmp_path, cards=(card,))
    assert "vmxnet3,netdev=net0,mac=00:50:56:aa:bb:cc" in arguments(tmp_path, cards=(card,), network=True)


def test_a_name_adds_no_option_of_its_own(tmp_path):
    given = arguments(tmp_path, name="a,debug-threads=on\nb")
    assert given[given.index("-name") + 1] == "guest=a,,debug-threads=on_b"


def test_a_socket_of_any_name_is_passed_whole(tmp_path):
    given = arguments(tmp_path)
    described = json.loads(given[given.index("-blockdev") + 1])
    assert described["server"]["path"] == str(tmp_path / "nbd,sock")


def test_efi_variables_are_a_copy_of_the_machine_s_own(tmp_path):
    given = arguments(tmp_path, firmware=Firmware.EFI)
    own = next(each for each in given if each.startswith("if=pflash") and "readonly=off" in each)
    assert Path(own.split("file=")[1]).parent == tmp_path


@pytest.mark.parametrize("text", ["", "sdl", "vnc:0.0.0.0:1", "vnc:100", "vnc:-1"])
def test_a_display_that_other_machines_could_reach_is_refused(text):
    with pytest.raises(UsageError, match="SSH tunnel"):
        parse_display(text)
