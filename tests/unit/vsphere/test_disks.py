"""Which disks can be copied, and by what name the others are told."""

from __future__ import annotations

import pytest

from vmkeep.errors import UnsupportedError
from vmkeep.model.disk import ControllerKind, SkipReason
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.disks import disks_of

DEVICE = vim.vm.device


def controller(**more):
    return DEVICE.ParaVirtualSCSIController(key=1000, busNumber=1, sharedBus=more.get("sharedBus", "noSharing"))


def one(make_disk, backing, **more):
    (found,) = disks_of([make_disk(2000, 3, 1 << 30, backing), controller(**more)])
    return found


def test_an_ordinary_disk_is_copied(make_disk, make_flat):
    disk = one(make_disk, make_flat("a"))

    assert disk.skip is None
    assert (disk.address, disk.controller, disk.controller_type) == (
        "scsi1:3",
        ControllerKind.SCSI,
        "ParaVirtualSCSIController",
    )
    assert (disk.label, disk.capacity, disk.backing) == ("Hard disk 1", 1 << 30, "FlatVer2")


@pytest.mark.parametrize("provider", ["kms", None])
@pytest.mark.parametrize("in_snapshot", [False, True])
def test_an_encrypted_disk_is_recorded_with_its_key(make_disk, make_flat, provider, in_snapshot):
    kinds = vim.encryption
    key = kinds.CryptoKeyId(keyId="key-1", providerId=kinds.KeyProviderId(id=provider) if provider else None)
    backing = make_flat("a")
    (backing.parent if in_snapshot else backing).keyId = key
    disk = one(make_disk, backing)

    assert (disk.key_id, disk.key_provider, disk.skip) == ("key-1", provider, None)
    assert "key-1" in disk.encryption
    assert one(make_disk, make_flat("b")).encryption == ""


def test_a_physical_rdm_is_skipped_and_keeps_its_names(make_disk, rdm_backing):
    disk = one(make_disk, rdm_backing)

    assert disk.skip is SkipReason.PHYSICAL_RDM
    assert (disk.backing, disk.compatibility_mode) == ("RawDiskMappingVer1", "physicalMode")
    assert (disk.lun_uuid, disk.device_name) == ("0200", "vml.0200")


def test_a_virtual_rdm_is_copied(make_disk, rdm_backing):
    rdm_backing.compatibilityMode, rdm_backing.diskMode = "virtualMode", "persistent"

    assert one(make_disk, rdm_backing).skip is None


@pytest.mark.parametrize("mode", ["independent_persistent", "independent_nonpersistent"])
def test_independent_disks_are_skipped(make_disk, make_flat, mode):
    assert one(make_disk, make_flat("a", diskMode=mode)).skip is SkipReason.INDEPENDENT


def test_multi_writer_disks_and_disks_on_a_shared_bus_are_skipped(make_disk, make_flat):
    assert one(make_disk, make_flat("a", sharing="sharingMultiWriter")).skip is SkipReason.SHARED
    assert one(make_disk, make_flat("a"), sharedBus="virtualSharing").skip is SkipReason.SHARED


def test_a_backing_that_vddk_cannot_read_is_skipped(make_disk):
    backing = DEVICE.VirtualDisk.LocalPMemBackingInfo(fileName="[pmem] a", diskMode="persistent")

    assert one(make_disk, backing).skip is SkipReason.UNSUPPORTED_BACKING


VMDK = DEVICE.VirtualDisk
KINDS = {
    "flat": (VMDK.FlatVer2BackingInfo, {}, "FlatVer2", None),
    "thin": (VMDK.FlatVer2BackingInfo, {"thinProvisioned": True}, "FlatVer2", None),
    "eager zeroed": (VMDK.FlatVer2BackingInfo, {"eagerlyScrub": True}, "FlatVer2", None),
    "sparse": (VMDK.SparseVer2BackingInfo, {}, "SparseVer2", None),
    "SE-sparse": (VMDK.SeSparseBackingInfo, {}, "SeSparse", None),
    "encrypted": (VMDK.FlatVer2BackingInfo, {"keyId": vim.encryption.CryptoKeyId(keyId="k")}, "FlatVer2", None),
    "virtual RDM": (
        VMDK.RawDiskMappingVer1BackingInfo, {"compatibilityMode": "virtualMode"}, "RawDiskMappingVer1", None,
    ),
    "physical RDM": (
        VMDK.RawDiskMappingVer1BackingInfo, {"compatibilityMode": "physicalMode"}, "RawDiskMappingVer1", "physical-rdm",
    ),
    "independent physical RDM": (
        VMDK.RawDiskMappingVer1BackingInfo,
        {"compatibilityMode": "physicalMode", "diskMode": "independent_persistent"},
        "RawDiskMappingVer1", "physical-rdm",
    ),
    "independent persistent": (
        VMDK.FlatVer2BackingInfo, {"diskMode": "independent_persistent"}, "FlatVer2", "independent",
    ),
    "independent nonpersistent": (
        VMDK.FlatVer2BackingInfo, {"diskMode": "independent_nonpersistent"}, "FlatVer2", "independent",
    ),
    "independent virtual RDM": (
        VMDK.RawDiskMappingVer1BackingInfo,
        {"compatibilityMode": "virtualMode", "diskMode": "independent_persistent"},
        "RawDiskMappingVer1", "independent",
    ),
    "multi-writer": (VMDK.FlatVer2BackingInfo, {"sharing": "sharingMultiWriter"}, "FlatVer2", "shared"),
    "persistent memory": (VMDK.LocalPMemBackingInfo, {}, "LocalPMem", "unsupported-backing"),
    "raw disk of a hosted VM": (VMDK.RawDiskVer2BackingInfo, {}, "RawDiskVer2", "unsupported-backing"),
    "partitioned raw disk": (
        VMDK.PartitionedRawDiskVer2BackingInfo, {}, "PartitionedRawDiskVer2", "unsupported-backing",
    ),
    "flat of an old ESX": (VMDK.FlatVer1BackingInfo, {}, "FlatVer1", "unsupported-backing"),
    "sparse of an old ESX": (VMDK.SparseVer1BackingInfo, {}, "SparseVer1", "unsupported-backing"),
}  # fmt: skip


@pytest.mark.parametrize(("backing", "fields", "name", "skip"), KINDS.values(), ids=KINDS.keys())
def test_every_mode_and_backing_is_copied_or_skipped_with_its_reason(make_disk, backing, fields, name, skip):
    made = backing()
    for field, value in fields.items():
        setattr(made, field, value)

    disk = one(make_disk, made)

    assert (disk.backing, disk.skip) == (name, skip)
    assert disk.compatibility_mode == fields.get("compatibilityMode")
    assert disk.disk_mode == fields.get("diskMode", "persistent")
    assert bool(disk.why_skipped) is (skip is not None)


@pytest.mark.parametrize("bus", ["virtualSharing", "physicalSharing"])
def test_a_disk_on_a_shared_bus_is_skipped_with_its_reason(make_disk, make_flat, bus):
    assert one(make_disk, make_flat("a"), sharedBus=bus).why_skipped.startswith("shared (multi-writer or shared bus)")


def test_disks_come_in_order_of_their_keys(make_disk, make_flat):
    disks = disks_of([make_disk(2001, 1, 1024, make_flat("b")), make_disk(2000, 0, 512, make_flat("a")), controller()])

    assert [disk.key for disk in disks] == [2000, 2001]


def test_a_disk_without_a_known_controller_is_refused(make_disk, make_flat):
    with pytest.raises(UnsupportedError, match="Hard disk 1"):
        disks_of([make_disk(2000, 0, 512, make_flat("a"), controller=77)])
