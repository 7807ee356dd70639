"""A VM of which vSphere takes no snapshot: refused before anything is touched, or copied while it is off."""

from __future__ import annotations

import pytest

from tests.integration.flows import restoring
from tests.patience import HANG
from vmkeep.errors import StaleError, UnsupportedError
from vmkeep.flows import backup
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.model.point import BackupMode
from vmkeep.repository import open_repository
from vmkeep.vsphere import inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import run_task

Device = vim.vm.device
Backing = Device.VirtualDisk.FlatVer2BackingInfo
SIZE = 8 << 20
KINDS = {
    "a shared bus": {"bus": "physicalSharing"},
    "a shared bus of an independent disk": {"bus": "virtualSharing", "mode": "independent_persistent"},
    "a multi-writer disk": {"sharing": "sharingMultiWriter"},
}
SHARED = pytest.mark.parametrize("made", KINDS.values(), ids=KINDS.keys())


def added(device, operation=None):
    return Device.VirtualDeviceSpec(operation="add", fileOperation=operation, device=device)


def started(session, start):
    return run_task(session, start, what="test", timeout=HANG, look=lambda: None)


def make_node(lab, name, *, bus="noSharing", mode="persistent", sharing=None, disk=None):
    """A cluster's node: a private disk, and one that it shares; ``disk`` is the file where that is there already."""
    backing = Backing(fileName=disk or "", diskMode=mode, sharing=sharing, thinProvisioned=False)
    changes = [
        added(Device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")),
        added(Device.ParaVirtualSCSIController(key=-2, busNumber=1, sharedBus=bus)),
        added(
            Device.VirtualDisk(
                key=-3, controllerKey=-1, unitNumber=0, capacityInKB=SIZE >> 10, backing=Backing(diskMode="persistent")
            ),
            "create",
        ),
        added(
            Device.VirtualDisk(key=-4, controllerKey=-2, unitNumber=0, capacityInKB=SIZE >> 10, backing=backing),
            None if disk else "create",
        ),
    ]
    with restoring.hands(lab) as session:
        twin = session.vm(inventory.find_vm(session, "/Lab/vm/Test/twin").moref)
        spec = vim.vm.ConfigSpec(
            name=name, files=vim.vm.FileInfo(vmPathName="[datastore1]"), guestId="otherLinux64Guest", numCPUs=1,
            memoryMB=64, deviceChange=changes,
        )  # fmt: skip
        started(session, lambda: twin.parent.CreateVM_Task(spec, twin.resourcePool, None))


def fill(lab, name):
    """Let the guest write both disks; the VM is off afterwards."""
    restoring.power(lab, name, on=True)
    for disk in (0, 1):
        lab.write(name, disk, [{"offset": 1 << 20, "length": 1 << 20, "seed": disk + 5}])
    restoring.power(lab, name, on=False)


def switch_off(lab, name):
    if lab.vm(name)["power"] != "poweredOff":
        restoring.power(lab, name, on=False)


@pytest.fixture
def node(lab):
    """Make nodes; they are gone afterwards."""

    def make(name="node", **options):
        make_node(lab, name, **options)
        return name

    yield make
    for name in reversed(restoring.names(lab)):
        if name.startswith("node"):
            switch_off(lab, name)
            with restoring.hands(lab) as session:
                session.vm(inventory.find_vm(session, name).moref).UnregisterVM()


@SHARED
def test_a_running_vm_is_refused_before_it_is_touched_with_words_that_help(bench, node, made):
    restoring.power(bench.lab, node(**made), on=True)
    calls = bench.lab.state()["calls"]

    with pytest.raises(UnsupportedError, match=r"refuses every snapshot of it, whichever disks are excluded: .*") as no:
        restoring.back_up(bench.site, "node")

    assert "power it off" in str(no.value)
    assert "mode ASIS" in str(no.value)
    assert ("noSharing" if "bus" in made else "independent_persistent") in str(no.value)
    now = bench.lab.state()["calls"]
    assert all(now.get(name, 0) == calls.get(name, 0) for name in ("CreateSnapshot_Task", "ReconfigVM_Task"))


def test_excluding_the_shared_disk_does_not_help_a_snapshot_and_is_not_said_to(bench, node):
    restoring.power(bench.lab, node(sharing="sharingMultiWriter"), on=True)

    with pytest.raises(UnsupportedError, match="whichever disks are excluded"):
        restoring.back_up(bench.site, "node", exclude=("Hard disk 2",))


@SHARED
def test_a_vm_that_is_off_is_copied_whole_without_a_snapshot_and_restored(bench, node, made):
    fill(bench.lab, node(**made))
    before = bench.disks("node", 2000, 2016)

    sealed = restoring.back_up(bench.site, "node", mode=BackupMode.ASIS)

    assert (sealed.disks_skipped, sealed.warnings) == (0, ())
    assert bench.stored(sealed.point) == before
    notes = []
    restoring.restore_whole(bench.site, sealed.point, new_name="node-again", announce=notes.append)
    assert bench.disks("node-again", 2000, 2016) == before
    assert not [note for note in notes if "created empty" in note]


@SHARED
@pytest.mark.parametrize("mode", [BackupMode.SNAPSHOT_EXCL_MEM, BackupMode.SNAPSHOT_INCL_MEM])
def test_a_mode_with_a_snapshot_becomes_asis_for_a_vm_that_is_off_and_says_why(bench, node, made, mode):
    pre = backup.preflight(bench.site, BackupRequest(vm_selector=node(**made), run=restoring.new_run(), mode=mode))

    assert pre.mode is BackupMode.ASIS
    assert [disk.label for disk in pre.disks if disk.skip is None] == ["Hard disk 1", "Hard disk 2"]
    (warning,) = (warning for warning in pre.warnings if "changed to ASIS" in warning)
    assert "refuses every snapshot of this VM" in warning


def test_a_disk_that_another_running_vm_shares_is_not_read_under_it(bench, node):
    node(sharing="sharingMultiWriter")
    shared = bench.lab.vm("node")["disks"][1]["path"]
    restoring.power(bench.lab, node("node2", sharing="sharingMultiWriter", disk=shared), on=True)

    with pytest.raises(UnsupportedError, match=r"shared disks are in use by VM node2: power that off, too, or exclude"):
        restoring.back_up(bench.site, "node")

    sealed = restoring.back_up(bench.site, "node", exclude=("Hard disk 2",))
    assert (sealed.disks_copied, sealed.disks_skipped) == (1, 1)


def test_nothing_is_sealed_of_a_disk_that_another_vm_began_to_write_meanwhile(bench, node):
    node(sharing="sharingMultiWriter")
    shared = bench.lab.vm("node")["disks"][1]["path"]
    node("node2", sharing="sharingMultiWriter", disk=shared)
    pre = backup.preflight(bench.site, BackupRequest(vm_selector="node", run=restoring.new_run()))
    taken = backup.take_snapshot(bench.site, pre)
    copies = []
    for job in backup.plan_disks(bench.site, pre, taken):
        with backup.copy_disk(bench.site, job, cursor=None, on_progress=lambda _: None) as running:
            copies.append(running.wait())
    restoring.power(bench.lab, "node2", on=True)

    with pytest.raises(StaleError, match="VM node2 was switched on"):
        backup.seal(bench.site, pre, taken, copies)
    restoring.power(bench.lab, "node2", on=False)
    with pytest.raises(StaleError, match="VM node2 was switched on"):
        backup.seal(bench.site, pre, taken, copies)


def test_an_independent_multi_writer_disk_is_left_out_with_its_reason(bench, node):
    restoring.power(bench.lab, node(mode="independent_persistent", sharing="sharingMultiWriter"), on=True)

    sealed = restoring.back_up(bench.site, "node")

    with open_repository(bench.site.repository) as repository:
        point = repository.load_point(sealed.point)
    assert [(disk.label, disk.skip) for disk in point.skipped] == [("Hard disk 2", "independent")]


def test_an_independent_disk_of_a_vm_that_is_off_is_copied_as_it_is(bench, node):
    fill(bench.lab, node(mode="independent_persistent"))

    sealed = restoring.back_up(bench.site, "node", mode=BackupMode.ASIS)

    assert bench.stored(sealed.point) == bench.disks("node", 2000, 2016)
