"""Snapshots with real deltas, change tracking, consolidation."""

import subprocess
from pathlib import Path

import pytest
from pyVmomi import vim, vmodl

from tests.integration.vmlab_soap.specs import Device, Disk, added, disks_of, flat, new_disk, vm_spec

MIB = 1 << 20


@pytest.fixture
def app(vm_at, run):
    vm = vm_at("Production/app01")
    if vm.runtime.powerState != "poweredOn":
        run(vm.PowerOn())
    yield vm
    run(vm.RemoveAllSnapshots())
    run(vm.Reconfigure(vim.vm.ConfigSpec(changeTrackingEnabled=False)))


@pytest.fixture
def tracked(app, run):
    run(app.Reconfigure(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    return app


def chains(lab):
    return [disk["chain"] for disk in lab.vm("app01")["disks"]]


def take(vm, run, name="s", memory=False, quiesce=False):
    return run(vm.CreateSnapshot(name, "text", memory, quiesce))


def frozen(snapshot):
    return {disk.key: disk for disk in snapshot.config.hardware.device if isinstance(disk, vim.vm.device.VirtualDisk)}


def changed(vm, snapshot, key, change_id):
    """All changed areas, asked for until the disk's end, and how many answers it took."""
    capacity, at, areas, answers = frozen(snapshot)[key].capacityInBytes, 0, [], 0
    while at < capacity:
        answer = vm.QueryChangedDiskAreas(snapshot, key, at, change_id)
        assert answer.startOffset == at
        areas += [(area.start, area.length) for area in answer.changedArea]
        at += answer.length
        answers += 1
    assert at == capacity
    return areas, answers


def test_a_snapshot_freezes_disks_and_the_vm_goes_on_in_deltas(app, run, lab):
    snapshot = take(app, run)
    assert [disk.backing.fileName for disk in frozen(snapshot).values()] == [
        "[datastore1] app01/app01.vmdk", "[datastore1] app01/app01_1.vmdk", "[datastore1] app01/app01_2.vmdk",
    ]  # fmt: skip
    assert [disk.backing.fileName for disk in disks_of(app)] == [
        "[datastore1] app01/app01-000001.vmdk", "[datastore1] app01/app01_1-000001.vmdk",
        "[datastore1] app01/app01_2-000001.vmdk", "[datastore1] app01/app01_3.vmdk",
    ]  # fmt: skip
    assert disks_of(app)[0].backing.parent.fileName == "[datastore1] app01/app01.vmdk"
    assert app.snapshot.currentSnapshot == snapshot
    assert app.rootSnapshot == [snapshot]
    (node,) = app.snapshot.rootSnapshotList
    assert (node.name, node.description, node.quiesced, node.state) == ("s", "text", False, "poweredOff")


def test_qemu_reads_the_same_bytes_through_the_deltas(app, run, lab, tmp_path):
    take(app, run, "one")
    lab.write("app01", 0, [{"offset": 5000, "length": 70000, "seed": 1}])
    take(app, run, "two")
    lab.write("app01", 0, [{"offset": 40000, "length": 3 * MIB, "seed": 2}])
    top = lab.folder / "datastores" / "datastore1" / "app01" / Path(disks_of(app)[0].backing.fileName).name
    raw = tmp_path / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", top, raw], check=True)
    assert raw.read_bytes() == lab.read("app01", 0, 0, 64 * MIB)


def test_removing_a_snapshot_keeps_what_was_written_since(app, run, lab):
    snapshot = take(app, run)
    lab.write("app01", 2, [{"offset": 1000, "length": 200000, "seed": 3}])
    before = lab.hash("app01", 2)
    run(snapshot.RemoveSnapshot_Task(False))
    assert lab.hash("app01", 2) == before
    assert chains(lab)[2] == ["[datastore1] app01/app01_2.vmdk"]
    assert app.snapshot is None
    assert not app.runtime.consolidationNeeded


def test_reverting_undoes_what_was_written_since(app, run, lab):
    before = lab.hash("app01", 0)
    snapshot = take(app, run)
    lab.write("app01", 0, [{"offset": 0, "length": MIB, "seed": 4}])
    run(snapshot.RevertToSnapshot_Task())
    assert lab.hash("app01", 0) == before
    assert app.runtime.powerState == "poweredOff"
    assert len(disks_of(app)) == 4


def test_branches_of_a_tree_are_kept_apart_and_all_go_in_the_end(app, run, lab):
    root = take(app, run, "root")
    lab.write("app01", 0, [{"offset": 0, "length": 4096, "seed": 5}])
    left, left_hash = take(app, run, "left"), lab.hash("app01", 0)
    run(root.RevertToSnapshot_Task())
    run(app.PowerOn())
    lab.write("app01", 0, [{"offset": 0, "length": 4096, "seed": 6}])
    take(app, run, "right")
    right_hash = lab.hash("app01", 0)
    (tree,) = app.snapshot.rootSnapshotList
    assert sorted(node.name for node in tree.childSnapshotList) == ["left", "right"]
    run(root.RemoveSnapshot_Task(False))
    assert lab.hash("app01", 0) == right_hash
    run(left.RevertToSnapshot_Task())
    assert lab.hash("app01", 0) == left_hash
    run(app.RemoveAllSnapshots())
    assert lab.hash("app01", 0) == left_hash
    assert chains(lab)[0] == ["[datastore1] app01/app01.vmdk"]
    folder = lab.folder / "datastores" / "datastore1" / "app01"
    assert not [path.name for path in folder.iterdir() if "-0000" in path.name or path.suffix == ".vmsn"]


def test_removing_with_children_removes_them_all(app, run, lab):
    first = take(app, run, "first")
    take(app, run, "second")
    run(first.RemoveSnapshot_Task(True))
    assert app.snapshot is None


def test_unconsolidated_disks_are_told_and_healed(app, run, lab):
    snapshot = take(app, run)
    lab.write("app01", 0, [{"offset": 0, "length": 4096, "seed": 7}])
    before = lab.hash("app01", 0)
    run(snapshot.RemoveSnapshot_Task(False, False))
    assert app.runtime.consolidationNeeded
    assert len(chains(lab)[0]) == 2
    run(app.ConsolidateVMDisks_Task())
    assert not app.runtime.consolidationNeeded
    assert chains(lab)[0] == ["[datastore1] app01/app01.vmdk"]
    assert lab.hash("app01", 0) == before


def test_a_memory_snapshot_is_refused_with_raw_mappings_and_independent_disks(app, vm_at, run):
    with pytest.raises(vim.fault.SnapshotIncompatibleDeviceInVm):
        take(app, run, memory=True)
    with pytest.raises(vim.fault.MemorySnapshotOnIndependentDisk):
        take(vm_at("Production/db01"), run, memory=True)
    assert app.snapshot is None


SHARED = {
    "a shared bus": {"bus": "physicalSharing"},
    "a shared bus of an independent disk": {"bus": "virtualSharing", "mode": "independent_persistent"},
    "a multi-writer disk": {"sharing": "sharingMultiWriter"},
}


def cluster_node(vm_at, run, *, bus="noSharing", mode="persistent", sharing=None):
    """A VM with a disk that others may have, too."""
    controller = added(Device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus=bus))
    disk = new_disk(-1, 0, mode=mode, thin=False)
    disk.device.backing.sharing = sharing
    twin = vm_at("Test/twin")
    return run(twin.parent.CreateVM_Task(vm_spec("node", controller, disk), twin.resourcePool, None))


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("made", SHARED.values(), ids=SHARED.keys())
def test_a_shared_bus_or_a_dependent_multi_writer_disk_refuses_the_whole_snapshot(vm_at, run, made, running):
    node = cluster_node(vm_at, run, **made)
    if running:
        run(node.PowerOn())

    with pytest.raises((vim.fault.SharedBusControllerNotSupported, vim.fault.SnapshotIncompatibleDeviceInVm)) as caught:
        take(node, run)

    if "bus" in made:
        assert caught.value.device == "SCSI controller 0"
    else:
        assert "Hard disk 1" in caught.value.fault.msg
    assert node.snapshot is None
    if running:
        run(node.PowerOff())
    run(node.Destroy_Task())


def test_an_independent_multi_writer_disk_is_left_out_of_a_snapshot(vm_at, run):
    node = cluster_node(vm_at, run, mode="independent_persistent", sharing="sharingMultiWriter")

    assert frozen(take(node, run)) == {}

    run(node.Destroy_Task())


@pytest.mark.parametrize(("sharing", "starts"), [("sharingMultiWriter", True), (None, False)])
def test_two_running_vms_have_one_disk_only_where_both_share_it(vm_at, run, sharing, starts):
    node = cluster_node(vm_at, run, sharing=sharing)
    (disk,) = disks_of(node)
    same = flat(disk.backing.fileName)
    same.sharing = sharing
    controller = added(Device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing"))
    second = added(Disk(key=-2, controllerKey=-1, unitNumber=0, capacityInKB=0, backing=same))
    twin = vm_at("Test/twin")
    other = run(twin.parent.CreateVM_Task(vm_spec("node2", controller, second), twin.resourcePool, None))
    run(node.PowerOn())

    if starts:
        run(other.PowerOn())
        run(other.PowerOff())
    else:
        with pytest.raises(vim.fault.FileLocked):
            run(other.PowerOn())

    run(node.PowerOff())
    other.UnregisterVM()
    run(node.Destroy_Task())


def test_an_independent_disk_is_left_out_and_survives_a_revert(vm_at, run, lab):
    vm = vm_at("Production/db01")
    snapshot = take(vm, run)
    assert list(frozen(snapshot)) == [2000]
    lab.write("db01", 1, [{"offset": 0, "length": 4096, "seed": 8}])
    written = lab.hash("db01", 1)
    run(snapshot.RevertToSnapshot_Task())
    assert lab.hash("db01", 1) == written
    assert [disk.key for disk in disks_of(vm)] == [2000, 2001]
    run(vm.RemoveAllSnapshots())


def test_a_memory_snapshot_comes_back_running(vm_at, run):
    vm = vm_at("Production/web01")
    snapshot = take(vm, run, memory=True)
    run(snapshot.RevertToSnapshot_Task())
    assert vm.runtime.powerState == "poweredOn"
    run(vm.RemoveAllSnapshots())


def test_quiescing_happens_only_where_tools_run(vm_at, run):
    web, twin = vm_at("Production/web01"), vm_at("Production/twin")
    take(web, run, quiesce=True)
    take(twin, run, quiesce=True)
    assert web.snapshot.rootSnapshotList[0].quiesced
    assert not twin.snapshot.rootSnapshotList[0].quiesced
    run(web.RemoveAllSnapshots())
    run(twin.RemoveAllSnapshots())


def test_there_is_an_end_to_the_depth(vm_at, run):
    vm = vm_at("Production/twin")
    for number in range(32):
        take(vm, run, f"n{number}")
    with pytest.raises(vim.fault.TooManySnapshotLevels):
        take(vm, run)
    run(vm.RemoveAllSnapshots())
    assert vm.snapshot is None


@pytest.fixture
def long_answers(lab):
    lab.settings(extents_per_query=256, bytes_per_query=1 << 30)
    yield
    lab.settings(extents_per_query=64, bytes_per_query=8 * MIB)


@pytest.mark.usefixtures("long_answers")
def test_changed_areas_are_exactly_the_blocks_written(tracked, run, lab):
    first = frozen(take(tracked, run, "first"))
    assert all(disk.backing.changeId for disk in first.values())
    lab.write("app01", 2, [{"offset": 65536 * n * 2 + 10, "length": 20, "seed": n} for n in range(300)])
    second = take(tracked, run, "second")
    areas, answers = changed(tracked, second, 16000, first[16000].backing.changeId)
    assert areas == [(65536 * n * 2, 65536) for n in range(300)]
    assert answers == 2
    assert changed(tracked, second, 2000, first[2000].backing.changeId) == ([], 1)


def test_whoever_does_not_loop_misses_changes(tracked, run, lab):
    first = frozen(take(tracked, run, "first"))
    lab.write("app01", 2, [{"offset": 48 * MIB, "length": 10, "seed": 1}])
    second = take(tracked, run, "second")
    lab.settings(bytes_per_query=16 * MIB)
    try:
        answer = tracked.QueryChangedDiskAreas(second, 16000, 0, first[16000].backing.changeId)
        assert (answer.length, list(answer.changedArea)) == (16 * MIB, [])
        assert changed(tracked, second, 16000, first[16000].backing.changeId) == ([(48 * MIB, 65536)], 4)
    finally:
        lab.settings(bytes_per_query=8 * MIB)


def test_removing_the_older_snapshot_forgets_no_change(tracked, run, lab):
    first = take(tracked, run, "first")
    start = frozen(first)[2000].backing.changeId
    lab.write("app01", 0, [{"offset": 0, "length": 10, "seed": 1}])
    run(first.RemoveSnapshot_Task(False))
    lab.write("app01", 0, [{"offset": MIB, "length": 10, "seed": 2}])
    assert changed(tracked, take(tracked, run, "second"), 2000, start)[0] == [(0, 65536), (MIB, 65536)]


@pytest.mark.usefixtures("long_answers")
def test_the_star_answers_what_is_allocated(tracked, run, lab):
    snapshot = take(tracked, run)
    areas, _ = changed(tracked, snapshot, 16000, "*")
    assert areas == lab.extents("app01", 2)


def test_a_stale_change_id_is_a_file_fault(tracked, run):
    old = frozen(take(tracked, run, "old"))[2000].backing.changeId
    run(tracked.RemoveAllSnapshots())
    run(tracked.Reconfigure(vim.vm.ConfigSpec(changeTrackingEnabled=False)))
    run(tracked.PowerOff())
    run(tracked.Reconfigure(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    snapshot = take(tracked, run, "new")
    assert frozen(snapshot)[2000].backing.changeId.partition("/")[0] != old.partition("/")[0]
    with pytest.raises(vim.fault.FileFault):
        tracked.QueryChangedDiskAreas(snapshot, 2000, 0, old)


def test_reverting_starts_a_new_tracking_life(tracked, run, lab):
    first = take(tracked, run, "first")
    start = frozen(first)[2000].backing.changeId
    lab.write("app01", 0, [{"offset": 0, "length": 10, "seed": 1}])
    run(first.RevertToSnapshot_Task())
    second = take(tracked, run, "second")
    with pytest.raises(vim.fault.FileFault):
        tracked.QueryChangedDiskAreas(second, 2000, 0, start)


def test_tracking_takes_effect_at_the_next_stun_only(app, run):
    snapshot = take(app, run, "untracked")
    assert frozen(snapshot)[2000].backing.changeId is None
    with pytest.raises(vim.fault.FileFault):
        app.QueryChangedDiskAreas(snapshot, 2000, 0, "*")
    run(app.Reconfigure(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    assert frozen(take(app, run, "under a snapshot"))[2000].backing.changeId is None
    run(app.RemoveAllSnapshots())
    assert frozen(take(app, run, "tracked"))[2000].backing.changeId


@pytest.mark.parametrize(
    ("key", "start", "change_id", "name"),
    [(2009, 0, "*", "deviceKey"), (2000, 1 << 40, "*", "startOffset"), (2000, 0, "nonsense", "changeId")],
)
def test_bad_arguments_are_named(tracked, run, key, start, change_id, name):
    snapshot = take(tracked, run)
    with pytest.raises(vmodl.fault.InvalidArgument) as raised:
        tracked.QueryChangedDiskAreas(snapshot, key, start, change_id)
    assert raised.value.invalidProperty == name


def test_extending_a_disk_starts_a_new_tracking_life(tracked, run):
    start = frozen(take(tracked, run))[2001].backing.changeId
    run(tracked.RemoveAllSnapshots())
    disk = disks_of(tracked)[1]
    disk.capacityInBytes, disk.capacityInKB = disk.capacityInBytes + MIB, disk.capacityInKB + 1024
    run(
        tracked.Reconfigure(
            vim.vm.ConfigSpec(deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)])
        )
    )
    snapshot = take(tracked, run)
    with pytest.raises(vim.fault.FileFault):
        tracked.QueryChangedDiskAreas(snapshot, 2001, 0, start)
