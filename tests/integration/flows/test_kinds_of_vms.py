"""Each byte of disks on every controller, of disks over 2 TB and of linked clones; each history of a VM that moves.

The server is a vCenter 9.
"""

from __future__ import annotations

import uuid

import pytest

from tests.integration.flows.restoring import back_up, hands, reconfigure, restore_whole, site_of
from tests.labs import start_lab
from tests.patience import HANG
from vmkeep.model.point import BackupMode
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import wait_task
from vmlab.disks import DiskStore

DEVICE = vim.vm.device
MIB = 1 << 20
HUGE = 3 << 40
FAR = (2 << 40) + (512 << 30)
"""An offset beyond the sectors that 32 bits count."""
CONTROLLERS = (DEVICE.VirtualLsiLogicSASController, DEVICE.VirtualNVMEController)
IDE = 200
"""The key of a controller that every VM has by itself."""
DISK = 2000


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with start_lab(tmp_path_factory.mktemp("lab") / "lab", data_disk_gib=0.03125, release="9.0.0") as started:
        yield started


@pytest.fixture(scope="module")
def site(lab, tmp_path_factory):
    location = str(tmp_path_factory.mktemp("kinds") / "repository")
    create_repository(location)
    return site_of(lab, location)


def load(site, ref):
    with open_repository(site.repository) as repository:
        return repository.load_point(ref)


def make(lab, name, controllers, places, *, on):
    """Make a VM with thin disks at some places: controller's key, unit and size."""
    add, made, buses = DEVICE.VirtualDeviceSpec, [], {}
    for number, kind in enumerate(controllers):
        scsi = issubclass(kind, DEVICE.VirtualSCSIController)
        bus = buses[scsi, kind if not scsi else None] = buses.get((scsi, kind if not scsi else None), -1) + 1
        shared = {"sharedBus": "noSharing"} if scsi else {}
        made.append(add(operation="add", device=kind(key=-1 - number, busNumber=bus, **shared)))
    for number, (controller, unit, size) in enumerate(places):
        backing = DEVICE.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
        disk = DEVICE.VirtualDisk(
            key=-100 - number, controllerKey=controller, unitNumber=unit, capacityInKB=size >> 10,
            capacityInBytes=size, backing=backing,
        )  # fmt: skip
        made.append(add(operation="add", fileOperation="create", device=disk))
    config = vim.vm.ConfigSpec(
        name=name, guestId="otherLinux64Guest", numCPUs=1, memoryMB=64, deviceChange=made,
        files=vim.vm.FileInfo(vmPathName="[datastore1]"),
    )  # fmt: skip
    with hands(lab) as session:
        index = session.content.searchIndex
        folder, pool = map(index.FindByInventoryPath, ("Lab/vm/Test", "Lab/host/Cluster1/Resources"))
        vm = wait_task(session, folder.CreateVM_Task(config, pool), what="test", timeout=HANG)
        if on:
            wait_task(session, vm.PowerOnVM_Task(None), what="test", timeout=HANG)


def test_disks_on_every_kind_of_controller_are_backed_up_and_restored(lab, site):
    """Those that no VM of the demo has; app01 and old01 have the others."""
    make(lab, "odd", CONTROLLERS, [(-1, 0, MIB), (-2, 0, MIB), (IDE, 0, MIB)], on=True)
    keys = {disk["key"] for disk in lab.vm("odd")["disks"]}
    for seed, key in enumerate(keys):
        lab.write("odd", key, [{"offset": MIB // 2, "length": 65536, "seed": seed}])

    sealed = back_up(site, "odd")
    again = restore_whole(site, sealed.point, new_name="odd again", power_on=False).vm.moref

    assert sorted(disk.address for disk in load(site, sealed.point).disks) == ["ide0:0", "nvme0:0", "scsi0:0"]
    now = {key: lab.hash("odd", key) for key in keys}
    assert len(set(now.values())) == len(keys)
    assert {key: lab.hash(again, key) for key in keys} == now
    with hands(lab) as session:
        assert {type(device) for device in session.vm(again).config.hardware.device} >= set(CONTROLLERS)


def test_a_disk_over_2_tb_is_backed_up_and_restored_beyond_every_32_bits(lab, site):
    """The lab's deltas end at 2 TB, so that the VM is off and has no snapshot."""
    make(lab, "huge", CONTROLLERS[:1], [(-1, 0, HUGE)], on=False)
    offsets = (0, FAR, HUGE - 65536)
    with DiskStore(lab.folder / "datastores").open(lab.vm("huge")["disks"][0]["path"], writable=True) as disk:
        for number, offset in enumerate(offsets, 1):
            disk.write(offset, bytes([number]) * 65536)

    sealed = back_up(site, "huge", mode=BackupMode.ASIS)
    again = restore_whole(site, sealed.point, new_name="huge again", power_on=False).vm.moref

    (image,) = load(site, sealed.point).images
    assert (image.disk.capacity, image.disk.skip) == (HUGE, None)
    assert sealed.bytes_read < 64 * MIB
    key = lab.vm(again)["disks"][0]["key"]
    assert [set(lab.read(again, key, offset, 65536)) for offset in offsets] == [{1}, {2}, {3}]


def test_a_linked_clone_is_backed_up_whole_and_its_template_is_left_alone(lab, site):
    base = "[datastore2] debian-template/debian-template.vmdk"
    data = lab.files("[datastore2] debian-template/debian-template-flat.vmdk")
    before = data.read_bytes()
    link_clone(lab, base)
    lab.write("clone", DISK, [{"offset": 1 << 20, "length": 65536, "seed": 5}])

    sealed = back_up(site, "clone")
    again = restore_whole(site, sealed.point, new_name="clone again", power_on=False).vm.moref

    assert load(site, sealed.point).images[0].disk.chain[0] == base
    assert lab.hash(again, DISK) == lab.hash("clone", DISK)
    assert lab.vm("clone")["snapshots"] == []
    assert data.read_bytes() == before
    with hands(lab) as session:
        (disk,) = [one for one in session.vm(again).config.hardware.device if isinstance(one, DEVICE.VirtualDisk)]
    assert disk.backing.parent is None, "the new VM depends on no template"


def link_clone(lab, base):
    """Register a VM whose disk holds only its differences from a template's disk."""
    DiskStore(lab.folder / "datastores").create_child(base, "[datastore2] clone/clone.vmdk")
    text = lab.files("[datastore2] debian-template/debian-template.vmx").read_text()
    kept = [line for line in text.splitlines() if not line.startswith(("uuid.", "vc.uuid", "displayName"))]
    text = "\n".join([*kept, 'displayName = "clone"', ""]).replace("debian-template.vmdk", "clone.vmdk")
    lab.files("[datastore2] clone/clone.vmx").write_text(text)
    lab.post("vm/register", {"path": "[datastore2] clone/clone.vmx", "folder": "Lab/vm/Test", "power_on": True})


def test_a_vm_keeps_its_history_wherever_it_goes_and_a_clone_begins_its_own(lab, site):
    with hands(lab) as session:
        assert (session.version, session.api_version) == ("9.0.0", "vim.version.v9_0_0_0")
    first = back_up(site, "web01")
    lab.take_copy(lab, "web01", "[datastore1] clone-of-web", folder_path="Lab/vm/Test", name="clone-of-web")
    reconfigure(lab, "clone-of-web", vim.vm.ConfigSpec(instanceUuid=str(uuid.uuid4())))
    clone = back_up(site, "clone-of-web")
    with hands(lab) as session:
        index = session.content.searchIndex
        vm, folder = map(index.FindByInventoryPath, ("Lab/vm/Production/web01", "Lab/vm/Test"))
        wait_task(session, vm.Rename_Task("shop01"), what="test", timeout=HANG)
        wait_task(session, folder.MoveIntoFolder_Task([vm]), what="test", timeout=HANG)
    renamed = back_up(site, "shop01")
    lab.relocate("shop01", "datastore2")
    moved = back_up(site, "shop01")

    assert [one.kind for one in (first, clone, renamed, moved)] == ["full", "full", "incremental", "full"]
    assert (clone.full_reads, moved.full_reads) == ({"no-point": 1}, {"moved": 1})
    assert load(site, moved.point).vm.inventory_path == "/Lab/vm/Test/shop01"
    own = {load(site, one.point).vm.key for one in (first, renamed, moved)}
    assert len(own) == 1
    assert load(site, clone.point).vm.key not in own
    with open_repository(site.repository) as repository:
        assert repository.find_point("latest:shop01").ref == moved.point
        assert repository.find_point("latest:clone-of-web").ref == clone.point
