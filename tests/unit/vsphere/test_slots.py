"""A new disk gets a free unit on a controller that fits it, the named one if one was named, or a new controller."""

from __future__ import annotations

import pytest

from vmkeep.errors import ConflictError, UnsupportedError, UsageError
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.vsphere.api import type_name, vim
from vmkeep.vsphere.slots import SlotRequest, choose_slots, new_controllers

DEVICE = vim.vm.device


def saved(kind=ControllerKind.SCSI, made="VirtualLsiLogicController", key=2000):
    return Disk(
        key=key, label=f"Hard disk {key - 1999}", controller=kind, controller_type=made, bus=0, unit=0,
        capacity=1 << 30, backing="FlatVer2", file_name="",
    )  # fmt: skip


def scsi(bus=0, kind=DEVICE.ParaVirtualSCSIController, **more):
    return kind(key=1000 + bus, busNumber=bus, sharedBus=more.pop("shared", "noSharing"), scsiCtlrUnitNumber=7, **more)


def sata(bus=0):
    return DEVICE.VirtualAHCIController(key=15000 + bus, busNumber=bus)


def nvme(bus=0):
    return DEVICE.VirtualNVMEController(key=31000 + bus, busNumber=bus)


IDE = DEVICE.VirtualIDEController(key=200, busNumber=0)


def disks_on(controller, *units):
    label = vim.Description(label="Hard disk 7", summary="")
    return [
        DEVICE.VirtualDisk(key=5000, controllerKey=controller.key, unitNumber=unit, deviceInfo=label) for unit in units
    ]


def full(controller, units):
    return [controller, *disks_on(controller, *(unit for unit in range(units) if unit != 7 or units == 30))]


def addresses(devices, *requests, running=False, hardware="vmx-13"):
    wanted = [SlotRequest(disk=saved(key=2000 + at), address=address) for at, address in enumerate(requests)]
    return [slot.address for slot in choose_slots(devices, wanted, running=running, hardware=hardware)]


def test_disks_go_behind_those_of_the_vm_and_never_to_the_unit_of_the_controller_itself():
    """Because a BIOS that boots by address would start the VM from a disk before its own."""
    assert addresses([scsi(), *disks_on(scsi(), 1)], None, None) == ["scsi0:2", "scsi0:3"]
    assert addresses([scsi(), *disks_on(scsi(), 0, 1, 3, 4, 5, 6)], None, None) == ["scsi0:8", "scsi0:9"]


def test_a_gap_is_taken_if_no_unit_is_free_behind_the_disks_of_the_vm():
    there = [scsi(), *disks_on(scsi(), *(unit for unit in range(16) if unit not in (2, 7)))]

    assert addresses(there, None) == ["scsi0:2"]
    assert addresses([*there, scsi(1)], None) == ["scsi1:0"]


def test_a_named_address_is_kept_free_from_disks_without_one():
    assert addresses([scsi()], None, "scsi0:0", None) == ["scsi0:1", "scsi0:0", "scsi0:2"]


def test_the_next_controller_takes_disks_when_one_is_full():
    assert addresses([*full(scsi(), 16), scsi(1)], None) == ["scsi1:0"]


def test_a_controller_of_the_type_that_the_vm_uses_is_added_when_all_are_full():
    (slot,) = choose_slots(full(scsi(), 16), [SlotRequest(disk=saved())], running=True, hardware="vmx-13")

    assert (slot.address, slot.new_controller) == ("scsi1:0", "ParaVirtualSCSIController")
    (controller,) = new_controllers([slot, slot]).values()
    assert (type_name(controller), controller.busNumber) == ("ParaVirtualSCSIController", 1)
    assert (controller.sharedBus, controller.key < 0) == ("noSharing", True)


def test_a_vm_without_a_scsi_controller_gets_one_of_the_saved_disks_type():
    (slot,) = choose_slots([IDE], [SlotRequest(disk=saved())], running=True, hardware="vmx-13")

    assert (slot.address, slot.new_controller) == ("scsi0:0", "VirtualLsiLogicController")


def test_a_disk_that_was_on_sata_or_nvme_is_there_again_unless_the_vm_runs():
    request = [SlotRequest(disk=saved(ControllerKind.NVME, "VirtualNVMEController"))]
    devices = [scsi(), sata(), nvme(1)]

    assert choose_slots(devices, request, running=False, hardware="vmx-13")[0].address == "nvme1:0"
    assert choose_slots(devices, request, running=True, hardware="vmx-13")[0].address == "scsi0:0"


def test_a_paravirtual_controller_has_64_units_on_new_hardware():
    assert addresses(full(scsi(), 16), None, hardware="vmx-14") == ["scsi0:16"]
    assert addresses([scsi()], "scsi0:63", hardware="vmx-21") == ["scsi0:63"]


def test_a_bus_that_other_vms_share_gets_no_disk():
    assert addresses([scsi(shared="physicalSharing")], None) == ["scsi1:0"]


def test_a_full_vm_is_refused_with_a_way_out():
    devices = [each for bus in range(4) for each in full(scsi(bus), 16)]

    with pytest.raises(ConflictError, match=r"no unit is free for Hard disk 1.*running VM.*shut it down"):
        addresses(devices, None, running=True)
    assert addresses(devices, None) == ["sata0:0"]


@pytest.mark.parametrize(
    ("address", "running", "error", "told"),
    [
        ("scsi0:0", False, ConflictError, "scsi0:0 is taken by Hard disk 7; free there: 1 to 6, 8 to 15$"),
        ("scsi0:7", False, ConflictError, "taken by the controller itself"),
        ("scsi1:7", False, ConflictError, "taken by the controller itself"),
        ("scsi0:16", False, UsageError, "end at 15"),
        ("sata0:30", False, UsageError, "end at 29"),
        ("scsi4:0", False, UsageError, "0 to 3"),
        ("ide0:1", False, UnsupportedError, "IDE"),
        ("sata0:0", True, UnsupportedError, "running VM takes new disks on SCSI controllers only"),
        ("nvme0:0", True, UnsupportedError, "running VM"),
        ("scsi2:0", False, UnsupportedError, "share the bus"),
        ("scsi3:1", True, UnsupportedError, "takes no disk while the VM runs"),
        ("0:1", False, UsageError, "is no address"),
        ("scsi0", False, UsageError, "is no address"),
        ("SCSI0:1 ", False, UsageError, "is no address"),
        ("", False, UsageError, "is no address"),
    ],
)
def test_an_address_that_cannot_be_is_refused(address, running, error, told):
    devices = [scsi(), *disks_on(scsi(), 0), scsi(2, shared="virtualSharing"), scsi(3, hotAddRemove=False)]

    with pytest.raises(error, match=told):
        addresses(devices, address, running=running)


def test_two_disks_never_get_one_address():
    with pytest.raises(ConflictError, match="scsi0:1 is taken by Hard disk 1"):
        addresses([scsi()], "scsi0:1", "scsi0:1")
