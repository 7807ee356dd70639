"""Scripts that people write with pyVmomi to change VMs: power, snapshots, devices, boot order, notes, own attributes.

Written after the kinds of the community's samples, each on a VM of its own.
"""

import http.client
import ssl
from itertools import count
from urllib.parse import quote

import pytest
from pyVmomi import vim, vmodl

from tests.integration.vmlab_soap.specs import Device, added, disks_of, flat, new_disk, vm_spec
from tests.patience import HANG

numbers = count(1)
Change = Device.VirtualDeviceSpec


@pytest.fixture
def vm(content, run):
    """A VM with a disk, a network card and an empty CD-ROM drive."""
    index, name = content.searchIndex, f"scripted{next(numbers)}"
    folder, pool = index.FindByInventoryPath("Lab/vm/Test"), index.FindByInventoryPath("Lab/host/Cluster1/Resources")
    spec = vm_spec(
        name,
        added(Device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")),
        new_disk(-1, 0),
        added(card("VM Network")),
        added(drive(200)),
    )
    made = run(folder.CreateVM_Task(spec, pool, None))
    yield made
    if index.FindByInventoryPath(f"Lab/vm/Test/{name}") is not None:
        if made.runtime.powerState != "poweredOff":
            run(made.PowerOffVM_Task())
        run(made.Destroy_Task())


def card(network, key=-60):
    backing = Device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network)
    return Device.VirtualVmxnet3(key=key, backing=backing, addressType="generated")


def drive(controller):
    backing = Device.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", useAutoDetect=False, exclusive=False)
    connect = Device.VirtualDevice.ConnectInfo(startConnected=False, allowGuestControl=True, connected=False)
    return Device.VirtualCdrom(key=-50, controllerKey=controller, unitNumber=0, backing=backing, connectable=connect)


def of_kind(vm, kind):
    return [device for device in vm.config.hardware.device if isinstance(device, kind)]


def edited(device):
    return vim.vm.ConfigSpec(deviceChange=[Change(operation="edit", device=device)])


def removed(device, files=None):
    return vim.vm.ConfigSpec(deviceChange=[Change(operation="remove", fileOperation=files, device=device)])


# -- power ------------------------------------------------------------------------------------------------------------


def test_power_goes_through_its_states(vm, run):
    states = []
    for method in ("PowerOnVM_Task", "SuspendVM_Task", "PowerOnVM_Task", "ResetVM_Task", "PowerOffVM_Task"):
        run(getattr(vm, method)())
        states.append(vm.runtime.powerState)

    assert states == ["poweredOn", "suspended", "poweredOn", "poweredOn", "poweredOff"]


@pytest.mark.parametrize(("method", "running"), [
    ("PowerOnVM_Task", True), ("PowerOffVM_Task", False), ("SuspendVM_Task", False), ("ResetVM_Task", False),
])  # fmt: skip
def test_a_power_operation_in_the_wrong_state_tells_both_states(vm, run, method, running):
    if running:
        run(vm.PowerOnVM_Task())
    with pytest.raises(vim.fault.InvalidPowerState) as caught:
        run(getattr(vm, method)())

    assert caught.value.existingState == vm.runtime.powerState
    assert caught.value.requestedState in ("poweredOn", "poweredOff")


@pytest.mark.parametrize("method", ["ShutdownGuest", "RebootGuest", "StandbyGuest"])
def test_a_guest_without_tools_cannot_be_asked_to_go_down(vm, run, method):
    with pytest.raises(vim.fault.InvalidPowerState):
        getattr(vm, method)()
    run(vm.PowerOnVM_Task())
    with pytest.raises(vim.fault.ToolsUnavailable):
        getattr(vm, method)()


# -- snapshots --------------------------------------------------------------------------------------------------------


def names_of(trees):
    """The names of a snapshot tree, depth first."""
    return [name for tree in trees for name in (tree.name, *names_of(tree.childSnapshotList))]


def test_snapshots_are_made_listed_gone_back_to_and_removed(vm, run):
    first = run(vm.CreateSnapshot_Task("first", "before", False, False))
    run(vm.CreateSnapshot_Task("second", "after", False, True))
    assert names_of(vm.snapshot.rootSnapshotList) == ["first", "second"]
    assert vm.snapshot.rootSnapshotList[0].childSnapshotList[0].snapshot == vm.snapshot.currentSnapshot

    run(first.RevertToSnapshot_Task())
    assert vm.snapshot.currentSnapshot == first
    run(vm.CreateSnapshot_Task("branch", "", False, False))
    assert sorted(names_of(vm.snapshot.rootSnapshotList)) == ["branch", "first", "second"]

    first.RenameSnapshot("base", "")
    run(vm.RevertToCurrentSnapshot_Task())
    run(first.RemoveSnapshot_Task(False))
    assert "base" not in names_of(vm.snapshot.rootSnapshotList)
    run(vm.RemoveAllSnapshots_Task())
    assert vm.snapshot is None
    assert list(vm.rootSnapshot) == []


def test_without_a_snapshot_there_is_nothing_to_go_back_to(vm, run):
    with pytest.raises(vim.fault.NotFound):
        run(vm.RevertToCurrentSnapshot_Task())


# -- devices ----------------------------------------------------------------------------------------------------------


def test_a_disk_is_added_grown_and_taken_away_with_its_file(vm, run):
    (controller,) = of_kind(vm, Device.ParaVirtualSCSIController)
    run(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[new_disk(controller.key, 1)])))
    disk = disks_of(vm)[1]
    disk.capacityInKB *= 2
    run(vm.ReconfigVM_Task(edited(disk)))
    grown = disks_of(vm)[1].capacityInKB
    path = disks_of(vm)[1].backing.fileName
    run(vm.ReconfigVM_Task(removed(disks_of(vm)[1], "destroy")))

    assert grown == 16 * 1024
    assert len(disks_of(vm)) == 1
    assert path not in {file.name for file in vm.layoutEx.file}


def test_a_disk_is_taken_away_and_attached_again(vm, run):
    (disk,) = disks_of(vm)
    path = disk.backing.fileName
    run(vm.ReconfigVM_Task(removed(disk)))
    assert disks_of(vm) == []
    (controller,) = of_kind(vm, Device.ParaVirtualSCSIController)
    again = Device.VirtualDisk(key=-5, controllerKey=controller.key, unitNumber=0, capacityInKB=0, backing=flat(path))
    run(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[added(again)])))

    assert [one.backing.fileName for one in disks_of(vm)] == [path]


def test_a_network_card_is_added_moved_disconnected_and_taken_away(vm, run):
    run(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[added(card("Backup Network", -61))])))
    first, second = of_kind(vm, Device.VirtualVmxnet3)
    assert first.macAddress != second.macAddress
    assert {network.name for network in vm.network} == {"VM Network", "Backup Network"}

    second.backing = Device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    second.connectable = Device.VirtualDevice.ConnectInfo(
        startConnected=False, allowGuestControl=False, connected=False
    )
    run(vm.ReconfigVM_Task(edited(second)))
    assert {network.name for network in vm.network} == {"VM Network"}
    moved = of_kind(vm, Device.VirtualVmxnet3)[1]
    assert (moved.macAddress, moved.connectable.startConnected) == (second.macAddress, False)

    run(vm.ReconfigVM_Task(removed(moved)))
    assert [one.key for one in of_kind(vm, Device.VirtualVmxnet3)] == [first.key]


def test_an_iso_goes_into_the_drive_and_out_again(vm, run):
    (disc,) = of_kind(vm, Device.VirtualCdrom)
    folder = vm.config.files.vmPathName.rpartition("/")[0]
    disc.backing = Device.VirtualCdrom.IsoBackingInfo(fileName=f"{folder}/{vm.name}.vmx")
    run(vm.ReconfigVM_Task(edited(disc)))
    assert of_kind(vm, Device.VirtualCdrom)[0].backing.fileName.endswith(".vmx")
    disc.backing = Device.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", useAutoDetect=False, exclusive=False)
    run(vm.ReconfigVM_Task(edited(disc)))
    assert isinstance(of_kind(vm, Device.VirtualCdrom)[0].backing, Device.VirtualCdrom.RemotePassthroughBackingInfo)

    run(vm.ReconfigVM_Task(removed(of_kind(vm, Device.VirtualCdrom)[0])))
    assert of_kind(vm, Device.VirtualCdrom) == []


def test_a_device_that_is_not_there_cannot_be_changed(vm, run):
    (disk,) = disks_of(vm)
    disk.key = 2999
    for spec in (edited(disk), removed(disk)):
        with pytest.raises(vim.fault.InvalidDeviceSpec):
            run(vm.ReconfigVM_Task(spec))


# -- settings ---------------------------------------------------------------------------------------------------------


def test_the_boot_order_is_set_and_read(vm, run):
    order = [
        vim.vm.BootOptions.BootableDiskDevice(deviceKey=disks_of(vm)[0].key),
        vim.vm.BootOptions.BootableEthernetDevice(deviceKey=of_kind(vm, Device.VirtualVmxnet3)[0].key),
        vim.vm.BootOptions.BootableCdromDevice(),
    ]
    options = vim.vm.BootOptions(bootOrder=order, bootDelay=5000, enterBIOSSetup=True)
    run(vm.ReconfigVM_Task(vim.vm.ConfigSpec(bootOptions=options)))

    told = vm.config.bootOptions
    assert [type(device) for device in told.bootOrder] == [type(device) for device in order]
    assert (told.bootDelay, told.enterBIOSSetup) == (5000, True)
    assert told.bootOrder[0].deviceKey == disks_of(vm)[0].key


def test_notes_names_memory_and_extra_config_are_set_and_read(vm, run):
    keys = [vim.option.OptionValue(key="guestinfo.role", value="web")]
    spec = vim.vm.ConfigSpec(annotation="by a script\n☃", memoryMB=128, numCPUs=2, extraConfig=keys)
    run(vm.ReconfigVM_Task(spec))
    run(vm.Rename_Task(f"{vm.name} renamed"))
    name = vm.name
    run(vm.Rename_Task(name.removesuffix(" renamed")))

    assert name.endswith(" renamed")
    assert (vm.config.annotation, vm.config.hardware.memoryMB, vm.config.hardware.numCPU) == (
        "by a script\n☃", 128, 2,
    )  # fmt: skip
    assert {option.key: option.value for option in vm.config.extraConfig}["guestinfo.role"] == "web"
    assert vm.summary.config.annotation == vm.config.annotation


@pytest.fixture
def field(content):
    """A custom attribute of VMs."""
    made = content.customFieldsManager.AddFieldDefinition("Owner", vim.VirtualMachine)
    yield made
    if made.key in {one.key for one in content.customFieldsManager.field}:
        content.customFieldsManager.RemoveFieldDefinition(made.key)


def test_a_custom_attribute_is_defined_set_read_renamed_and_removed(content, vm, field):
    manager = content.customFieldsManager
    manager.SetField(vm, field.key, "ada")
    assert [(value.key, value.value) for value in vm.customValue] == [(field.key, "ada")]
    vm.SetCustomValue("Owner", "bob")
    assert [value.value for value in vm.value] == ["bob"]
    assert field.key in {one.key for one in vm.availableField}

    manager.RenameFieldDefinition(field.key, "Keeper")
    assert [one.name for one in manager.field] == ["Keeper"]
    manager.SetField(vm, field.key, "")
    assert list(vm.customValue) == []
    manager.SetField(vm, field.key, "eve")
    manager.RemoveFieldDefinition(field.key)
    assert (list(manager.field), list(vm.customValue), list(vm.availableField)) == ([], [], [])


def test_a_custom_attribute_is_for_its_type_and_its_name_is_its_own(content, vm, field):
    with pytest.raises(vim.fault.DuplicateName):
        content.customFieldsManager.AddFieldDefinition("Owner")
    with pytest.raises(vmodl.fault.InvalidArgument):
        content.customFieldsManager.SetField(vm.runtime.host, field.key, "ada")
    with pytest.raises(vmodl.fault.InvalidArgument):
        vm.SetCustomValue("Nobody's", "x")
    assert list(vm.runtime.host.availableField) == []


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [
    lambda vm: vm.CloneVM_Task(vm.parent, "copy", vim.vm.CloneSpec(location=vim.vm.RelocateSpec())),
    lambda vm: vm.ExportVm(),
    lambda vm: vm.UpgradeVM_Task("vmx-21"),
    lambda vm: vm.UpgradeTools_Task(None),
    lambda vm: vm.CreateSecondaryVM_Task(None),
    lambda vm: vm.AcquireTicket("webmks"),
    lambda vm: vm.MountToolsInstaller(),
    lambda vm: vm.runtime.host.ShutdownHost_Task(True),
    lambda vm: vm.runtime.host.parent.ReconfigureComputeResource_Task(vim.cluster.ConfigSpecEx(), True),
    lambda vm: vm.datastore[0].DestroyDatastore(),
    lambda vm: vm.resourcePool.ImportVApp(vim.vm.VmImportSpec(configSpec=vim.vm.ConfigSpec()), None, None),
])  # fmt: skip
def test_what_the_lab_does_not_do_is_refused_as_not_supported(vm, run, ask):
    with pytest.raises(vmodl.fault.NotSupported):
        run(ask(vm))


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_file_goes_up_and_down_with_the_session_s_cookie(content, lab, vm):
    store, path = vm.datastore[0].name, f"{vm.config.files.vmPathName.rpartition('] ')[2].rpartition('/')[0]}/note.txt"
    target = f"/folder/{quote(path)}?dcPath=Lab&dsName={quote(store)}"
    cookie = {"Cookie": content.rootFolder._stub.cookie}
    connection = http.client.HTTPSConnection(
        lab.host, lab.port, context=ssl.create_default_context(cafile=lab.info["certificate"]), timeout=HANG
    )
    answers = []
    for method, body, headers in (
        ("PUT", b"kept", cookie), ("GET", None, cookie), ("GET", None, {}), ("GET", None, {"Cookie": "x=y"}),
    ):  # fmt: skip
        connection.request(method, target, body=body, headers=headers)
        answer = connection.getresponse()
        answers.append((answer.status, answer.read()))
    connection.close()

    assert answers[0][0] in (200, 201)
    assert answers[1] == (200, b"kept")
    assert [status for status, _ in answers[2:]] == [401, 401]
