"""Which transport modes can read a disk, and the reason against each of the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmkeep.errors import UnsupportedError
from vmkeep.flows.transports import Surroundings, judge, settle, warnings_of
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.transport import TransportMode, why_another
from vmkeep.model.vmref import VmRef
from vmkeep.proxy import ProxyMachine, has_lun
from vmkeep.vsphere.reach import ProxyVm, Reach, Store

SAN, HOTADD, NBDSSL, NBD = TransportMode
VM = VmRef(moref="vm-1", name="web01")
LUN = "naa.600508b1001c3a5f0000000000000001"
VMFS = Store(name="ds1", moref="datastore-1", kind="VMFS", luns=(LUN,))
PROXY = ProxyVm(
    moref="vm-9", name="proxy1", datacenter="datacenter-1", encrypted=False, free_slots=3,
    mounted=frozenset({"datastore-1"}), on_vsan=False,
)  # fmt: skip
MACHINE = ProxyMachine(uuids=("42011a2b",), disks=frozenset({f"wwn-0x{LUN[4:]}", "scsi-1ATA_disk"}))


def disk(key=2000, **fields):
    given = {
        "key": key, "label": f"Hard disk {key - 1999}", "controller": ControllerKind.SCSI,
        "controller_type": "ParaVirtualSCSIController", "bus": 0, "unit": key - 2000, "capacity": 1 << 20,
        "backing": "FlatVer2", "file_name": "[ds1] web01/web01.vmdk",
    }  # fmt: skip
    return Disk(**(given | fields))


def around(*, proxy=PROXY, machine=MACHINE, stores=(VMFS,), reach=None, **fields):
    here = {"datacenter": "datacenter-1", "proxy": proxy, "stores": {store.name: store for store in stores}}
    given = {"vm": VM, "encrypted": False, "machine": machine, "reach": Reach(**(here | (reach or {})))}
    return Surroundings(**(given | fields))


def why_not(mode, where=None, **fields):
    (verdict,) = judge(where or around(), [disk(**fields)], [mode])
    return verdict.why_not


def test_where_nothing_stands_against_it_every_mode_is_possible():
    assert {verdict.why_not for verdict in judge(around(), [disk()], tuple(TransportMode))} == {""}


HOTADD_REFUSED = {
    "an IDE disk": ({}, {"controller": ControllerKind.IDE}, "only SCSI disks"),
    "an NVMe disk": ({}, {"controller": ControllerKind.NVME}, "only SCSI disks"),
    "a SATA disk": ({}, {"controller": ControllerKind.SATA}, "only SCSI disks"),
    "a UUID nobody may read": ({"machine": ProxyMachine(why_no_uuid="needs root")}, {}, "needs root"),
    "a physical proxy": ({"proxy": None, "reach": {"why_no_proxy": "the proxy is no VM"}}, {}, "no VM"),
    "the proxy itself": ({"proxy": replace(PROXY, moref="vm-1")}, {}, "the proxy itself"),
    "another datacenter": ({"proxy": replace(PROXY, datacenter="datacenter-2")}, {}, "another datacenter"),
    "an LVM without bounds": ({"machine": replace(MACHINE, why_lvm="LVM would use it")}, {}, "LVM would use it"),
    "a missing right": ({"lacking": ("VirtualMachine.Config.RemoveDisk",)}, {}, "Config.RemoveDisk"),
    "an encrypted VM": ({"encrypted": True}, {}, "encrypted"),
    "a datastore elsewhere": ({"proxy": replace(PROXY, mounted=frozenset())}, {}, "does not mount datastore ds1"),
    "vSAN": ({"stores": (replace(VMFS, kind="vsan"),)}, {}, "is vSAN"),
    "a parent elsewhere": ({}, {"chain": ("[old] base.vmdk", "[ds1] web01.vmdk")}, "does not mount datastore old"),
    "no slot": ({"proxy": replace(PROXY, free_slots=0)}, {}, "no free slot"),
    "a library without it": ({"offered": frozenset({"file", "nbdssl", "nbd"})}, {}, "library has it not"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOTADD_REFUSED)
def test_hotadd_is_refused_with_its_reason(case):
    where, fields, reason = HOTADD_REFUSED[case]

    assert reason in why_not(HOTADD, around(**where), **fields)
    assert why_not(NBDSSL, around(**where), **fields) == ""


@pytest.mark.parametrize("mode", [SAN, HOTADD])
def test_an_encrypted_disk_of_a_vm_that_is_not_is_read_by_no_mode_that_cannot_decrypt_it(mode):
    (verdict,) = judge(around(), [replace(disk(), key_id="key-1")], [mode])
    assert "the disk is encrypted" in verdict.why_not


def test_an_encrypted_proxy_takes_disks_of_an_encrypted_vm():
    assert why_not(HOTADD, around(encrypted=True, proxy=replace(PROXY, encrypted=True))) == ""


def test_the_disks_of_a_vm_take_the_free_slots_one_after_the_other():
    disks = [disk(2000), disk(2001, controller=ControllerKind.IDE), disk(2002), disk(2003)]

    settled = settle(VM, judge(around(proxy=replace(PROXY, free_slots=2)), disks, [HOTADD, NBDSSL]))

    assert [one.modes for one in settled] == [(HOTADD, NBDSSL), (NBDSSL,), (HOTADD, NBDSSL), (NBDSSL,)]
    assert "no free slot left" in settled[-1].why


SAN_REFUSED = {
    "an encrypted VM": ({"encrypted": True}, {}, "encrypted"),
    "a datastore on NFS": ({"stores": (replace(VMFS, kind="NFS41"),)}, {}, "is NFS41, not VMFS"),
    "a datastore on vSAN": ({"stores": (replace(VMFS, kind="vsan"),)}, {}, "is vsan, not VMFS"),
    "a virtual volume": ({"stores": (replace(VMFS, kind="VVOL"),)}, {}, "is VVOL, not VMFS"),
    "a datastore nobody sees": ({"stores": ()}, {}, "unknown type"),
    "LUNs nobody tells": ({"stores": (replace(VMFS, luns=()),)}, {}, "are not known"),
    "a LUN that is not there": ({"machine": ProxyMachine()}, {}, LUN),
    "one LUN of two": ({"stores": (replace(VMFS, luns=(LUN, "naa.6005")),)}, {}, "no readable LUN naa.6005 of"),
    "a local disk of the host": ({"stores": (replace(VMFS, luns=("mpx.vmhba0:C0:T0:L0",)),)}, {}, "mpx.vmhba0"),
    "a mapped LUN": ({}, {"backing": "RawDiskMappingVer1"}, "maps a LUN"),
}


@pytest.mark.parametrize("case", SAN_REFUSED)
def test_san_is_refused_with_its_reason(case):
    where, fields, reason = SAN_REFUSED[case]

    assert reason in why_not(SAN, around(**where), **fields)


@pytest.mark.parametrize(
    ("name", "link", "there"),
    [
        ("naa.600A0B80", "wwn-0x600a0b80", True),
        ("naa.600a0b80", "scsi-3600a0b80", True),
        ("eui.0025385b", "nvme-eui.0025385b", True),
        ("eui.0025385b", "scsi-20025385b", True),
        ("naa.600a0b80", "scsi-3600a0b80-part1", False),
        ("naa.600a0b80", "wwn-0x600a0b801", False),
        ("t10.ATA_____disk", "scsi-1ATA_____disk", False),
        ("mpx.vmhba1:C0:T0:L0", "mpx.vmhba1:C0:T0:L0", False),
        ("", "", False),
    ],
)
def test_a_lun_is_known_by_the_names_that_udev_gives_it(name, link, there):
    assert has_lun(frozenset({link}), name) is there


def test_the_order_of_the_request_stays():
    (settled,) = settle(VM, judge(around(), [disk()], [NBD, SAN, HOTADD]))

    assert settled.modes == (NBD, SAN, HOTADD)
    assert settled.why == ""


def test_a_request_that_allows_no_possible_mode_is_refused_with_each_reason():
    verdicts = judge(around(encrypted=True), [disk()], [SAN, HOTADD])

    with pytest.raises(UnsupportedError, match=r"web01: .*Hard disk 1 \(scsi0:0\): not san: .*; not hotadd: .*nbdssl"):
        settle(VM, verdicts)


def test_one_warning_names_all_disks_of_one_reason():
    disks = [disk(2000), disk(2001)]
    where = around(machine=replace(MACHINE, why_lvm="LVM would use it"))

    told = warnings_of(settle(VM, judge(where, disks, [HOTADD, NBDSSL])), disks)

    assert told == ("Hard disk 1 (scsi0:0), Hard disk 2 (scsi0:1): not hotadd: LVM would use it",)


@pytest.mark.parametrize(
    ("used", "modes", "said"),
    [
        ("nbdssl", ["nbdssl", "nbd"], ""),
        ("nbd", ["nbdssl", "nbd"], "the driver could not open the disk by nbdssl"),
        ("nbd", ["san", "hotadd", "nbd"], "the driver could not open the disk by san or hotadd"),
        ("file", ["san"], ""),
        ("file", [], ""),
    ],
)
def test_a_driver_that_passes_over_a_mode_is_told(used, modes, said):
    assert why_another(used, modes) == said
