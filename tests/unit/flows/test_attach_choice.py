"""A request for new disks names saved disks that the backup holds, and addresses for some of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.flows.test_matching import RDM, A, B, point
from tests.unit.flows.test_modes import OFF, SUSPENDED, VM
from vmkeep.errors import ConflictError, NotFoundError, UnsupportedError, UsageError
from vmkeep.flows.attach_choice import chosen_disks, require_taker, wanted_slots
from vmkeep.flows.attach_values import AttachRequest
from vmkeep.flows.attach_warnings import about_the_boot_disk, about_twins
from vmkeep.model.disk import ControllerKind
from vmkeep.vsphere.slots import Slot


def request(*disks, **more):
    return AttachRequest(point="1", run="r", disks=disks, vm_selector="a", **more)


def test_disks_are_named_by_address_label_or_key_and_each_counts_once():
    named = request("scsi0:1", "Hard disk 1", "2001", "scsi0:0,scsi0:1")

    assert chosen_disks(point(A, B), named) == (B, A)


def test_a_physical_rdm_cannot_be_attached_as_one_and_says_what_can_be_done():
    with pytest.raises(UnsupportedError, match=r"physical-mode RDM.*cannot be attached as one.*--read-lun"):
        chosen_disks(point(A, skipped=(RDM,)), request("scsi0:2"))


def test_a_disk_that_is_not_in_the_backup_is_refused_with_those_that_are():
    with pytest.raises(
        NotFoundError, match=r"no disk 'scsi0:9'; the restore point has scsi0:0 \(Hard disk 1, 1.0 GiB\)"
    ):
        chosen_disks(point(A), request("scsi0:9"))


@pytest.mark.parametrize(
    ("at", "addresses"),
    [
        ((), [None, None]),
        (("Hard disk 2=scsi1:0",), [None, "scsi1:0"]),
        (("2000=scsi1:1", "scsi0:1=scsi1:0"), ["scsi1:1", "scsi1:0"]),
    ],
)
def test_addresses_belong_to_the_disks_that_they_name(at, addresses):
    assert [slot.address for slot in wanted_slots((A, B), request("2000", "2001", at=at))] == addresses


def test_the_address_of_a_single_disk_needs_no_name_before_it():
    assert wanted_slots((A,), request("2000", at=("scsi3:2",)))[0].address == "scsi3:2"


@pytest.mark.parametrize(
    ("at", "error", "told"),
    [
        (("scsi1:0",), UsageError, "has no '=': say DISK=ADDRESS"),
        (("scsi0:9=scsi1:0",), NotFoundError, "scsi0:9"),
        (("2000=scsi1:0", "scsi0:0=scsi1:1"), UsageError, "to scsi1:0 and to scsi1:1"),
    ],
)
def test_addresses_that_do_not_fit_the_disks_are_refused(at, error, told):
    with pytest.raises(error, match=told):
        wanted_slots((A, B), request("2000", "2001", at=at))


@pytest.mark.parametrize(
    ("more", "told"),
    [({"disks": ()}, "no disk is named"), ({"disks": ("",)}, "no disk is named"), ({"datastore": ""}, "datastore")],
)
def test_a_request_with_an_empty_name_is_refused(more, told):
    with pytest.raises(UsageError, match=told):
        AttachRequest(**{"point": "1", "run": "r", "disks": ("a",), "vm_selector": "a"} | more)


@pytest.mark.parametrize(
    ("vm", "error", "told"),
    [
        (replace(OFF, template=True), UnsupportedError, "is a template"),
        (SUSPENDED, ConflictError, "is suspended"),
        (replace(VM, hot_plug=False), ConflictError, "devices.hotplug.*shut it down"),
        (replace(VM, fault_tolerant=True), UnsupportedError, "is fault tolerant"),
        (replace(VM, not_protectable="it is orphaned"), UnsupportedError, "cannot change it: it is orphaned"),
    ],
)
def test_a_vm_that_takes_no_disk_is_refused_at_once(vm, error, told):
    require_taker(VM)
    require_taker(OFF)

    with pytest.raises(error, match=told):
        require_taker(vm)


def slot(kind, bus, unit):
    return Slot(kind=kind, bus=bus, unit=unit)


def test_a_disk_before_the_first_disk_of_the_vm_is_warned_of_because_the_vm_may_boot_from_it():
    boots = replace(A, unit=1)
    scsi, nvme = ControllerKind.SCSI, ControllerKind.NVME

    (told,) = about_the_boot_disk([boots], [slot(scsi, 0, 0), slot(scsi, 0, 2)])

    assert told.startswith("scsi0:0 comes before the disks of the VM")
    assert list(about_the_boot_disk([boots], [slot(nvme, 0, 0)])) != [], (
        "nobody knows which of them a BIOS looks at first"
    )
    assert list(about_the_boot_disk([], [slot(scsi, 0, 0)])) == []


def test_a_twin_is_warned_of_on_the_vm_itself_and_on_any_vm_with_a_disk_of_that_size():
    saved = replace(point(A), vm=replace(VM.identity, instance_uuid="one"))
    other = replace(OFF, identity=replace(OFF.identity, instance_uuid="another"), disks=(B,))

    assert list(about_twins(saved, [A], other)) == []
    (maybe,) = about_twins(saved, [A], replace(other, disks=(replace(B, capacity=A.capacity),)))
    assert "Hard disk 2 (scsi0:1) is as large as Hard disk 1: if it is a copy" in maybe
    (surely,) = about_twins(saved, [A], replace(other, identity=saved.vm))
    assert "beside its original, with the same ids of partitions" in surely
