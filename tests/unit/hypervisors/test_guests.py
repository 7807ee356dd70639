"""Every guest that vSphere knows is treated as what it is, and what a machine loses is told."""

from __future__ import annotations

import pytest

from tests.unit.hypervisors.conftest import disk, files_of, machine
from vmkeep.hypervisors import Wishes, advice, left_behind, notes_text, usual_drivers
from vmkeep.hypervisors.guests import Family, cim_number, guest_of
from vmkeep.model.portable import Drivers, LeftOut
from vmkeep.vsphere.api import vim

KNOWN = list(vim.vm.GuestOsDescriptor.GuestOsIdentifier.values)


@pytest.mark.parametrize("family", [Family.WINDOWS, Family.OLD_WINDOWS])
def test_every_windows_of_vsphere_is_one(family):
    found = {id_ for id_ in KNOWN if guest_of(machine(guest_id=id_)).family is family}

    assert found
    assert all(id_.startswith(("win", "dos")) for id_ in found)
    assert all(guest_of(machine(guest_id=id_)).is_windows for id_ in KNOWN if id_.startswith("win"))


def test_only_guests_that_surely_have_virtio_get_it_unasked():
    unasked = {id_ for id_ in KNOWN if usual_drivers(machine(guest_id=id_)) is Drivers.VIRTIO}

    assert {"debian12_64Guest", "ubuntu64Guest", "freebsd14_64Guest"} <= unasked
    assert all(id_.startswith(("debian", "ubuntu", "freebsd")) for id_ in unasked)


def test_every_guest_has_a_number_of_cim():
    assert all(1 <= cim_number(guest_of(machine(guest_id=id_))) <= 118 for id_ in KNOWN)


def test_the_notes_name_each_lost_part_and_each_disk_that_was_not_exported():
    described = machine(
        disks=(disk(0), disk(1)),
        guest_id="windows2019srv_64Guest",
        left_out=(LeftOut(part="vTPM", why="secrets stay"),),
    )
    files = files_of(described)[:1]

    assert [left.part for left in left_behind(described, files)] == ["vTPM", "Hard disk 2 (scsi0:1)"]
    text = notes_text(described, files, advice(described, Wishes()))
    assert "vTPM: secrets stay." in text
    assert "BitLocker" in text
    assert "VMware Tools" in text
