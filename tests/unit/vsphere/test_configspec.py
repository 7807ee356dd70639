"""From a saved configuration to the ConfigSpec of a new VM, by the rules of the restore design document."""

from __future__ import annotations

import pytest

from vmkeep.errors import CorruptError, UsageError
from vmkeep.vsphere.api import deserialize, serialize, type_name, vim
from vmkeep.vsphere.configspec import SpecOptions, Surroundings, build, parse_config
from vmkeep.vsphere.luns import Lun
from vmkeep.vsphere.marks import VmMark
from vmkeep.vsphere.specdisks import PLACEHOLDER_BYTES

VERSION = "vim.version.v8_0_3_0"
DEVICE = vim.vm.device
HERE = Surroundings(datastore="plat004-local")


def options(**more):
    return SpecOptions(name="My New VM", **more)


def devices(built):
    return [change.device for change in built.spec.deviceChange]


def the(built, kind):
    (found,) = (device for device in devices(built) if isinstance(device, kind))
    return found


def disks(built):
    return [device for device in devices(built) if isinstance(device, DEVICE.VirtualDisk)]


def test_the_documents_sample_spec_comes_out(sample):
    spec = build(sample, options(), HERE).spec

    assert (spec.name, spec.version, spec.guestId) == ("My New VM", "vmx-04", "winNetStandardGuest")
    assert spec.alternateGuestName == "Microsoft Windows Server 2008, Enterprise Edition"
    assert (spec.numCPUs, spec.memoryMB) == (1, 256)
    assert spec.files.vmPathName == "[plat004-local]"
    assert spec.tools.afterPowerOn is True
    assert spec.tools.toolsVersion is None
    assert spec.flags.snapshotPowerOffBehavior == "powerOff"
    assert (spec.powerOpInfo.powerOffType, spec.powerOpInfo.standbyAction) == ("preset", "powerOnSuspend")
    assert spec.uuid is None
    assert spec.instanceUuid is None
    assert [type_name(change.device) for change in spec.deviceChange] == [
        "VirtualLsiLogicController",
        "VirtualDisk",
        "VirtualDisk",
        "VirtualCdrom",
        "VirtualPCNet32",
    ]
    assert all(change.operation == "add" for change in spec.deviceChange)


def test_the_samples_cdrom_is_kept_disconnected_on_its_default_controller(sample):
    cdrom = the(build(sample, options(), HERE), DEVICE.VirtualCdrom)

    assert (cdrom.controllerKey, cdrom.unitNumber) == (200, 0)
    assert isinstance(cdrom.backing, DEVICE.VirtualCdrom.RemotePassthroughBackingInfo)
    assert (cdrom.backing.deviceName, cdrom.backing.exclusive) == ("", False)
    connect = cdrom.connectable
    assert (connect.startConnected, connect.allowGuestControl, connect.connected) == (False, True, False)


def test_an_iso_that_is_still_there_stays_in_the_drive(sample):
    here = Surroundings(datastore="plat004-local", isos=frozenset({"[isos] windows.iso"}))

    backing = the(build(sample, options(), here), DEVICE.VirtualCdrom).backing

    assert isinstance(backing, DEVICE.VirtualCdrom.IsoBackingInfo)
    assert (backing.fileName, backing.datastore) == ("[isos] windows.iso", None)


def test_the_samples_controller_leaves_slots_and_children_to_vsphere(sample):
    controller = the(build(sample, options(), HERE), DEVICE.VirtualLsiLogicController)

    assert controller.key < 0
    assert (controller.controllerKey, controller.unitNumber, controller.scsiCtlrUnitNumber) == (None, None, None)
    assert (controller.busNumber, controller.sharedBus, list(controller.device)) == (0, "noSharing", [])


def test_the_samples_disks_refer_to_no_old_file(sample):
    built = build(sample, options(), HERE)
    controller = the(built, DEVICE.VirtualLsiLogicController)

    first, second = disks(built)

    assert (first.unitNumber, first.capacityInKB) == (0, 524288)
    assert (second.unitNumber, second.capacityInKB) == (1, 131072)
    for made in (first, second):
        assert made.controllerKey == controller.key
        backing = made.backing
        assert type_name(backing) == "VirtualDiskFlatVer2BackingInfo"
        assert (backing.fileName, backing.diskMode, backing.split, backing.writeThrough) == (
            "",
            "persistent",
            False,
            False,
        )
        unset = (backing.parent, backing.uuid, backing.changeId, backing.contentId, backing.datastore)
        assert unset == (None,) * 5
    creates = [change.fileOperation for change in built.spec.deviceChange]
    assert creates == [None, "create", "create", None, None]


def test_the_samples_network_card_gets_a_new_address(sample):
    card = the(build(sample, options(), HERE), DEVICE.VirtualPCNet32)

    assert (card.addressType, card.macAddress, card.wakeOnLanEnabled) == ("generated", None, True)
    assert (card.backing.deviceName, card.backing.network) == ("Virtual Machine Network", None)
    assert (card.controllerKey, card.unitNumber) == (None, None)
    assert (card.connectable.startConnected, card.connectable.status) == (True, None)


def test_the_same_identity_keeps_address_and_uuids(sample):
    built = build(sample, options(new_identity=False), HERE)
    card = the(built, DEVICE.VirtualPCNet32)

    assert (card.addressType, card.macAddress) == ("assigned", "00:50:56:aa:bb:cc")
    assert built.spec.uuid == sample.uuid
    assert built.spec.instanceUuid == sample.instanceUuid


def test_no_default_device_is_in_the_spec_and_all_keys_are_negative_and_different(sample):
    built = build(sample, options(), HERE)

    keys = [device.key for device in devices(built)]
    assert all(key < 0 for key in keys)
    assert len(set(keys)) == len(keys)
    kinds = {type_name(device) for device in devices(built)}
    assert not kinds & {
        "VirtualIDEController", "VirtualPS2Controller", "VirtualPCIController", "VirtualSIOController",
        "VirtualKeyboard", "VirtualVMCIDevice", "VirtualPointingDevice",
    }  # fmt: skip


def test_cpu_masks_become_additions(make_config):
    mask = vim.host.CpuIdInfo(level=1, ecx="----:----:----:----:----:----:----:--R-")
    spec = build(make_config(cpuFeatureMask=[mask]), options(), HERE).spec

    (item,) = spec.cpuFeatureMask
    assert item.operation == "add"
    assert item.info.ecx == mask.ecx


def test_change_tracking_is_off_while_the_disks_are_written(make_config):
    assert build(make_config(changeTrackingEnabled=True), options(), HERE).spec.changeTrackingEnabled is False


@pytest.fixture
def with_rdm(make_config, make_disk, make_flat, rdm_backing):
    return make_config(
        DEVICE.ParaVirtualSCSIController(key=1000, controllerKey=100, busNumber=0, sharedBus="physicalSharing"),
        make_disk(2000, 0, 1 << 30, make_flat("a"), controller=1000),
        make_disk(2001, 5, 64 << 30, rdm_backing),
    )


def test_a_physical_rdm_becomes_a_small_thin_placeholder_at_its_place(with_rdm):
    built = build(with_rdm, options(), HERE)

    placeholder = disks(built)[1]
    assert (placeholder.unitNumber, placeholder.capacityInBytes) == (5, PLACEHOLDER_BYTES)
    assert type_name(placeholder.backing) == "VirtualDiskFlatVer2BackingInfo"
    assert (placeholder.backing.thinProvisioned, placeholder.backing.diskMode) == (True, "persistent")
    assert any("placeholder" in note for note in built.notes)


def test_a_physical_rdm_is_left_out_when_asked(with_rdm):
    built = build(with_rdm, options(physical_rdm="omit"), HERE)

    assert [disk.unitNumber for disk in disks(built)] == [0]
    assert any("left out as asked" in note for note in built.notes)


def test_a_physical_rdm_is_mapped_to_the_lun_that_was_found(with_rdm):
    lun = Lun(device_name="naa.600", uuid="0200600", capacity=32 << 30)
    here = Surroundings(datastore="plat004-local", luns={2001: lun})

    mapping = disks(build(with_rdm, options(physical_rdm="lun"), here))[1]

    assert type_name(mapping.backing) == "VirtualDiskRawDiskMappingVer1BackingInfo"
    assert (mapping.backing.deviceName, mapping.backing.lunUuid) == ("naa.600", "0200600")
    assert (mapping.backing.compatibilityMode, mapping.backing.diskMode) == ("physicalMode", None)
    assert mapping.capacityInBytes == 32 << 30
    assert mapping.unitNumber == 5


def test_a_lun_has_to_be_named(with_rdm):
    with pytest.raises(UsageError, match="Hard disk 2: name the free LUN"):
        build(with_rdm, options(physical_rdm="lun"), HERE)


def test_an_unknown_choice_for_rdms_is_refused(with_rdm):
    with pytest.raises(UsageError, match="cannot become 'clone'"):
        build(with_rdm, options(physical_rdm="clone"), HERE)


def test_a_shared_bus_of_ordinary_disks_is_not_shared_any_more(with_rdm):
    built = build(with_rdm, options(), HERE)

    assert the(built, DEVICE.ParaVirtualSCSIController).sharedBus == "noSharing"
    assert any("not shared any more" in note for note in built.notes)


def test_a_virtual_rdm_becomes_an_ordinary_thin_disk_of_its_size(make_config, make_disk):
    backing = DEVICE.VirtualDisk.RawDiskMappingVer1BackingInfo(
        fileName="[a] b", deviceName="vml", lunUuid="1", compatibilityMode="virtualMode", diskMode="persistent"
    )
    controller = DEVICE.ParaVirtualSCSIController(key=1000, busNumber=0, sharedBus="noSharing")
    built = build(make_config(controller, make_disk(2000, 0, 1 << 30, backing)), options(), HERE)

    (made,) = disks(built)
    assert type_name(made.backing) == "VirtualDiskFlatVer2BackingInfo"
    assert (made.backing.thinProvisioned, made.capacityInBytes) == (True, 1 << 30)


def test_thin_stays_thin_and_thick_stays_thick(make_config, make_disk, make_flat):
    thick = DEVICE.VirtualDisk.FlatVer2BackingInfo(
        fileName="[a] b", diskMode="persistent", thinProvisioned=False, eagerlyScrub=True
    )
    controller = DEVICE.VirtualAHCIController(key=15000, busNumber=0)
    made = disks(
        build(
            make_config(
                controller,
                make_disk(16000, 0, 1 << 30, make_flat("a"), controller=15000),
                make_disk(16001, 1, 1 << 30, thick, controller=15000),
            ),
            options(),
            HERE,
        )
    )

    assert [(disk.backing.thinProvisioned, disk.backing.eagerlyScrub) for disk in made] == [(True, None), (False, True)]


def test_disks_go_to_the_datastores_named_for_them(sample):
    here = Surroundings(datastore="plat004-local", disk_datastores={2001: "fast one"})

    assert [disk.backing.fileName for disk in disks(build(sample, options(), here))] == ["", "[fast one]"]


@pytest.mark.parametrize(
    ("kind", "key", "first"),
    [
        ("VirtualLsiLogicSASController", 1000, 2000),
        ("VirtualBusLogicController", 1000, 2000),
        ("ParaVirtualSCSIController", 1003, 2048),
        ("VirtualAHCIController", 15000, 16000),
        ("VirtualNVMEController", 31000, 32000),
    ],
)
def test_disks_stay_on_their_kind_of_controller(make_config, make_disk, make_flat, kind, key, first):
    extra = {"sharedBus": "noSharing"} if "SCSI" in kind or "Logic" in kind else {}
    controller = getattr(DEVICE, kind)(key=key, busNumber=key % 1000 % 10, controllerKey=100, **extra)
    config = make_config(make_disk(first, 2, 1 << 30, make_flat("a"), controller=key), controller)

    built = build(config, options(), HERE)

    (made,) = disks(built)
    (owner,) = (device for device in devices(built) if device.key == made.controllerKey)
    assert (type_name(owner), owner.busNumber, made.unitNumber) == (kind, key % 1000 % 10, 2)


def test_an_ide_disk_hangs_on_the_real_key_of_the_default_controller(make_config, make_disk, make_flat):
    (made,) = disks(build(make_config(make_disk(3001, 1, 1 << 30, make_flat("a"), controller=201)), options(), HERE))

    assert (made.controllerKey, made.unitNumber) == (201, 1)


def test_what_depends_on_the_old_host_is_left_out_and_said(make_config):
    passthrough = DEVICE.VirtualPCIPassthrough(
        key=13000, controllerKey=100, deviceInfo=vim.Description(label="PCI device 0", summary="")
    )
    built = build(
        make_config(passthrough, managedBy=vim.ext.ManagedByInfo(extensionKey="x", type="y")), options(), HERE
    )

    assert devices(built) == []
    assert any("PCI device 0: left out" in note for note in built.notes)
    assert any("extension that manages it" in note for note in built.notes)


def test_advanced_settings_are_kept_without_those_of_the_old_vm(make_config):
    settings = {
        "guestinfo.role": "db",
        "ethernet0.pciSlotNumber": "33",
        "nvram": "old.nvram",
        "scsi0:0.ctkEnabled": "TRUE",
        "scsi0:0.redo": "",
        "vmkeep.run": "another run",
        "vmkeep.restoring": "a third one",
        "vmkeep.repository": "another repository",
    }
    extra = [vim.option.OptionValue(key=key, value=value) for key, value in settings.items()]
    spec = build(make_config(extraConfig=extra), options(mark=VmMark(run="r/1", made=True)), HERE).spec

    assert {item.key: item.value for item in spec.extraConfig} == {
        "guestinfo.role": "db",
        "ethernet0.pciSlotNumber": "33",
        "vmkeep.run": "r/1",
    }


def test_the_boot_order_waits_for_the_new_keys(make_config):
    order = [vim.vm.BootOptions.BootableDiskDevice(deviceKey=2000)]
    boot = vim.vm.BootOptions(bootDelay=5, efiSecureBootEnabled=True, bootOrder=order)

    built = build(make_config(bootOptions=boot), options(), HERE)

    assert (built.spec.bootOptions.bootDelay, list(built.spec.bootOptions.bootOrder)) == (5, [])
    assert [item.deviceKey for item in built.boot_order] == [2000]


def test_a_configuration_survives_its_way_through_xml(sample):
    xml = serialize(sample, VERSION)

    parsed = parse_config(xml)

    assert serialize(parsed, VERSION) == xml
    assert serialize(build(parsed, options(), HERE).spec, VERSION) == serialize(
        build(sample, options(), HERE).spec, VERSION
    )


def test_the_spec_itself_can_be_sent(sample):
    text = serialize(build(sample, options(), HERE).spec, VERSION)

    assert deserialize(text, vim.vm.ConfigSpec).name == "My New VM"


@pytest.mark.parametrize("text", ["", "no xml", "<obj/>", "<obj xmlns='urn:vim25'><name>cut"])
def test_a_damaged_configuration_is_an_error_that_says_so(text):
    with pytest.raises(CorruptError, match="the saved VM configuration"):
        parse_config(text)
