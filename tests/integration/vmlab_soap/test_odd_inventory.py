"""Objects of a vCenter's inventory besides plain VMs: vApps, VMs that nobody can read, names that need care."""

import itertools

import pytest
from pyVmomi import vim, vmodl

PC = vmodl.query.PropertyCollector


_names = itertools.count()


@pytest.fixture
def pool(content):
    return content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources/Production")


@pytest.fixture
def vapp(content, pool):
    folder = content.searchIndex.FindByInventoryPath("Lab/vm/Production")
    made = pool.CreateVApp(f"shop {next(_names)}", vim.ResourceConfigSpec(
        cpuAllocation=vim.ResourceAllocationInfo(), memoryAllocation=vim.ResourceAllocationInfo()
    ), vim.vApp.VAppConfigSpec(), folder)  # fmt: skip
    yield made
    if made.vm:
        pool.MoveIntoResourcePool(list(made.vm))


def properties(content, obj, *paths):
    spec = PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=obj)], propSet=[PC.PropertySpec(type=type(obj), pathSet=list(paths))]
    )
    (found,) = content.propertyCollector.RetrieveContents([spec])
    return {prop.name: prop.val for prop in found.propSet}


def test_a_vm_in_a_vapp_has_no_parent_and_is_found_below_the_vapp(content, vm_at, vapp, pool):
    vm = vm_at("Production/twin")
    vapp.MoveIntoResourcePool([vm])

    found = properties(content, vm, "name", "parent", "parentVApp", "resourcePool")
    assert "parent" not in found
    assert (found["parentVApp"], found["resourcePool"]) == (vapp, vapp)
    assert content.searchIndex.FindByInventoryPath("Lab/vm/Production/twin") is None
    assert content.searchIndex.FindByInventoryPath(f"Lab/vm/Production/{vapp.name}/twin") == vm
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    assert vm in view.view

    pool.MoveIntoResourcePool([vm])
    assert (vm.parent.name, vm.parentVApp, vm.resourcePool) == ("Production", None, pool)


def test_a_vapp_stands_in_a_folder_and_in_a_pool(content, vapp, pool):
    assert (vapp.parentFolder.name, vapp.parent, vapp.owner.name) == ("Production", pool, "Cluster1")
    inner = vapp.CreateVApp("inner", vim.ResourceConfigSpec(
        cpuAllocation=vim.ResourceAllocationInfo(), memoryAllocation=vim.ResourceAllocationInfo()
    ), vim.vApp.VAppConfigSpec(), None)  # fmt: skip
    assert (inner.parentVApp, inner.parentFolder, inner.parent) == (vapp, None, vapp)
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.ResourcePool], True)
    assert {vapp, inner} <= set(view.view)


def test_a_new_vm_of_a_folder_is_not_made_in_a_vapp(content, vapp, run):
    folder = content.searchIndex.FindByInventoryPath("Lab/vm/Production")
    spec = vim.vm.ConfigSpec(name="new", files=vim.vm.FileInfo(vmPathName="[datastore1]"))
    with pytest.raises(vmodl.fault.InvalidArgument) as caught:
        run(folder.CreateVM_Task(spec, vapp))
    assert caught.value.invalidProperty == "pool"


def test_a_vm_in_a_vapp_is_moved_by_no_folder(content, vm_at, vapp, run):
    vapp.MoveIntoResourcePool([vm_at("Production/twin")])
    with pytest.raises(vmodl.fault.NotSupported):
        run(content.searchIndex.FindByInventoryPath("Lab/vm/Test").MoveIntoFolder_Task([vapp.vm[0]]))


@pytest.mark.parametrize("state", ["inaccessible", "orphaned", "invalid"])
def test_a_lost_vm_has_a_name_and_a_state_and_no_configuration(content, vm_at, lab, run, state):
    vm = vm_at("Test/twin")
    uuid = vm.config.instanceUuid
    lab.post("vm/connection", {"vm": vm._moId, "state": state})
    try:
        found = properties(
            content, vm, "name", "config", "config.extraConfig", "guest", "layoutEx", "snapshot", "parent",
            "summary.config.instanceUuid", "runtime.connectionState", "datastore",
        )  # fmt: skip
        assert set(found) == {"name", "parent", "runtime.connectionState", "datastore"}
        assert found["runtime.connectionState"] == state
        assert vm.summary.config.name == "twin"
        assert content.searchIndex.FindByUuid(None, uuid, True, True) is None
        for start in (lambda: vm.PowerOn(), lambda: vm.CreateSnapshot("s", "", False, False), lambda: vm.Destroy()):
            with pytest.raises(vim.fault.InvalidState):
                run(start())
    finally:
        lab.post("vm/connection", {"vm": vm._moId, "state": "connected"})
    assert vm.config.instanceUuid == uuid


@pytest.mark.parametrize(
    "name", ["NAS [prod]", "ds (1)", "a]b", "per%cent", "a/b", "+&=?#", "blank in it", "ünïcode ☃"]
)
def test_a_datastore_of_any_name_holds_a_vm(content, lab, run, name):
    lab.post("inventory/add", {"kind": "datastore", "name": name})
    stored = name.replace("%", "%25").replace("/", "%2f")
    folder = content.searchIndex.FindByInventoryPath("Lab/vm/Test")
    pool = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources")
    scsi = vim.vm.device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")
    disk = vim.vm.device.VirtualDisk(
        key=-2, controllerKey=-1, unitNumber=0, capacityInKB=1024,
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True),
    )  # fmt: skip
    added = vim.vm.device.VirtualDeviceSpec
    spec = vim.vm.ConfigSpec(
        name="odd store", guestId="otherGuest64", files=vim.vm.FileInfo(vmPathName=f"[{stored}]"),
        deviceChange=[added(operation="add", device=scsi), added(operation="add", fileOperation="create", device=disk)],
    )  # fmt: skip
    vm = run(folder.CreateVM_Task(spec, pool))
    assert vm.config.files.vmPathName == f"[{stored}] odd store/odd store.vmx"
    assert [store.name for store in vm.datastore] == [stored]
    run(vm.CreateSnapshot("s", "", False, False))
    run(vm.Destroy())
