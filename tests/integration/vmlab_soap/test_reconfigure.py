"""ReconfigVM_Task and power operations."""

import pytest
from pyVmomi import vim, vmodl

from tests.integration.vmlab_soap.specs import Device, added, disks_of, new_disk, vm_spec

Spec = vim.vm.ConfigSpec


@pytest.fixture
def vm(content, run):
    folder = content.searchIndex.FindByInventoryPath("Lab/vm/Test")
    pool = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources")
    controller = added(Device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing"))
    made = run(folder.CreateVM_Task(vm_spec("subject", controller, new_disk(-1, 0)), pool))
    yield made
    if made.runtime.powerState == "poweredOn":
        run(made.PowerOff())
    run(made.Destroy())


def test_plain_fields_and_extra_config_are_set(vm, run):
    option = vim.option.OptionValue
    run(
        vm.Reconfigure(
            Spec(
                annotation="note",
                memoryMB=256,
                numCPUs=2,
                extraConfig=[option(key="a.b", value="1"), option(key="c", value="2")],
            )
        )
    )
    run(vm.Reconfigure(Spec(extraConfig=[option(key="c", value="")])))
    config = vm.config
    assert (config.annotation, config.hardware.memoryMB, config.hardware.numCPU) == ("note", 256, 2)
    known = {item.key: item.value for item in config.extraConfig}
    assert (known["a.b"], "c" in known) == ("1", False)
    assert vm.summary.config.memorySizeMB == 256


def test_a_disk_is_added_grown_and_removed_with_its_file(vm, run, lab):
    run(vm.Reconfigure(Spec(deviceChange=[new_disk(1000, None, mib=4)])))
    disk = disks_of(vm)[1]
    path = lab.folder / "datastores" / "datastore1" / "subject" / "subject_1-flat.vmdk"
    assert (disk.unitNumber, path.stat().st_size) == (1, 4 << 20)

    disk.capacityInKB, disk.capacityInBytes = 6 * 1024, None
    run(vm.Reconfigure(Spec(deviceChange=[Device.VirtualDeviceSpec(operation="edit", device=disk)])))
    assert (disks_of(vm)[1].capacityInBytes, path.stat().st_size) == (6 << 20, 6 << 20)

    remove = Device.VirtualDeviceSpec(operation="remove", fileOperation="destroy", device=disk)
    run(vm.Reconfigure(Spec(deviceChange=[remove])))
    assert len(disks_of(vm)) == 1
    assert not path.exists()


def test_a_disk_removed_without_destroying_can_be_attached_again(vm, run, lab):
    disk = disks_of(vm)[0]
    run(vm.Reconfigure(Spec(deviceChange=[Device.VirtualDeviceSpec(operation="remove", device=disk)])))
    assert disks_of(vm) == []
    back = added(
        Device.VirtualDisk(
            key=-1,
            controllerKey=1000,
            unitNumber=3,
            backing=Device.VirtualDisk.FlatVer2BackingInfo(fileName=disk.backing.fileName, diskMode="persistent"),
        )
    )
    run(vm.Reconfigure(Spec(deviceChange=[back])))
    assert (disks_of(vm)[0].unitNumber, disks_of(vm)[0].backing.uuid) == (3, disk.backing.uuid)


def test_what_cannot_be_is_refused_and_changes_nothing(vm, run):
    disk = disks_of(vm)[0]
    smaller = disks_of(vm)[0]
    smaller.capacityInBytes, smaller.capacityInKB = None, 1024
    unknown = disks_of(vm)[0]
    unknown.key = 2999
    edit = Device.VirtualDeviceSpec
    refused = [
        (edit(operation="edit", device=smaller), vim.fault.InvalidDeviceSpec),
        (edit(operation="edit", device=unknown), vim.fault.DeviceNotFound),
        (new_disk(1000, 0), vim.fault.InvalidDeviceSpec),
        (new_disk(1234, 0), vim.fault.InvalidController),
    ]
    for change, fault in refused:
        with pytest.raises(fault):
            run(vm.Reconfigure(Spec(annotation="changed", deviceChange=[change])))
    assert vm.config.annotation == ""
    assert [d.backing.fileName for d in disks_of(vm)] == [disk.backing.fileName]


def test_a_disk_under_a_snapshot_neither_grows_nor_is_destroyed(vm, run):
    run(vm.CreateSnapshot("s", "", False, False))
    disk = disks_of(vm)[0]
    disk.capacityInBytes = 16 << 20
    edit = Device.VirtualDeviceSpec
    for change in (edit(operation="edit", device=disk), edit(operation="remove", fileOperation="destroy", device=disk)):
        with pytest.raises(vim.fault.InvalidDeviceOperation):
            run(vm.Reconfigure(Spec(deviceChange=[change])))


def test_renaming_to_a_name_in_use_is_a_duplicate(vm, run):
    with pytest.raises(vim.fault.DuplicateName):
        run(vm.Reconfigure(Spec(name="twin")))
    with pytest.raises(vim.fault.DuplicateName):
        run(vm.Rename("twin"))
    run(vm.Rename("a/b"))
    assert vm.name == "a%2fb"
    run(vm.Rename("subject"))


def test_a_running_vm_takes_new_disks_on_scsi_only(vm, run):
    sata = added(Device.VirtualAHCIController(key=-9, busNumber=0))
    run(vm.PowerOn())
    with pytest.raises(vim.fault.InvalidPowerState):
        run(vm.Reconfigure(Spec(deviceChange=[sata, new_disk(-9, 0)])))
    run(vm.Reconfigure(Spec(deviceChange=[new_disk(1000, 9)])))
    assert len(disks_of(vm)) == 2


def test_power_goes_on_off_and_to_sleep(vm, run):
    run(vm.PowerOn())
    assert vm.runtime.bootTime is not None
    with pytest.raises(vim.fault.InvalidPowerState):
        run(vm.PowerOn())
    with pytest.raises(vim.fault.InvalidPowerState):
        run(vm.Destroy())
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.Unregister()
    with pytest.raises(vim.fault.InvalidPowerState):
        run(vm.Reconfigure(Spec(memoryMB=512)))
    with pytest.raises(vim.fault.ToolsUnavailable):
        vm.ShutdownGuest()
    run(vm.Suspend())
    assert vm.runtime.powerState == "suspended"
    run(vm.PowerOn())
    run(vm.Reset())
    run(vm.PowerOff())
    assert (vm.runtime.powerState, vm.summary.runtime.powerState) == ("poweredOff", "poweredOff")


def test_a_template_neither_runs_nor_has_snapshots(vm_at, run):
    template = vm_at("debian-template")
    assert template.config.template
    assert template.resourcePool is None
    with pytest.raises(vim.fault.InvalidState):
        run(template.PowerOn())
    with pytest.raises(vmodl.fault.NotSupported):
        run(template.CreateSnapshot("s", "", False, False))


def test_a_template_is_made_only_of_a_vm_that_is_off_and_has_no_snapshots(vm, run, content):
    snapshot = run(vm.CreateSnapshot("s", "", False, False))
    with pytest.raises(vim.fault.InvalidState):
        vm.MarkAsTemplate()
    run(snapshot.RemoveSnapshot_Task(False))
    vm.MarkAsTemplate()

    with pytest.raises(vim.fault.InvalidState):
        vm.MarkAsTemplate()
    with pytest.raises(vmodl.fault.NotSupported):
        run(vm.Reconfigure(Spec(annotation="no")))
    vm.MarkAsVirtualMachine(content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources"), None)
    run(vm.Reconfigure(Spec(annotation="yes")))


def test_an_overhead_limit_is_refused(vm, run):
    for name in ("memoryAllocation", "cpuAllocation"):
        limits = vim.ResourceAllocationInfo(reservation=0, overheadLimit=73)
        with pytest.raises(vmodl.fault.InvalidArgument) as raised:
            run(vm.Reconfigure(Spec(annotation="changed", **{name: limits})))
        assert raised.value.invalidProperty == f"configSpec.{name}.overheadLimit"
    assert vm.config.annotation == ""


def test_keys_of_advanced_settings_are_one_in_any_case(vm, run):
    option = vim.option.OptionValue
    run(vm.Reconfigure(Spec(extraConfig=[option(key="Some.Key", value="1")])))
    run(vm.Reconfigure(Spec(extraConfig=[option(key="some.key", value="2")])))
    assert [(item.key, item.value) for item in vm.config.extraConfig if item.key.lower() == "some.key"] == [
        ("Some.Key", "2")
    ]
    run(vm.Reconfigure(Spec(extraConfig=[option(key="SOME.KEY", value="")])))
    assert not [item for item in vm.config.extraConfig if item.key.lower() == "some.key"]


def generation(vm):
    return {item.key: item.value for item in vm.config.extraConfig if item.key.lower().startswith("vm.genid")}


def test_a_vm_gets_a_new_generation_id_only_when_the_old_one_was_taken_off(vm, run):
    assert generation(vm) == {}
    run(vm.PowerOn())
    first = generation(vm)
    run(vm.PowerOff())
    run(vm.PowerOn())
    run(vm.PowerOff())
    assert generation(vm) == first
    assert set(first) == {"vm.genid", "vm.genidX"}

    run(vm.Reconfigure(Spec(extraConfig=[vim.option.OptionValue(key=key.upper(), value="") for key in first])))
    assert generation(vm) == {}
    run(vm.PowerOn())
    assert set(generation(vm)) == set(first)
    assert not set(generation(vm).values()) & set(first.values())


def test_a_vm_that_ran_has_a_configuration_as_full_as_a_real_one(vm, run):
    run(vm.PowerOn())
    config = vm.config

    assert 50 <= len(config.extraConfig) <= 90
    assert len({item.key.lower() for item in config.extraConfig}) == len(config.extraConfig)
    assert config.memoryAllocation.overheadLimit
    for name in ("tools", "bootOptions", "cpuAllocation", "latencySensitivity", "deviceSwap", "numaInfo", "sgxInfo"):
        assert getattr(config, name) is not None, name
    assert (config.swapPlacement, config.flags.monitorType, config.defaultPowerOps.powerOffType) == (
        "inherit", "release", "soft",
    )  # fmt: skip
    run(vm.PowerOff())
    assert vm.config.memoryAllocation.overheadLimit


def test_an_outdated_change_version_is_refused(vm, run):
    version = vm.config.changeVersion
    run(vm.Reconfigure(Spec(annotation="one")))
    with pytest.raises(vim.fault.ConcurrentAccess):
        run(vm.Reconfigure(Spec(annotation="two", changeVersion=version)))
