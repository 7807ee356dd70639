"""CreateVM_Task: every controller, temporary keys, raw device mappings, and what vSphere refuses."""

import pytest
from pyVmomi import vim, vmodl

from tests.integration.vmlab_soap.specs import Device, Disk, added, disks_of, flat, new_disk, vm_spec

CONTROLLERS = [
    (Device.VirtualLsiLogicController, {"sharedBus": "noSharing"}, 1000, 2001),
    (Device.VirtualLsiLogicSASController, {"sharedBus": "noSharing"}, 1000, 2001),
    (Device.VirtualBusLogicController, {"sharedBus": "noSharing"}, 1000, 2001),
    (Device.ParaVirtualSCSIController, {"sharedBus": "noSharing"}, 1000, 2001),
    (Device.VirtualAHCIController, {}, 15000, 16001),
    (Device.VirtualNVMEController, {}, 31000, 32001),
]


@pytest.fixture
def create(content, run):
    made = []

    def make(spec, folder="Test"):
        place = content.searchIndex.FindByInventoryPath(f"Lab/vm/{folder}")
        pool = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources")
        vm = run(place.CreateVM_Task(spec, pool))
        made.append(vm)
        return vm

    yield make
    for vm in made:
        run(vm.Destroy())


@pytest.mark.parametrize(
    ("kind", "fields", "key", "disk_key"), CONTROLLERS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_disk_can_sit_on_every_kind_of_controller(create, kind, fields, key, disk_key):
    vm = create(vm_spec("ctl", added(kind(key=-5, busNumber=0, **fields)), new_disk(-5, unit=1)))
    devices = {device.key: device for device in vm.config.hardware.device}
    assert isinstance(devices[key], kind)
    assert devices[disk_key].controllerKey == key
    assert devices[disk_key].unitNumber == 1
    assert list(devices[key].device) == [disk_key]


def test_a_disk_can_sit_on_the_default_ide_controller(create):
    (disk,) = disks_of(create(vm_spec("ide", new_disk(201, unit=0))))
    assert (disk.key, disk.controllerKey, disk.unitNumber) == (3002, 201, 0)


def test_units_are_assigned_past_the_reserved_one(create):
    controller = added(Device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing"))
    disks = [new_disk(-1, key=-10 - n, mib=1) for n in range(9)]
    vm = create(vm_spec("nine", controller, *disks))
    assert [disk.unitNumber for disk in disks_of(vm)] == [0, 1, 2, 3, 4, 5, 6, 8, 9]


def test_the_order_of_devices_in_a_spec_does_not_matter(create):
    vm = create(
        vm_spec(
            "order",
            new_disk(-1, unit=0),
            added(Device.VirtualLsiLogicController(key=-1, busNumber=2, sharedBus="noSharing")),
        )
    )
    (disk,) = disks_of(vm)
    assert (disk.controllerKey, disk.key) == (1002, 2032)


def test_the_sample_spec_of_the_restore_paper_makes_a_vm(create):
    """CD-ROM on a default controller, LSI Logic, PCNet32, two disks, a CPU mask: all with temporary keys."""
    passthrough = Device.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", exclusive=False, useAutoDetect=False)
    network = Device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    mask = vim.vm.ConfigSpec.CpuIdInfoSpec(
        operation="add", info=vim.host.CpuIdInfo(level=1, eax="----:----:----:----:----:----:----:----")
    )
    spec = vm_spec(
        "My New VM",
        added(Device.VirtualCdrom(key=-42, controllerKey=200, unitNumber=0, backing=passthrough)),
        added(Device.VirtualLsiLogicController(key=-44, busNumber=0, sharedBus="noSharing")),
        added(Device.VirtualPCNet32(key=-48, backing=network, addressType="generated")),
        new_disk(-44, unit=0, key=-1000000),
        new_disk(-44, unit=1, key=-100),
        version="vmx-04", cpuFeatureMask=[mask],
    )  # fmt: skip
    vm = create(spec)
    keys = [device.key for device in vm.config.hardware.device]
    assert keys[-5:] == [1000, 3000, 4000, 2000, 2001]
    assert [disk.backing.fileName for disk in disks_of(vm)] == [
        "[datastore1] My New VM/My New VM.vmdk", "[datastore1] My New VM/My New VM_1.vmdk",
    ]  # fmt: skip
    assert vm.config.cpuFeatureMask[0].level == 1
    assert vm.network[0].name == "VM Network"


def test_a_new_vm_has_its_files_on_the_datastore(create, lab):
    vm = create(vm_spec("files", new_disk(200, unit=0, mib=2)))
    folder = lab.folder / "datastores" / "datastore1" / "files"
    assert {path.name for path in folder.iterdir()} == {"files.vmx", "files.nvram", "files.vmdk", "files-flat.vmdk"}
    assert 'displayName = "files"' in (folder / "files.vmx").read_text()
    assert vm.config.files.vmPathName == "[datastore1] files/files.vmx"


def scsi(key=-1, bus=0):
    return added(Device.ParaVirtualSCSIController(key=key, busNumber=bus, sharedBus="noSharing"))


REFUSED = {
    "default device": ([added(Device.VirtualIDEController(key=-9, busNumber=0))], vim.fault.InvalidDeviceSpec),
    "keyboard": ([added(Device.VirtualKeyboard(key=-9))], vim.fault.InvalidDeviceSpec),
    "duplicate unit": ([scsi(), new_disk(-1, 0, key=-2), new_disk(-1, 0, key=-3)], vim.fault.InvalidDeviceSpec),
    "reserved unit": ([scsi(), new_disk(-1, 7)], vim.fault.InvalidDeviceSpec),
    "duplicate bus": ([scsi(), scsi(key=-2)], vim.fault.InvalidDeviceSpec),
    "no capacity": ([scsi(), new_disk(-1, 0, mib=0)], vim.fault.InvalidDeviceSpec),
    "unknown controller": ([new_disk(-77, 0)], vim.fault.InvalidController),
    "no controller": ([new_disk(None, 0)], vim.fault.InvalidController),
    "missing file": (
        [scsi(), added(Disk(key=-2, controllerKey=-1, unitNumber=0, backing=flat("[datastore1] no/no.vmdk")))],
        vim.fault.FileNotFound,
    ),
    "list of devices": (
        [added(Device.VirtualAHCIController(key=-1, busNumber=0, device=[3]))],
        vim.fault.InvalidDeviceSpec,
    ),
    "existing file": (
        [scsi(), new_disk(-1, 0, file_name="[datastore1] app01/app01.vmdk")],
        vim.fault.FileAlreadyExists,
    ),
    "unknown datastore": ([scsi(), new_disk(-1, 0, file_name="[nowhere] a/a.vmdk")], vim.fault.InvalidDatastore),
    "way out": ([scsi(), new_disk(-1, 0, file_name="[datastore1] ../../x.vmdk")], vim.fault.InvalidDatastorePath),
}


@pytest.mark.parametrize("changes", REFUSED, ids=str)
def test_a_spec_that_vsphere_refuses_is_refused_and_leaves_nothing(create, lab, changes):
    devices, fault = REFUSED[changes]
    with pytest.raises(fault):
        create(vm_spec("refused", *devices))
    assert not (lab.folder / "datastores" / "datastore1" / "refused").exists()
    assert all(vm["name"] != "refused" for vm in lab.state()["vms"])


def test_a_backing_with_a_parent_is_refused(create):
    backing = flat()
    backing.parent = flat("[datastore1] app01/app01.vmdk")
    disk = Disk(key=-2, controllerKey=-1, unitNumber=0, capacityInKB=1024, backing=backing)
    with pytest.raises(vim.fault.InvalidDeviceBacking):
        create(vm_spec("refused", scsi(), added(disk, "create")))


def test_a_name_that_is_there_is_a_duplicate(create):
    with pytest.raises(vim.fault.DuplicateName) as raised:
        create(vm_spec("twin"))
    assert raised.value.name == "twin"
    assert isinstance(raised.value.object, vim.VirtualMachine)


def test_a_failed_disk_takes_the_earlier_ones_with_it(create, lab):
    changes = [scsi(), new_disk(-1, 0, key=-2), new_disk(-1, 1, key=-3, file_name="[datastore1] app01/app01.vmdk")]
    with pytest.raises(vim.fault.FileAlreadyExists):
        create(vm_spec("half", *changes))
    assert not (lab.folder / "datastores" / "datastore1" / "half").exists()


def test_a_thick_disk_needs_the_space_and_a_thin_one_does_not(create, lab):
    lab.settings(capacities={"datastore2": 64 << 20})
    try:
        with pytest.raises(vim.fault.NoDiskSpace):
            create(vm_spec("thick", scsi(), new_disk(-1, 0, mib=100, thin=False), datastore="datastore2"))
        create(vm_spec("thin", scsi(), new_disk(-1, 0, mib=100), datastore="datastore2"))
    finally:
        lab.settings(capacities={"datastore2": 2 << 40})


def rdm(lun, mode, **names):
    backing = Disk.RawDiskMappingVer1BackingInfo(
        fileName="", diskMode="persistent", compatibilityMode=mode, lunUuid=lun.uuid, deviceName=lun.canonicalName
    )
    for name, value in names.items():
        setattr(backing, name, value)
    return added(Disk(key=-8, controllerKey=-1, unitNumber=1, backing=backing), "create")


@pytest.fixture
def target(content):
    cluster = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1")
    listed = cluster.environmentBrowser.QueryConfigTarget
    return lambda: [info.disk for info in listed().scsiDisk if not info.vm]


@pytest.mark.parametrize("mode", ["physicalMode", "virtualMode"])
def test_a_free_lun_can_be_mapped_in_both_modes_once(create, target, mode):
    luns = target()
    assert len(luns) == 2
    vm = create(vm_spec("rdm", scsi(), rdm(luns[0], mode)))
    (disk,) = disks_of(vm)
    assert (disk.backing.lunUuid, disk.backing.compatibilityMode) == (luns[0].uuid, mode)
    assert disk.capacityInBytes == luns[0].capacity.block * 512
    assert [lun.uuid for lun in target()] == [luns[1].uuid]
    with pytest.raises(vim.fault.ResourceInUse):
        create(vm_spec("rdm2", scsi(), rdm(luns[0], mode)))


def test_a_lun_in_use_is_listed_with_the_vm_that_maps_it(content, create):
    browser = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1").environmentBrowser
    free = next(info.disk for info in browser.QueryConfigTarget().scsiDisk if not info.vm)
    vm = create(vm_spec("user", scsi(), rdm(free, "virtualMode")))
    users = {info.disk.uuid: list(info.vm) for info in browser.QueryConfigTarget().scsiDisk}
    assert users[free.uuid] == [vm]


def test_a_host_tells_the_partitions_of_a_lun(content):
    host = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/esx01.localhost")
    offered = host.parent.environmentBrowser.QueryConfigTarget(host).scsiDisk
    ask = host.configManager.storageSystem.RetrieveDiskPartitionInfo

    answers = ask([info.disk.devicePath for info in offered])

    assert [answer.deviceName for answer in answers] == [info.disk.devicePath for info in offered]
    assert [answer.spec.partitionFormat for answer in answers] == ["mbr", "unknown", "unknown"]
    assert [bool(answer.spec.partition) for answer in answers] == [True, False, False]
    assert [answer.spec.totalSectors for answer in answers] == [info.disk.capacity.block for info in offered]
    assert ask(["/vmfs/devices/disks/naa.0"]) == []


def test_only_the_names_of_the_config_target_work(create, target, content):
    host = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/esx01.localhost")
    lun, own = target()[0], host.config.storageDevice.scsiLun[1]
    assert {lun.uuid, lun.canonicalName}.isdisjoint({own.uuid, own.canonicalName})
    for wrong in ({"lunUuid": own.uuid}, {"deviceName": own.canonicalName}):
        with pytest.raises(vim.fault.InvalidDeviceBacking):
            create(vm_spec("wrong", scsi(), rdm(lun, "physicalMode", **wrong)))


def test_a_card_names_its_network_by_reference_too(create):
    network = Device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    vm = create(vm_spec("card", added(Device.VirtualVmxnet3(key=-1, backing=network, addressType="generated"))))
    (card,) = (device for device in vm.config.hardware.device if isinstance(device, Device.VirtualEthernetCard))
    assert card.backing.network == vm.network[0]


@pytest.mark.parametrize("name", ["memoryAllocation", "cpuAllocation"])
def test_an_overhead_limit_is_refused(create, lab, name):
    with pytest.raises(vmodl.fault.InvalidArgument) as raised:
        create(vm_spec("refused", **{name: vim.ResourceAllocationInfo(overheadLimit=73)}))
    assert raised.value.invalidProperty == f"configSpec.{name}.overheadLimit"
    assert not (lab.folder / "datastores" / "datastore1" / "refused").exists()


def test_a_swap_file_is_placed_only_by_those_who_may(content, connect):
    manager = content.authorizationManager
    folder = content.searchIndex.FindByInventoryPath("Lab/vm/Test")
    held = next(role for role in manager.roleList if role.name == "Backup").privilege
    without = [name for name in held if name != "VirtualMachine.Config.SwapPlacement" and not name.startswith("System")]
    role = manager.AddAuthorizationRole("no swap files", without)
    granted = vim.AuthorizationManager.Permission(
        principal="backup@vsphere.local", group=False, roleId=role, propagate=True
    )
    manager.SetEntityPermissions(folder, [granted])
    try:
        limited = connect("backup@vsphere.local").RetrieveContent()
        pool = limited.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources")
        with pytest.raises(vim.fault.NoPermission) as raised:
            limited.searchIndex.FindByInventoryPath("Lab/vm/Test").CreateVM_Task(
                vm_spec("refused", swapPlacement="inherit"), pool
            )
        assert raised.value.privilegeId == "VirtualMachine.Config.SwapPlacement"
    finally:
        manager.RemoveEntityPermission(folder, "backup@vsphere.local", False)
        manager.RemoveAuthorizationRole(role, True)


@pytest.fixture
def key(content):
    """A key of a provider of this vCenter."""
    kinds, manager = vim.encryption, content.cryptoManager
    provider = kinds.KeyProviderId(id="kms")
    if provider.id not in [cluster.clusterId.id for cluster in manager.ListKmsClusters()]:
        manager.RegisterKmsCluster(provider)
    return manager.GenerateKey(provider).keyId


def tpm():
    return added(Device.VirtualTPM(key=-9))


def encrypted_with(key):
    return vim.encryption.CryptoSpecEncrypt(cryptoKeyId=key)


def test_a_key_is_there_until_it_is_removed(content, key):
    ask = content.cryptoManager.QueryCryptoKeyStatus
    assert [status.keyAvailable for status in ask([key], 1)] == [True]
    (result,) = content.cryptoManager.RemoveKeys([key], False)
    assert result.success
    assert [status.keyAvailable for status in ask([key], 1)] == [False]


def test_a_tpm_needs_efi_and_encryption(create, key):
    for fields in ({}, {"firmware": "efi"}, {"crypto": encrypted_with(key)}):
        with pytest.raises(vim.fault.InvalidVmConfig):
            create(vm_spec("refused", tpm(), **fields))
    vm = create(vm_spec("secure", tpm(), firmware="efi", crypto=encrypted_with(key)))
    assert vm.config.keyId.keyId == key.keyId
    assert [item.key for item in vm.config.extraConfig if item.key == "encryption.bundle"]


def test_an_encrypted_vm_needs_a_key_that_is_known_and_a_bundle_that_the_key_opens(create, key, content):
    other = content.cryptoManager.GenerateKey(key.providerId).keyId
    bundle = [
        item for item in create(vm_spec("first", crypto=encrypted_with(key))).config.extraConfig
        if item.key == "encryption.bundle"
    ]  # fmt: skip
    unknown = vim.encryption.CryptoKeyId(keyId="unknown", providerId=key.providerId)
    for crypto, extra in ((encrypted_with(unknown), []), (encrypted_with(other), bundle), (None, bundle)):
        with pytest.raises(vmodl.fault.InvalidArgument):
            create(vm_spec("refused", crypto=crypto, extraConfig=extra))
    create(vm_spec("second", crypto=encrypted_with(key), extraConfig=bundle))


def test_a_vm_does_not_start_with_an_nvram_that_it_cannot_read(create, key, run, lab):
    store = lab.folder / "datastores" / "datastore1"
    create(vm_spec("sealed", crypto=encrypted_with(key)))
    plain = create(vm_spec("plain"))
    (store / "plain" / "plain.nvram").write_bytes((store / "sealed" / "sealed.nvram").read_bytes())
    with pytest.raises(vim.fault.GenericVmConfigFault):
        run(plain.PowerOn())
    (store / "plain" / "plain.nvram").unlink()
    run(plain.PowerOn())
    run(plain.PowerOff())


def test_an_encrypted_disk_needs_an_encrypted_vm(create, key):
    def disk():
        change = new_disk(-1, 0)
        change.backing = Device.VirtualDeviceSpec.BackingSpec(crypto=encrypted_with(key))
        return change

    with pytest.raises(vim.fault.InvalidDeviceSpec):
        create(vm_spec("refused", scsi(), disk()))
    (made,) = disks_of(create(vm_spec("sealed disk", scsi(), disk(), crypto=encrypted_with(key))))
    assert made.backing.keyId.keyId == key.keyId
