"""RDMs of a restored VM: a file server with 32 physical ones, free LUNs that are found, and LUNs that are written over.

All tests share one lab, a point of the file server, and a point of a VM whose only disk is a virtual RDM.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.integration.flows import restoring
from tests.integration.flows.restoring import Restoring, back_up, devices, hands, power
from tests.patience import HANG
from vmkeep.errors import ConflictError, NotFoundError, UnsupportedError
from vmkeep.flows import attach, restore
from vmkeep.flows.attach_values import AttachRequest
from vmkeep.flows.restore_request import OnConflict
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.repository import create_repository
from vmkeep.vsphere import inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import run_task

DEVICE = vim.vm.device
MIB = 1 << 20
FILES, RAW, OTHER = "fileserver", "database", "standby"
RDMS = 32
SYSTEM, SHARE, RAW_SIZE = 2 * MIB, 1 * MIB, 3 * MIB


@dataclass(frozen=True)
class Lun:
    name: str
    uuid: str
    file: Path

    @classmethod
    def added(cls, lab, capacity: int, **about) -> Lun:
        told = lab.post("inventory/add", {"kind": "lun", "name": "lun", "capacity": capacity, **about})
        return cls(told["name"], told["uuid"], Path(told["file"]))

    def digest(self) -> str:
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    def filled(self) -> Lun:
        """Put data without any partition on it, as a database does."""
        self.file.write_bytes(os.urandom(self.file.stat().st_size))
        with self.file.open("r+b") as opened:
            opened.write(bytes(4096))
        return self


def controller(key: int, bus: int):
    return added(DEVICE.ParaVirtualSCSIController(key=key, busNumber=bus, sharedBus="noSharing"))


def added(device, operation=None):
    return DEVICE.VirtualDeviceSpec(operation="add", fileOperation=operation, device=device)


def plain(capacity: int, unit: int = 0):
    backing = DEVICE.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
    disk = DEVICE.VirtualDisk(
        key=-100, controllerKey=-1, unitNumber=unit, capacityInKB=capacity // 1024, backing=backing
    )
    return added(disk, "create")


def rdm(lun: Lun, at: int, mode: str, *, bus: int, unit: int):
    backing = DEVICE.VirtualDisk.RawDiskMappingVer1BackingInfo(
        fileName="", compatibilityMode=mode, deviceName=lun.name, lunUuid=lun.uuid,
        diskMode="persistent" if mode == "virtualMode" else None,
    )  # fmt: skip
    return added(
        DEVICE.VirtualDisk(key=-200 - at, controllerKey=-1 - bus, unitNumber=unit, capacityInKB=0, backing=backing),
        "create",
    )


def shared(lun: Lun, pointer: str):
    """A disk by the pointer of another VM's RDM, as the second node of a cluster has it."""
    disk = rdm(lun, 0, "virtualMode", bus=0, unit=0).device
    disk.backing.fileName = pointer
    return added(disk)


def make(lab, name, *changes):
    spec = vim.vm.ConfigSpec(
        name=name, guestId="otherLinux64Guest", numCPUs=1, memoryMB=64, deviceChange=list(changes),
        files=vim.vm.FileInfo(vmPathName="[datastore1]"),
    )  # fmt: skip
    with hands(lab) as session:
        folder = session.content.searchIndex.FindByInventoryPath("Lab/vm/Test")
        pool = session.content.searchIndex.FindByInventoryPath("Lab/host/Cluster1").resourcePool
        run_task(session, lambda: folder.CreateVM_Task(spec, pool), what="test", timeout=HANG, look=lambda: None)


def rdm_places(lab, vm):
    """Address, mode and LUN of each RDM of a VM."""
    with hands(lab) as session:
        found = inventory.describe_vm(session, inventory.find_vm(session, vm).moref)
    return {disk.address: (disk.compatibility_mode, disk.lun_uuid) for disk in found.disks if disk.compatibility_mode}


@pytest.fixture(scope="module")
def world(lab, tmp_path_factory):
    """A site, and a point of each of the two VMs."""
    location = str(tmp_path_factory.mktemp("rdms") / "repository")
    create_repository(location)
    site = restoring.site_of(lab, location)
    shares = [Lun.added(lab, SHARE) for _ in range(RDMS)]
    on_three = [
        rdm(lun, at, "physicalMode", bus=1 + at // 11, unit=at % 11 + (at % 11 > 6)) for at, lun in enumerate(shares)
    ]
    make(lab, FILES, *(controller(-1 - bus, bus) for bus in range(4)), plain(SYSTEM), *on_three)
    power(lab, FILES, on=True)
    lab.write(FILES, 2000, [{"offset": 0, "length": MIB, "seed": 1}])
    make(lab, RAW, controller(-1, 0), rdm(Lun.added(lab, RAW_SIZE).filled(), 0, "virtualMode", bus=0, unit=0))
    return site, back_up(site, FILES).point, back_up(site, RAW).point


@pytest.fixture
def name():
    return f"new-{uuid.uuid4().hex[:6]}"


def test_a_file_server_with_32_physical_rdms_comes_back_on_as_many_free_luns_at_the_old_places(lab, world, name):
    site, point, _ = world
    with pytest.raises(NotFoundError, match=r"no free LUN is left for Hard disk .*; not taken: .*: it is mapped by VM"):
        Restoring.new(site, point, name, physical_rdm="auto")
    free = [Lun.added(lab, SHARE) for _ in range(RDMS)]
    before = [lun.digest() for lun in free]
    with pytest.raises(NotFoundError, match=r"the restore point has the RDMs scsi1:0 \(Hard disk 2, "):
        Restoring.new(site, point, name, rdms=("scsi0:0=auto",))

    planned = Restoring.new(site, point, name, physical_rdm="auto").prepared().written()

    made, were = rdm_places(lab, name), rdm_places(lab, FILES)
    assert (len(made), made.keys()) == (RDMS, were.keys())
    assert {mode for mode, _ in made.values()} == {"physicalMode"}
    assert {lun for _, lun in made.values()} == {lun.uuid for lun in free}
    assert [job.device_key for job in planned.jobs] == [2000]
    assert lab.hash(name, 2000) == lab.hash(FILES, 2000)
    assert [lun.digest() for lun in free] == before
    planned.clean_up()


def test_a_file_server_with_32_physical_rdms_goes_by_a_map_onto_another_vm_whose_disk_is_elsewhere(lab, world):
    site, point, _ = world
    make(lab, OTHER, controller(-1, 0), plain(SYSTEM, unit=3))
    with pytest.raises(ConflictError, match="the VM has no disk at scsi0:0"):
        Restoring.over(site, point, vm_selector=OTHER)

    over = Restoring.over(site, point, vm_selector=OTHER, disk_map=("scsi0:0=scsi0:3",))
    over.prepared().written()

    (disk,) = [device.key for device in devices(lab, OTHER) if isinstance(device, DEVICE.VirtualDisk)]
    assert lab.hash(OTHER, disk) == lab.hash(FILES, 2000)
    assert sum("physical-mode RDM" in line for line in plan_lines(over.plan)) == RDMS


def test_a_physical_rdm_is_attached_to_no_vm_and_the_refusal_says_so(world):
    site, point, _ = world

    with pytest.raises(UnsupportedError, match="a raw device mapping cannot be attached as one"):
        attach.plan_attach(
            site, AttachRequest(point=point, run=restoring.new_run(), disks=("scsi1:0",), vm_selector="web01")
        )


def test_a_virtual_rdm_goes_back_onto_a_lun_that_is_named_over_all_that_it_held(lab, world, name):
    site, _, point = world
    lun = Lun.added(lab, RAW_SIZE).filled()
    said = {"luns": (f"scsi0:0={lun.name}",), "rdms": ("scsi0:0=lun",)}
    with pytest.raises(ConflictError, match="what that holds now would be lost: say --on-conflict overwrite"):
        Restoring.new(site, point, name, **said)

    planned = Restoring.new(site, point, name, on_conflict=OnConflict.OVERWRITE, **said)
    planned.prepared().written()

    assert planned.plan.luns_written == (lun.name,)
    assert any("may hold data all the same" in warning for warning in planned.plan.warnings)
    assert rdm_places(lab, name) == {"scsi0:0": ("virtualMode", lun.uuid)}
    assert lun.digest() == lab.hash(RAW, 2000)


def test_a_lun_that_another_vm_has_mapped_meanwhile_is_not_written_over(lab, world, name):
    site, _, point = world
    lun = Lun.added(lab, RAW_SIZE).filled()
    before = lun.digest()
    planned = Restoring.new(site, point, name, on_conflict=OnConflict.OVERWRITE, luns=(f"scsi0:0={lun.name}",))
    planned.prepared()
    (pointer,) = [disk.backing.fileName for disk in devices(lab, name) if isinstance(disk, DEVICE.VirtualDisk)]
    make(lab, f"other-{name}", controller(-1, 0), shared(lun, pointer))

    with pytest.raises(ConflictError, match=rf"LUN {lun.name} of VM .* is mapped by VM other-{name} .*, too, by now"):
        planned.written()

    planned.clean_up()
    assert lun.digest() == before


def test_a_virtual_rdm_is_mapped_to_a_lun_that_keeps_its_content_if_told_so(lab, world, name):
    site, _, point = world
    lun = Lun.added(lab, 2 * RAW_SIZE).filled()
    before = lun.digest()

    planned = Restoring.new(
        site, point, name, on_conflict=OnConflict.KEEP, rdms=("scsi0:0=lun:physical",), luns=(f"scsi0:0={lun.name}",)
    ).prepared()

    assert rdm_places(lab, name) == {"scsi0:0": ("physicalMode", lun.uuid)}
    assert (planned.plan.luns_written, lun.digest()) == ((), before)
    again = restore.plan_restore(site, replace(planned.request, run="a-later-one"), has_ended=lambda _: True)
    assert again.place.luns == planned.plan.place.luns, "the half-made VM that maps it now is removed first"
    planned.clean_up()


class TestFreeLuns:
    """A LUN that somebody may use is taken by nobody, and a LUN is found only if every host of the VM sees it."""

    @pytest.fixture
    def on_a_datastore(self, lab, name):
        lun = Lun.added(lab, RAW_SIZE)
        lab.post("inventory/add", {"kind": "datastore", "name": f"on-{name}", "lun": lun.name})
        return lun

    @pytest.fixture
    def with_a_partition(self, lab):
        lun = Lun.added(lab, RAW_SIZE).filled()
        with lun.file.open("r+b") as opened:
            opened.seek(446)
            opened.write(bytes(4) + b"\x83" + bytes(3) + (2048).to_bytes(4, "little") + (99).to_bytes(4, "little"))
            opened.seek(510)
            opened.write(b"\x55\xaa")
        return lun

    def test_a_lun_of_a_datastore_is_refused_even_if_it_is_named(self, world, name, on_a_datastore):
        site, _, point = world
        lun = on_a_datastore.name

        with pytest.raises(ConflictError, match=rf"LUN {lun} is part of datastore on-{name}; choose a free one"):
            Restoring.new(site, point, name, luns=(f"scsi0:0={lun}",), on_conflict=OnConflict.OVERWRITE)

    def test_the_partitions_of_a_lun_are_shown_before_it_is_written_over(self, world, name, with_a_partition):
        site, _, point = world
        lun = with_a_partition.name

        plan = Restoring.new(site, point, name, luns=(f"scsi0:0={lun}",), on_conflict=OnConflict.OVERWRITE).plan

        assert any(f"{lun} is written over" in warning and "1 partition" in warning for warning in plan.warnings)

    def test_an_empty_lun_is_found_that_nobody_uses_and_that_all_hosts_of_the_vm_see(
        self, lab, world, name, on_a_datastore, with_a_partition
    ):
        site, _, point = world
        of_one_host = Lun.added(lab, RAW_SIZE, hosts=["esx02.localhost"])
        auto = {"rdms": ("scsi0:0=auto",), "on_conflict": OnConflict.KEEP}

        there = Restoring.new(site, point, name, host="esx02.localhost", **auto).plan
        anywhere = Restoring.new(site, point, name, **auto).plan

        assert there.place.luns == (("scsi0:0", of_one_host.name),), "though others of this size come first"
        ((_, found),) = anywhere.place.luns
        assert found not in {lun.name for lun in (of_one_host, on_a_datastore, with_a_partition)}

    def test_the_command_lists_each_lun_with_its_use_its_partitions_and_its_hosts(
        self, lab, vmkeep, name, on_a_datastore, with_a_partition
    ):
        here = Lun.added(lab, RAW_SIZE, hosts=["esx02.localhost"])

        listed = {lun["choose"]: lun for lun in json.loads(vmkeep("target", "luns", "--json").output)}

        assert listed[on_a_datastore.name]["use"] == f"part of datastore on-{name}"
        assert (listed[with_a_partition.name]["use"], listed[with_a_partition.name]["holds"]) == ("", "1 partition")
        assert listed[here.name]["hosts"] == ["esx02.localhost"]
        assert listed[here.name]["capacity"] == RAW_SIZE
        assert any("mapped by VM app01" in lun["use"] for lun in listed.values())
        assert vmkeep("target", "luns").output.split()[:3] == ["LUN", "size", "use"]

    def test_a_lun_that_is_too_small_is_refused(self, lab, world, name):
        site, _, point = world
        lun = Lun.added(lab, RAW_SIZE - 512)

        with pytest.raises(ConflictError, match=rf"LUN {lun.name} is too small for Hard disk 1 \(scsi0:0\)"):
            Restoring.new(site, point, name, luns=(f"scsi0:0={lun.name}",), on_conflict=OnConflict.OVERWRITE)

    def test_the_pointer_goes_to_no_datastore_that_holds_none(self, lab, world, name):
        site, _, point = world
        lun = Lun.added(lab, 2 * RAW_SIZE)
        lab.post("inventory/add", {"kind": "datastore", "name": f"nfs-{name}", "without_mappings": True})
        said = {"luns": (f"scsi0:0={lun.name}",), "on_conflict": OnConflict.KEEP, "datastore": f"nfs-{name}"}

        with pytest.raises(UnsupportedError, match=f"datastore nfs-{name} cannot hold RDMs"):
            Restoring.new(site, point, name, **said)

        plan = Restoring.new(site, point, name, disk_datastores=("scsi0:0=datastore1",), **said).plan
        assert plan.place.luns == (("scsi0:0", lun.name),)
