"""Each part of a ConfigSpec, each property, each file and each disk that is opened needs a privilege of its own."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from pyVim.task import WaitForTask
from pyVmomi import VmomiSupport, vim, vmodl

from tests.integration.vmlab_soap.specs import added, disks_of, flat, new_disk, vm_spec
from vmlab.authority import SiteAuthority
from vmlab.lab import LabOptions, LabServer
from vmlab.managed.machine import disks
from vmlab.managed.provisioning.spec_rights import CHANGE_FIELDS
from vmlab.managed.site.calls import unchecked_methods
from vmlab.nfc import NfcError

Spec = vim.vm.ConfigSpec
Device = vim.vm.device
USER = "part@vsphere.local"


class Holder:
    """A user whose only role can be changed, as a session that is logged in."""

    def __init__(self, content, connect) -> None:
        self._manager = content.authorizationManager
        self.every = sorted(privilege.privId for privilege in self._manager.privilegeList)
        self._role = next((role.roleId for role in self._manager.roleList if role.name == "part"), None)
        if self._role is None:
            self._role = self._manager.AddAuthorizationRole("part", self.every)
            self.grant(content.rootFolder, self._role)
        self.content = connect(USER).content

    def grant(self, entity, role: int) -> None:
        permission = vim.AuthorizationManager.Permission(principal=USER, group=False, roleId=role, propagate=True)
        self._manager.SetEntityPermissions(entity, [permission])

    def hold(self, *names: str) -> None:
        self._manager.UpdateAuthorizationRole(self._role, "part", list(names))

    def lack(self, *names: str) -> None:
        self.hold(*(name for name in self.every if name not in names))

    def at(self, path: str):
        return self.content.searchIndex.FindByInventoryPath(path)


@pytest.fixture
def holder(content, connect) -> Holder:
    return Holder(content, connect)


def edited(device, **changes):
    for name, value in changes.items():
        setattr(device, name, value)
    return Device.VirtualDeviceSpec(operation="edit", device=device)


def resized(vm):
    disk = disks_of(vm)[0]
    return edited(disk, capacityInBytes=disk.capacityInBytes * 2, capacityInKB=disk.capacityInKB * 2)


def card(vm, **fields):
    backing = Device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    return added(Device.VirtualVmxnet3(key=-7, backing=backing, **fields))


def first(vm, kind):
    return next(device for device in vm.config.hardware.device if isinstance(device, kind))


PARTS = {
    "Config.AddExistingDisk": lambda vm: Spec(
        deviceChange=[added(Device.VirtualDisk(key=-1, controllerKey=1000, unitNumber=9, backing=flat("[d] x/x.vmdk")))]
    ),
    "Config.AddNewDisk": lambda vm: Spec(deviceChange=[new_disk(1000, 9)]),
    "Config.AddRemoveDevice": lambda vm: Spec(deviceChange=[card(vm)]),
    "Config.AdvancedConfig": lambda vm: Spec(extraConfig=[vim.option.OptionValue(key="a", value="b")]),
    "Config.Annotation": lambda vm: Spec(annotation="x"),
    "Config.CPUCount": lambda vm: Spec(numCPUs=2),
    "Config.ChangeTracking": lambda vm: Spec(changeTrackingEnabled=False),
    "Config.DiskExtend": lambda vm: Spec(deviceChange=[resized(vm)]),
    "Config.EditDevice": lambda vm: Spec(deviceChange=[edited(disks_of(vm)[0])]),
    "Config.HostUSBDevice": lambda vm: Spec(
        deviceChange=[added(Device.VirtualUSB(key=-1, backing=Device.VirtualUSB.USBBackingInfo(deviceName="u")))]
    ),
    "Config.ManagedBy": lambda vm: Spec(managedBy=vim.ext.ManagedByInfo(extensionKey="k", type="t")),
    "Config.Memory": lambda vm: Spec(memoryMB=1024),
    "Config.MksControl": lambda vm: Spec(maxMksConnections=1),
    "Config.RemoveDisk": lambda vm: Spec(
        deviceChange=[Device.VirtualDeviceSpec(operation="remove", device=disks_of(vm)[0])]
    ),
    "Config.Rename": lambda vm: Spec(name="other"),
    "Config.Resource": lambda vm: Spec(memoryAllocation=vim.ResourceAllocationInfo(reservation=1)),
    "Config.Settings": lambda vm: Spec(bootOptions=vim.vm.BootOptions(bootDelay=1)),
    "Config.SwapPlacement": lambda vm: Spec(swapPlacement="inherit"),
    "Config.UpgradeVirtualHardware": lambda vm: Spec(version="vmx-21"),
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_a_change_needs_its_own_privilege(holder, part):
    privilege = f"VirtualMachine.{part}"
    vm = holder.at("Lab/vm/Production/web01")
    holder.lack()
    spec = PARTS[part](vm)
    holder.lack(privilege)

    with pytest.raises(vim.fault.NoPermission) as raised:
        vm.ReconfigVM_Task(spec)

    assert (raised.value.privilegeId, raised.value.object) == (privilege, vm)


def test_every_field_of_a_spec_has_a_privilege():
    silent = {"changeVersion", "deviceChange", "dynamicType", "dynamicProperty"}

    assert set(CHANGE_FIELDS) == {info.name for info in Spec._GetPropertyList()} - silent


OPEN_TO_ALL = {
    "DestroyCollector", "DestroyPropertyFilter", "ModifyListView", "ReadNextEvents", "ReadNextTasks",
    "ReadPreviousEvents", "ReadPreviousTasks", "ResetCollector", "ResetListView", "RewindCollector",
    "SetCollectorPageSize", "RetrieveUserGroups",
}  # fmt: skip
"""Methods that a session calls on objects of its own."""


def test_a_method_whose_privilege_no_table_tells_has_a_check_of_its_own():
    def told(name: str) -> bool:
        info = VmomiSupport.GetWsdlMethod("urn:vim25", name).info
        return bool(info.privId or any(getattr(parameter, "privId", None) for parameter in info.params))

    assert {name for name in unchecked_methods() if not told(name)} - OPEN_TO_ALL == set()


def test_a_grant_that_does_not_propagate_is_of_its_object_alone(content, connect):
    manager, root, user = content.authorizationManager, content.rootFolder, "local@vsphere.local"
    granted = vim.AuthorizationManager.Permission(principal=user, group=False, roleId=-1, propagate=False)
    manager.SetEntityPermissions(root, [granted])
    mine = connect(user).content

    asked = ["Global.DisableMethods", "System.Read"]
    key = mine.sessionManager.currentSession.key
    assert manager.HasPrivilegeOnEntity(root, key, asked) == [True, True]
    assert manager.HasPrivilegeOnEntity(content.searchIndex.FindByInventoryPath("Lab"), key, asked) == [False, False]
    (kept,) = [found for found in manager.RetrieveEntityPermissions(root, False) if found.principal.endswith("local")]
    assert not kept.propagate
    manager.RemoveEntityPermission(root, user, False)


def test_a_privilege_that_no_vcenter_has_is_refused(content, holder):
    manager = content.authorizationManager
    with pytest.raises(vmodl.fault.InvalidArgument) as role:
        manager.AddAuthorizationRole("mistyped", ["VirtualMachine.State.MakeSnapshot"])
    with pytest.raises(vmodl.fault.InvalidArgument) as asked:
        manager.HasPrivilegeOnEntities([content.rootFolder], content.sessionManager.currentSession.key, ["No.Such"])

    assert (role.value.invalidProperty, asked.value.invalidProperty) == ("privIds", "privId")


def test_a_task_of_somebody_else_is_cancelled_with_the_privilege_alone(content, holder, lab, vm_at, run):
    vm = vm_at("Production/web01")
    task = vm.CreateSnapshot_Task("s", "", False, False)
    WaitForTask(task)
    run(vm.RemoveAllSnapshots_Task())
    holder.lack("Global.CancelTask")
    with pytest.raises(vim.fault.NoPermission) as raised:
        vim.Task(task._moId, holder.content.rootFolder._stub).CancelTask()
    assert raised.value.privilegeId == "Global.CancelTask"
    with pytest.raises(vim.fault.InvalidState):
        task.CancelTask()


NEW_PARTS = {
    "VirtualMachine.Inventory.Create": "Lab/vm/Test",
    "Resource.AssignVMToPool": "Lab/host/Cluster1/Resources",
    "Datastore.AllocateSpace": "Lab/datastore/datastore2",
    "Network.Assign": "Lab/network/VM Network",
    **{
        f"VirtualMachine.Config.{part}": "Lab/vm/Test"
        for part in ("AddNewDisk", "AddRemoveDevice", "AdvancedConfig", "Annotation", "CPUCount", "ChangeTracking",
                     "Memory", "MksControl", "Resource", "Settings", "SwapPlacement")
    },
}  # fmt: skip


def rich_spec():
    """A spec that sets something of each kind."""
    return vm_spec(
        "rich", new_disk(200, 0), card(None), datastore="datastore2", annotation="x", changeTrackingEnabled=False,
        swapPlacement="inherit", maxMksConnections=4, memoryAllocation=vim.ResourceAllocationInfo(reservation=0),
        extraConfig=[vim.option.OptionValue(key="a", value="b")],
    )  # fmt: skip


@pytest.mark.parametrize("privilege", NEW_PARTS)
def test_each_part_of_a_new_vm_needs_its_own_privilege(holder, privilege):
    holder.lack(privilege)

    with pytest.raises(vim.fault.NoPermission) as raised:
        holder.at("Lab/vm/Test").CreateVM_Task(rich_spec(), holder.at("Lab/host/Cluster1/Resources"))

    assert (raised.value.privilegeId, raised.value.object) == (privilege, holder.at(NEW_PARTS[privilege]))


def test_the_privileges_of_its_parts_are_enough_to_make_a_vm_and_to_delete_it(holder, run):
    holder.hold(*NEW_PARTS, "VirtualMachine.Inventory.Delete")

    made = run(holder.at("Lab/vm/Test").CreateVM_Task(rich_spec(), holder.at("Lab/host/Cluster1/Resources")))

    run(made.Destroy_Task())


def test_deleting_a_vm_needs_the_privilege_on_its_folder_too(content, holder):
    role = content.authorizationManager.AddAuthorizationRole("deletes", ["VirtualMachine.Inventory.Delete"])
    holder.hold()
    vm = holder.at("Lab/vm/Test/twin")
    holder.grant(vm, role)

    with pytest.raises(vim.fault.NoPermission) as raised:
        vm.Destroy_Task()

    assert raised.value.object == vm.parent
    content.authorizationManager.RemoveEntityPermission(vm, USER, False)


def properties(holder, managed, *paths):
    collector = vmodl.query.PropertyCollector
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=managed)],
        propSet=[collector.PropertySpec(type=type(managed), pathSet=list(paths))],
    )
    return holder.content.propertyCollector.RetrieveContents([spec])


@pytest.fixture
def only_twin(content, holder) -> Iterator[Holder]:
    """A user with a grant on one VM and none above it."""
    manager, root = content.authorizationManager, content.rootFolder
    holder.hold()
    holder.grant(holder.at("Lab/vm/Test/twin"), -2)
    manager.RemoveEntityPermission(root, USER, False)
    yield holder
    role = next(role.roleId for role in manager.roleList if role.name == "part")
    holder.grant(root, role)
    manager.RemoveEntityPermission(holder.at("Lab/vm/Test/twin"), USER, False)


def test_a_property_that_may_not_be_read_is_listed_as_missing_with_the_privilege(only_twin):
    folder = only_twin.at("Lab/vm/Test")

    (found,) = properties(only_twin, folder, "name", "overallStatus")

    assert [item.name for item in found.propSet] == ["name"]
    (missing,) = found.missingSet
    assert (missing.path, type(missing.fault), missing.fault.privilegeId) == (
        "overallStatus", vim.fault.NoPermission, "System.Read",
    )  # fmt: skip
    with pytest.raises(vim.fault.NoPermission):
        _ = folder.overallStatus


def test_what_lies_above_a_grant_is_seen_and_nothing_beside_it(only_twin):
    assert only_twin.at("Lab/vm/Test/twin").config.name == "twin"
    assert only_twin.at("Lab/vm/Test").name == "Test"
    assert only_twin.at("Lab/vm/Production") is None


def test_the_list_of_sessions_is_not_for_everybody(holder):
    holder.lack("Sessions.TerminateSession")

    (found,) = properties(holder, holder.content.sessionManager, "sessionList", "currentSession")

    assert [missing.path for missing in found.missingSet] == ["sessionList"]


@pytest.mark.parametrize("lacking", ["Datastore.Browse", "Datastore.FileManagement"])
def test_reading_a_file_needs_both_privileges_of_its_datastore(lab, holder, lacking):
    import http.client
    import ssl

    from tests.patience import HANG

    context = ssl.create_default_context(cafile=lab.info["certificate"])
    login = base64.b64encode(f"{USER}:{lab.password}".encode()).decode()

    def status() -> int:
        connection = http.client.HTTPSConnection(lab.host, lab.port, context=context, timeout=HANG)
        target = "/folder/old01/old01.vmx?dcPath=Lab&dsName=datastore2"
        connection.request("GET", target, headers={"Authorization": f"Basic {login}"})
        answer = connection.getresponse().status
        connection.close()
        return answer

    holder.lack()
    assert status() == 200
    holder.lack(lacking)
    assert status() == 403


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A lab in this process: what opens disks can be asked without the library."""
    running = LabServer(LabOptions(folder=tmp_path_factory.mktemp("opening"), data_disk_bytes=32 << 20))
    running.start()
    yield running
    running.stop()


def open_as(server: LabServer, privileges: list[str], *, read_only: bool = True, encrypted: bool = False) -> None:
    """Open old01's disk as a user with these privileges everywhere."""
    world = server.site.world
    vm = next(ref for ref in world.all(vim.VirtualMachine) if world.get(ref, "name") == "old01")
    config = world.get(vm, "config")
    with world.transaction():
        config.keyId = vim.encryption.CryptoKeyId(keyId="k") if encrypted else None
        world.update(vm, config=config)
        world.set_meta("roles", [[7777, "opener", privileges]])
        world.set_meta("grants", {**world.meta("grants"), USER: {"group-d1": 7777}})
    SiteAuthority(server.site, "").open_disk(
        user=USER, password=str(server.describe()["password"]), cookie=None, vmx_spec=f"moref={vm._moId}",
        snapshot_ref=None, path=disks(config)[0].backing.fileName, read_only=read_only, transports="nbdssl",
    )  # fmt: skip


READING = [
    "VirtualMachine.Provisioning.DiskRandomRead", "VirtualMachine.Provisioning.GetVmFiles",
    "VirtualMachine.Config.DiskLease",
]  # fmt: skip
WRITING = [
    "VirtualMachine.Provisioning.DiskRandomAccess", "VirtualMachine.Provisioning.PutVmFiles",
    "VirtualMachine.Config.DiskLease",
]  # fmt: skip


@pytest.mark.parametrize(("names", "read_only"), [(READING, True), (WRITING, False)], ids=["reading", "writing"])
def test_a_disk_is_opened_with_all_of_its_privileges_and_with_none_less(server, names, read_only):
    open_as(server, names, read_only=read_only)
    for name in names:
        with pytest.raises(NfcError, match=f"lacks {name}") as raised:
            open_as(server, [other for other in names if other != name], read_only=read_only)
        assert raised.value.code == 13


def test_a_disk_of_an_encrypted_vm_needs_access_to_its_key(server):
    with pytest.raises(NfcError, match=r"lacks Cryptographer\.Access"):
        open_as(server, READING, encrypted=True)
    open_as(server, [*READING, "Cryptographer.Access"], encrypted=True)
