"""Privileges are checked: method by method, parameter by parameter, and by what a spec asks."""

import pytest
from pyVmomi import vim, vmodl

from tests.integration.vmlab_soap.specs import new_disk, vm_spec

Spec = vim.vm.ConfigSpec


@pytest.fixture
def as_reader(connect):
    return connect("readonly@vsphere.local").content


@pytest.fixture
def as_backup(connect):
    return connect("backup@vsphere.local").content


def test_a_reader_reads_and_may_change_nothing(as_reader):
    vm = as_reader.searchIndex.FindByInventoryPath("Lab/vm/Production/web01")
    assert vm.config.hardware.memoryMB == 512
    tries = {
        "VirtualMachine.State.CreateSnapshot": lambda: vm.CreateSnapshot("s", "", False, False),
        "VirtualMachine.Interact.PowerOff": vm.PowerOff,
        "VirtualMachine.Config.Annotation": lambda: vm.Reconfigure(Spec(annotation="x")),
        "VirtualMachine.Config.ChangeTracking": lambda: vm.Reconfigure(Spec(changeTrackingEnabled=True)),
        "VirtualMachine.Config.AddNewDisk": lambda: vm.Reconfigure(Spec(deviceChange=[new_disk(1000, 1)])),
        "VirtualMachine.Inventory.Delete": vm.Destroy,
        "VirtualMachine.Provisioning.DiskRandomRead": lambda: vm.QueryChangedDiskAreas(None, 2000, 0, "*"),
    }
    for privilege, attempt in tries.items():
        with pytest.raises(vim.fault.NoPermission) as raised:
            attempt()
        assert (raised.value.privilegeId, raised.value.object) == (privilege, vm)


def test_a_backup_operator_takes_snapshots_and_restores_and_no_more(as_backup, run):
    index = as_backup.searchIndex
    vm = index.FindByInventoryPath("Lab/vm/Production/web01")
    run(vm.Reconfigure(Spec(changeTrackingEnabled=True)))
    snapshot = run(vm.CreateSnapshot("s", "", False, True))
    run(snapshot.RemoveSnapshot_Task(False))
    folder, pool = index.FindByInventoryPath("Lab/vm/Test"), index.FindByInventoryPath("Lab/host/Cluster1/Resources")
    made = run(folder.CreateVM_Task(vm_spec("restored", new_disk(200, 0)), pool))
    run(made.Destroy())
    with pytest.raises(vim.fault.NoPermission):
        folder.CreateFolder("x")
    with pytest.raises(vim.fault.NoPermission):
        as_backup.authorizationManager.AddAuthorizationRole("x", [])


def test_a_parameter_s_privilege_is_checked_on_the_parameter(content, connect):
    manager, root = content.authorizationManager, content.rootFolder
    role = manager.AddAuthorizationRole("creator", ["VirtualMachine.Inventory.Create", "System.View"])
    granted = vim.AuthorizationManager.Permission(
        principal="readonly@vsphere.local", group=False, roleId=role, propagate=True
    )
    try:
        manager.SetEntityPermissions(root, [granted])
        reader = connect("readonly@vsphere.local").content
        pool = reader.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources")
        folder = reader.searchIndex.FindByInventoryPath("Lab/vm/Test")
        with pytest.raises(vim.fault.NoPermission) as raised:
            folder.CreateVM_Task(vm_spec("x"), pool)
        assert (raised.value.privilegeId, raised.value.object) == ("Resource.AssignVMToPool", pool)
    finally:
        granted.roleId = -2
        manager.SetEntityPermissions(root, [granted])
        manager.RemoveAuthorizationRole(role, True)


def test_the_nearest_grant_wins(content, connect):
    manager = content.authorizationManager
    folder = content.searchIndex.FindByInventoryPath("Lab/vm/Test")
    granted = vim.AuthorizationManager.Permission(
        principal="VSPHERE.LOCAL\\readonly", group=False, roleId=-1, propagate=True
    )
    manager.SetEntityPermissions(folder, [granted])
    try:
        reader = connect("readonly@vsphere.local").content
        reader.searchIndex.FindByInventoryPath("Lab/vm/Test").CreateFolder("allowed").Destroy()
        with pytest.raises(vim.fault.NoPermission):
            reader.searchIndex.FindByInventoryPath("Lab/vm/Production").CreateFolder("denied")
    finally:
        manager.RemoveEntityPermission(folder, "readonly@vsphere.local", False)


def test_what_a_session_may_do_can_be_asked(as_backup):
    manager, key = as_backup.authorizationManager, as_backup.sessionManager.currentSession.key
    asked = ["VirtualMachine.State.CreateSnapshot", "Host.Config.Maintenance"]
    assert manager.HasPrivilegeOnEntity(as_backup.rootFolder, key, asked) == [True, False]
    (found,) = manager.FetchUserPrivilegeOnEntities([as_backup.rootFolder], "backup@vsphere.local")
    assert "VirtualMachine.Provisioning.DiskRandomRead" in found.privileges
    assert {role.name for role in manager.roleList} >= {"Admin", "ReadOnly", "Backup"}


def test_a_user_sees_only_what_a_grant_shows(content, connect):
    manager, root = content.authorizationManager, content.rootFolder
    folder = content.searchIndex.FindByInventoryPath("Lab/vm/Test")
    permission = vim.AuthorizationManager.Permission
    hidden = permission(principal="readonly@vsphere.local", group=False, roleId=-5, propagate=True)
    shown = permission(principal="readonly@vsphere.local", group=False, roleId=-2, propagate=True)
    manager.SetEntityPermissions(folder, [hidden])
    try:
        reader = connect("readonly@vsphere.local").content
        view = reader.viewManager.CreateContainerView(reader.rootFolder, [vim.VirtualMachine], True)
        spec = vmodl.query.PropertyCollector
        walk = spec.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
        wanted = spec.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])
        found = reader.propertyCollector.RetrieveContents(
            [spec.FilterSpec(objectSet=[spec.ObjectSpec(obj=view, skip=True, selectSet=[walk])], propSet=[wanted])]
        )
        assert len(found) == 6
        assert reader.searchIndex.FindByInventoryPath("Lab/vm/Test/twin") is None
        assert reader.searchIndex.FindByInventoryPath("Lab/vm/Production/twin") is not None
        twin = content.searchIndex.FindByInventoryPath("Lab/vm/Test/twin")
        with pytest.raises(vim.fault.NoPermission):
            _ = vim.VirtualMachine(twin._moId, reader.rootFolder._stub).name
    finally:
        manager.RemoveEntityPermission(folder, "readonly@vsphere.local", False)
        manager.SetEntityPermissions(root, [shown])
