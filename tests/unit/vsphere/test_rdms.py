"""The name of an RDM's LUN: by its UUID, or by a device name that is a canonical name, and never by a guess."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.vsphere.rdms import choose_names
from vmkeep.vsphere.reach import place_of


def rdm(**backing) -> Disk:
    return Disk(
        key=2000, label="Hard disk 1", controller=ControllerKind.SCSI, controller_type="LsiLogic", bus=0, unit=0,
        capacity=512, backing="RawDiskMappingVer1", compatibility_mode="physicalMode", disk_mode="persistent",
        file_name="[ds] a/a.vmdk", **backing,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("backing", "name"),
    [
        ({"lun_uuid": "0200", "device_name": "vml.0200"}, "naa.600a"),
        ({"lun_uuid": "0200", "device_name": "naa.of-old"}, "naa.600a"),
        ({"lun_uuid": "0300", "device_name": "naa.600b"}, "naa.600b"),
        ({"lun_uuid": "0300", "device_name": "/vmfs/devices/disks/naa.600b"}, "naa.600b"),
        ({"lun_uuid": "0300", "device_name": "vml.0300"}, None),
        ({"lun_uuid": None, "device_name": None}, None),
    ],
)
def test_a_lun_is_named_by_its_uuid_first_and_not_at_all_rather_than_wrongly(backing, name):
    assert choose_names([rdm(**backing)], {"0200": "naa.600a"}).get(2000) == name


def test_a_datastore_is_told_by_the_names_that_its_array_knows():
    extent = vim.host.ScsiDisk.Partition(diskName="naa.600a", partition=1)
    vmfs = vim.host.VmfsDatastoreInfo(vmfs=vim.host.VmfsVolume(extent=[extent]))
    one = vim.host.NasDatastoreInfo(nas=vim.host.NasVolume(remoteHost="nas1", remotePath="/vms"))
    both = vim.host.NasVolume(remoteHost="nas1", remoteHostNames=["nas1", "nas2"], remotePath="/vms")

    assert place_of(vmfs) == (("naa.600a",), "")
    assert place_of(one) == ((), "nas1:/vms")
    assert place_of(vim.host.NasDatastoreInfo(nas=both)) == ((), "nas1,nas2:/vms")
    assert place_of(vim.host.VmfsDatastoreInfo()) == place_of(None) == ((), "")
