"""The carrier's new disks are like the saved ones, and are written as ordinary disks of a VM of its own."""

from __future__ import annotations

import pytest

from tests.unit.vsphere.conftest import DEVICE, disk, flat, physical_rdm
from vmkeep.vsphere.api import serialize, vim
from vmkeep.vsphere.carriers import CarriedDisk, CarrierPlan, carrier_spec
from vmkeep.vsphere.claims import VmClaim

VERSION = "vim.version.v9_0_0_0"
MARK = VmClaim(run="a/run", made=True)


def spec_of(sample, *disks):
    sample.hardware.device = [*sample.hardware.device, *disks]
    plan = CarrierPlan(
        name="app01-vmkeep-1", place=None, home="ds 1",
        disks=tuple(
            CarriedDisk(
                key=one.key, capacity=one.capacityInBytes, thin=True, file_name=f"[ds 1] app01/new-{one.key}.vmdk",
                mode="independent_persistent",
            )
            for one in disks
        ),
    )  # fmt: skip
    return carrier_spec(serialize(sample, VERSION), plan, MARK)


def made(spec):
    return [change.device for change in spec.deviceChange if isinstance(change.device, DEVICE.VirtualDisk)]


def test_a_carrier_is_a_vm_that_a_clean_up_of_its_run_removes(sample):
    spec = spec_of(sample, disk(2100, 0, 1 << 30, flat("a")))

    assert VmClaim(run="a/run", made=True).settings.items() <= {(one.key, one.value) for one in spec.extraConfig}
    assert (spec.name, spec.files.vmPathName, spec.changeTrackingEnabled) == ("app01-vmkeep-1", "[ds 1]", False)
    assert not [one for one in spec.deviceChange if isinstance(one.device, DEVICE.VirtualEthernetCard)]


@pytest.mark.parametrize(
    ("backing", "thin", "scrub"),
    [
        (DEVICE.VirtualDisk.FlatVer2BackingInfo(thinProvisioned=True), True, None),
        (DEVICE.VirtualDisk.FlatVer2BackingInfo(thinProvisioned=False), False, None),
        (DEVICE.VirtualDisk.FlatVer2BackingInfo(thinProvisioned=False, eagerlyScrub=True), False, True),
    ],
)
def test_format_sectors_and_size_are_as_saved_and_vddk_can_write_the_disk(sample, backing, thin, scrub):
    backing.diskMode = "independent_nonpersistent"
    old = disk(2100, 0, (1 << 30) + 512 * 3, backing)
    old.virtualDiskFormat = "native_4k"

    (new,) = made(spec_of(sample, old))

    assert (new.backing.thinProvisioned, new.backing.eagerlyScrub) == (thin, scrub)
    assert (new.virtualDiskFormat, new.capacityInBytes) == ("native_4k", old.capacityInBytes)
    assert (new.backing.diskMode, new.backing.fileName) == ("persistent", "[ds 1] app01/new-2100.vmdk")
    assert (new.backing.uuid, new.backing.parent, new.backing.changeId) == (None, None, None)


def test_a_physical_rdm_whose_content_was_read_becomes_an_ordinary_disk(sample):
    rdm = disk(2100, 0, 3 << 30, physical_rdm())

    (new,) = made(spec_of(sample, rdm))

    assert isinstance(new.backing, DEVICE.VirtualDisk.FlatVer2BackingInfo)
    assert new.capacityInBytes == rdm.capacityInBytes


def test_sixty_disks_find_room_and_none_sits_on_the_unit_of_its_controller(sample):
    spec = spec_of(sample, *(disk(3000 + at, 0, 1 << 20, flat(str(at))) for at in range(60)))

    places = {(one.controllerKey, one.unitNumber) for one in made(spec)}
    controllers = [c.device for c in spec.deviceChange if isinstance(c.device, vim.vm.device.VirtualSCSIController)]
    assert (len(places), len(controllers)) == (60, 4)
    assert 7 not in {unit for _, unit in places}
    assert {key for key, _ in places} == {one.key for one in controllers}
