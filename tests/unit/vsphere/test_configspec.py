"""From a saved configuration to the ConfigSpec of a new VM, by the rules of the restore design document."""

from __future__ import annotations

import pytest

from vmkeep.errors import CorruptError, UnsupportedError, UsageError
from vmkeep.vsphere.api import deserialize, serialize, type_name, vim
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.configspec import SpecOptions, Surroundings, build, parse_config
from vmkeep.vsphere.lowering import require_lower
from vmkeep.vsphere.luns import Lun
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
    built = build(sample, options(new_identity=False, keep_addresses=True), HERE)
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


def test_one_disk_and_32_physical_rdms_come_back_at_their_places_in_a_new_vm(
    make_config, make_disk, make_flat, rdm_backing
):
    """A file server: each RDM is a small placeholder, so that the guest finds every disk where it was."""
    controllers = [
        DEVICE.ParaVirtualSCSIController(key=1000 + bus, controllerKey=100, busNumber=bus, sharedBus="noSharing")
        for bus in range(4)
    ]
    rdms = [
        make_disk(2016 + at, at % 11 + (at % 11 > 6), 1 << 40, rdm_backing, controller=1001 + at // 11)
        for at in range(32)
    ]
    saved = make_config(*controllers, make_disk(2000, 0, 8 << 30, make_flat("system")), *rdms)

    built = build(saved, options(), HERE)

    system, *placeholders = disks(built)
    assert (system.capacityInBytes, len(placeholders)) == (8 << 30, 32)
    assert {one.capacityInBytes for one in placeholders} == {PLACEHOLDER_BYTES}
    buses = {device.key: device.busNumber for device in devices(built) if hasattr(device, "busNumber")}
    assert [(buses[one.controllerKey], one.unitNumber) for one in placeholders] == [
        (one.controllerKey - 1000, one.unitNumber) for one in rdms
    ]
    assert len([note for note in built.notes if "a physical RDM, an empty placeholder" in note]) == 32


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


@pytest.mark.parametrize("word", ["lun:virtual", "auto:virtual"])
def test_a_physical_rdm_comes_back_in_virtual_mode_when_told(with_rdm, word):
    lun = Lun(device_name="naa.600", uuid="0200600", capacity=32 << 30)
    here = Surroundings(datastore="plat004-local", luns={2001: lun})

    built = build(with_rdm, options(rdms={2001: word}), here)

    backing = disks(built)[1].backing
    assert (backing.compatibilityMode, backing.diskMode) == ("virtualMode", "persistent")
    assert any("in virtual mode" in note for note in built.notes)


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


@pytest.fixture
def with_virtual_rdm(make_config, make_disk):
    backing = DEVICE.VirtualDisk.RawDiskMappingVer1BackingInfo(
        fileName="[a] b", deviceName="vml", lunUuid="1", compatibilityMode="virtualMode",
        diskMode="independent_persistent",
    )  # fmt: skip
    controller = DEVICE.ParaVirtualSCSIController(key=1000, busNumber=0, sharedBus="noSharing")
    return make_config(controller, make_disk(2000, 0, 1 << 30, backing))


@pytest.mark.parametrize(
    ("word", "thin", "scrub"),
    [(None, True, None), ("disk", True, None), ("disk:thick", False, None), ("disk:eager", False, True)],
)
def test_a_virtual_rdm_becomes_an_ordinary_disk_of_its_size_thin_unless_told(with_virtual_rdm, word, thin, scrub):
    built = build(with_virtual_rdm, options(rdms={2000: word} if word else {}), HERE)

    (made,) = disks(built)
    assert type_name(made.backing) == "VirtualDiskFlatVer2BackingInfo"
    assert (made.backing.thinProvisioned, made.backing.eagerlyScrub, made.capacityInBytes) == (thin, scrub, 1 << 30)
    assert made.backing.diskMode == "independent_persistent"


@pytest.mark.parametrize(
    ("word", "modes"),
    [("lun", ("virtualMode", "independent_persistent")), ("lun:physical", ("physicalMode", None))],
)
def test_a_virtual_rdm_is_mapped_to_a_lun_with_its_disk_mode_unless_in_physical_mode(with_virtual_rdm, word, modes):
    here = Surroundings(datastore="a", luns={2000: Lun(device_name="naa.6", uuid="02", capacity=1 << 30)})

    (made,) = disks(build(with_virtual_rdm, options(rdms={2000: word}), here))

    assert (made.backing.compatibilityMode, made.backing.diskMode) == modes


def test_a_virtual_rdm_is_left_out_or_held_by_a_placeholder_when_told(with_virtual_rdm):
    assert disks(build(with_virtual_rdm, options(rdms={2000: "omit"}), HERE)) == []
    (made,) = disks(build(with_virtual_rdm, options(rdms={2000: "placeholder"}), HERE))
    assert made.capacityInBytes == 16 << 20
    (made,) = disks(build(with_virtual_rdm, options(physical_rdm="omit"), HERE))
    assert made.capacityInBytes == 1 << 30, "a choice for all physical RDMs is none for a virtual one"


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
    built = build(make_config(passthrough), options(), HERE)

    assert devices(built) == []
    assert any("PCI device 0: left out" in note for note in built.notes)


def settings_of(**given):
    return [vim.option.OptionValue(key=key, value=value) for key, value in given.items()]


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
    spec = build(make_config(extraConfig=settings_of(**settings)), options(claim=VmClaim(run="r/1", made=True)), HERE)

    assert {item.key: item.value for item in spec.spec.extraConfig} == {
        "guestinfo.role": "db",
        "ethernet0.pciSlotNumber": "33",
        "vmkeep.run": "r/1",
    }


@pytest.mark.parametrize("spell", [str, str.upper, str.lower, str.swapcase])
@pytest.mark.parametrize(
    "key",
    [
        "nvram", "uuid.location", "viv.moid", "migrate.hostLog", "sched.swap.derivedName", "monitor.phys_bits_used",
        "numa.autosize.cookie", "vmotion.checkpointFBSize", "vmxstats.filename", "scsi1.sasWWID", "vmci0.id",
        "scsi0:1.redo", "nvme0:1.ctkEnabled", "guestInfo.detailed.data", "guestinfo.vmtools.versionString",
        "vm.genid", "vm.genidX", "vmkeep.run", "vmkeep.drill", "encryption.bundle", "vtpm.ekCRT", "softPowerOff",
    ],
)  # fmt: skip
def test_settings_that_are_every_vms_own_stay_behind_silently_however_they_are_spelt(make_config, key, spell):
    built = build(make_config(extraConfig=settings_of(**{spell(key): "1"})), options(), HERE)

    assert (list(built.spec.extraConfig), built.notes) == ([], ())


@pytest.mark.parametrize("spell", [str, str.upper, str.lower])
@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("hbr_filter.rpo", "vSphere Replication"),
        ("scsi0:3.hbr_filter.persistent", "vSphere Replication"),
        ("scsi0:3.filters", "I/O filters"),
        ("sata1:0.filters", "I/O filters"),
        ("ethernet0.filter4.name", "NSX"),
        ("pciPassthru0.id", "PCI passthrough"),
        ("pciPassthru.use64bitMMIO", "PCI passthrough"),
        ("numa.nodeAffinity", "NUMA nodes"),
        ("RemoteDisplay.vnc.port", "VNC"),
        ("eam.agent.agentMoId", "agent of an extension"),
        ("HDCS.agent", "agent of an extension"),
        ("guestinfo.ovfEnv", "OVF environment"),
    ],
)
def test_settings_that_meant_something_to_the_old_vm_only_stay_behind_and_are_named(make_config, key, word, spell):
    built = build(make_config(extraConfig=settings_of(**{spell(key): "1"})), options(), HERE)

    assert list(built.spec.extraConfig) == []
    assert [note for note in built.notes if word in note and spell(key) in note] == list(built.notes) != []


@pytest.mark.parametrize(
    "key",
    [
        "ethernet0.filterless", "hbr_filters", "scsi0.filters", "numa.vcpu.preferHT", "RemoteDisplay.maxConnections",
        "vm.genidly", "genid", "eamer", "featMask.vm.cpuid.LM", "disk.EnableUUID", "sched.mem.pin",
    ],
)  # fmt: skip
def test_settings_that_only_look_like_those_are_kept(make_config, key):
    built = build(make_config(extraConfig=settings_of(**{key: "1"})), options(), HERE)

    assert [item.key for item in built.spec.extraConfig] == [key]


def test_an_overhead_limit_that_a_vm_has_once_it_ran_is_not_asked_for(make_config):
    limits = vim.ResourceAllocationInfo(reservation=128, limit=4096, overheadLimit=73)
    config = make_config(memoryAllocation=limits, cpuAllocation=limits)

    spec = build(config, options(), HERE).spec

    for made in (spec.memoryAllocation, spec.cpuAllocation):
        assert (made.reservation, made.limit, made.overheadLimit) == (128, 4096, None)
    assert config.memoryAllocation.overheadLimit == 73


def test_a_swap_file_of_its_own_place_is_kept_where_nothing_speaks_against_it(make_config):
    own, usual = make_config(swapPlacement="hostLocal"), make_config(swapPlacement="inherit")
    may_not = Surroundings(datastore="plat004-local", refused={"swapPlacement": "the user may not"})

    assert build(own, options(), HERE).spec.swapPlacement == "hostLocal"
    refused = build(own, options(), may_not)
    assert refused.spec.swapPlacement is None
    assert refused.notes == ("not taken over: where its swap file goes (hostLocal), because the user may not",)
    for around in (HERE, may_not):
        assert build(usual, options(), around).spec.swapPlacement is None
        assert build(usual, options(), around).notes == ()


def test_vapp_properties_come_back_with_their_keys_and_all_texts(make_config):
    vapp = vim.vApp
    info = vapp.PropertyInfo(key=7, id="ip0", type="ip", userConfigurable=True, value="10.0.0.5")
    saved = vapp.VmConfigInfo(
        property=[info],
        product=[vapp.ProductInfo(key=3, name="Appliance")],
        ovfSection=[vapp.OvfSectionInfo(key=5, type="OperatingSystemSection_Type", contents="<x/>")],
        eula=["do no harm"],
        ovfEnvironmentTransport=["iso"],
        ipAssignment=vapp.IPAssignmentInfo(ipAllocationPolicy="fixedPolicy"),
        installBootRequired=True,
        installBootStopDelay=30,
    )

    made = build(make_config(vAppConfig=saved), options(), HERE).spec.vAppConfig

    for name in ("property", "product", "ovfSection"):
        assert [(change.operation, change.info) for change in getattr(made, name)] == [
            ("add", info) for info in getattr(saved, name)
        ]
    for name in ("eula", "ovfEnvironmentTransport", "ipAssignment", "installBootRequired", "installBootStopDelay"):
        assert getattr(made, name) == getattr(saved, name)


def test_disks_are_made_in_the_order_of_their_labels_because_vsphere_numbers_them_anew(
    make_config, make_disk, make_flat
):
    labels = ("Festplatte 10", "Festplatte 2", "Festplatte 1")
    saved = [make_disk(2000 + unit, unit, 1 << 20, make_flat("old")) for unit in range(3)]
    for device, label in zip(saved, labels, strict=True):
        device.deviceInfo = vim.Description(label=label, summary="")
    controller = DEVICE.ParaVirtualSCSIController(key=1000, busNumber=0, sharedBus="noSharing", controllerKey=100)

    made = disks(build(make_config(controller, *saved), options(), HERE))

    assert [disk.unitNumber for disk in made] == [2, 1, 0]


def test_a_card_keeps_its_address_unless_another_vm_has_it(make_config):
    cards = [
        DEVICE.VirtualVmxnet3(key=4000 + n, macAddress=f"00:50:56:AA:00:0{n}", addressType="manual") for n in (0, 1)
    ]
    config = make_config(*cards)
    here = Surroundings(datastore="ds", taken_addresses={4001: "VM web (vm-7)"})

    kept, new = (build(config, options(keep_addresses=keep), here) for keep in (True, False))

    assert [card.addressType for card in devices(kept)] == ["manual", "generated"]
    assert kept.addresses == (("network card 4000", "00:50:56:aa:00:00"), ("network card 4001", ""))
    assert [note for note in kept.notes if "MAC" in note] == [
        "VirtualVmxnet3: gets a new MAC address, because VM web (vm-7) has its address 00:50:56:AA:00:01"
    ]
    assert [address for _, address in new.addresses] == ["", ""]
    assert new.notes == ()


def test_a_lowered_vm_asks_for_nothing_that_its_version_does_not_know(make_config):
    numa = vim.vm.VirtualNumaInfo(coresPerNumaNode=4, autoCoresPerNumaNode=False)
    config = make_config(numaInfo=numa)
    config.version = "vmx-21"
    config.hardware.autoCoresPerSocket, config.hardware.numCoresPerSocket = True, 2

    same, lowered = (build(config, options(version=version), HERE) for version in (None, "vmx-19"))

    assert (same.spec.version, same.spec.numCoresPerSocket, same.spec.virtualNuma.coresPerNumaNode) == ("vmx-21", 0, 4)
    assert same.notes == ()
    assert (lowered.spec.version, lowered.spec.numCoresPerSocket, lowered.spec.virtualNuma) == ("vmx-19", 2, None)
    assert len(lowered.notes) == 3


@pytest.mark.parametrize(
    ("version", "error", "told"),
    [
        ("vmx-22", UsageError, "not above the VM's own vmx-21"),
        ("19", UsageError, "give one as vmx-19"),
        ("vmx-12", UnsupportedError, r"NVMe controller \(from vmx-13 on\), secure boot \(from vmx-13 on\)"),
    ],
)
def test_a_vm_is_not_lowered_below_what_it_has(make_config, version, error, told):
    config = make_config(DEVICE.VirtualNVMEController(key=31000, busNumber=0))
    config.version = "vmx-21"
    config.bootOptions = vim.vm.BootOptions(efiSecureBootEnabled=True)

    require_lower(config, None)
    require_lower(config, "vmx-13")
    with pytest.raises(error, match=told):
        require_lower(config, version)


def test_the_setting_of_a_card_stays_with_its_card_where_numbers_have_gaps(make_config):
    cards = [DEVICE.VirtualVmxnet3(key=key, macAddress="00:50:56:00:00:01") for key in (4001, 4003)]
    option = vim.option.OptionValue
    keys = ("Ethernet1.pciSlotNumber", "ethernet3.coalescingScheme", "ethernet0.gone", "ethernetX.kept")
    config = make_config(extraConfig=[option(key=key, value="v") for key in keys])
    config.hardware.device = [*config.hardware.device, *cards]

    spec = build(config, options(), HERE).spec

    assert [item.key for item in spec.extraConfig] == [
        "Ethernet0.pciSlotNumber", "ethernet1.coalescingScheme", "ethernetX.kept",
    ]  # fmt: skip


def test_what_every_vm_has_by_itself_is_not_warned_about(sample, make_config):
    assert build(make_config(), options(), HERE).notes == ()
    here = Surroundings(datastore="plat004-local", isos=frozenset({"[isos] windows.iso"}))
    assert build(sample, options(), here).notes == ()


@pytest.mark.parametrize(
    "iso", ["[] /vmimages/tools-isoimages/windows.iso", "[] /vmfs/volumes/5f-1/x.iso", "", "x.iso"]
)
def test_an_iso_without_a_datastore_becomes_an_empty_drive_and_a_note(make_config, iso):
    drive = DEVICE.VirtualCdrom(
        key=3000,
        controllerKey=200,
        unitNumber=0,
        deviceInfo=vim.Description(label="CD/DVD drive 1", summary=""),
        backing=DEVICE.VirtualCdrom.IsoBackingInfo(fileName=iso),
    )
    built = build(make_config(drive), options(), HERE)

    assert isinstance(the(built, DEVICE.VirtualCdrom).backing, DEVICE.VirtualCdrom.RemotePassthroughBackingInfo)
    (note,) = built.notes
    assert note.startswith("CD/DVD drive 1: empty, because its image")


def test_a_drive_that_was_empty_is_not_noted(make_config):
    drive = DEVICE.VirtualCdrom(
        key=3000, controllerKey=200, unitNumber=0,
        backing=DEVICE.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", exclusive=False),
    )  # fmt: skip

    assert build(make_config(drive), options(), HERE).notes == ()


KEY = vim.encryption.CryptoKeyId(keyId="k-1", providerId=vim.encryption.KeyProviderId(id="kms"))


@pytest.fixture
def encrypted(make_config, make_disk):
    backing = DEVICE.VirtualDisk.FlatVer2BackingInfo(
        fileName="[a] b", diskMode="persistent", thinProvisioned=True, keyId=KEY
    )
    return make_config(
        DEVICE.ParaVirtualSCSIController(key=1000, controllerKey=100, busNumber=0, sharedBus="noSharing"),
        make_disk(2000, 0, 1 << 30, backing),
        DEVICE.VirtualTPM(key=11000, deviceInfo=vim.Description(label="Virtual TPM", summary="")),
        firmware="efi",
        keyId=KEY,
        extraConfig=settings_of(**{"encryption.bundle": "vmware:key/…"}),
    )


def test_an_encrypted_vm_stays_encrypted_where_its_key_is_known(encrypted):
    built = build(encrypted, options(), Surroundings(datastore="plat004-local", keys={("kms", "k-1")}))

    assert (built.spec.crypto.cryptoKeyId, built.notes, built.reads_nvram) == (KEY, (), True)
    assert the(built, DEVICE.VirtualTPM).key < 0
    (disk,) = (change for change in built.spec.deviceChange if isinstance(change.device, DEVICE.VirtualDisk))
    assert disk.backing.crypto.cryptoKeyId == KEY
    assert [item.key for item in built.spec.extraConfig] == ["encryption.bundle"]


def test_a_disk_whose_own_key_is_not_known_here_is_encrypted_with_the_vms(encrypted):
    own = vim.encryption.CryptoKeyId(keyId="k-2", providerId=vim.encryption.KeyProviderId(id="other"))
    next(device for device in encrypted.hardware.device if device.key == 2000).backing.keyId = own

    lost = build(encrypted, options(), Surroundings(datastore="plat004-local", keys={("kms", "k-1")}))
    known = build(
        encrypted, options(), Surroundings(datastore="plat004-local", keys={("kms", "k-1"), ("other", "k-2")})
    )

    assert [key.keyId for key in disk_keys(lost)] == ["k-1"]
    assert any("key k-2 of key provider other cannot be used here" in note for note in lost.notes)
    assert ([key.keyId for key in disk_keys(known)], known.notes) == (["k-2"], ())


def test_a_disk_under_a_snapshot_whose_base_alone_tells_the_key_is_encrypted_again(encrypted):
    disk = next(device for device in encrypted.hardware.device if device.key == 2000)
    disk.backing = DEVICE.VirtualDisk.FlatVer2BackingInfo(
        fileName="[a] b-000001", diskMode="persistent", parent=disk.backing
    )

    built = build(encrypted, options(), Surroundings(datastore="plat004-local", keys={("kms", "k-1")}))

    assert disk_keys(built) == [KEY]


def disk_keys(built):
    return [
        change.backing.crypto.cryptoKeyId
        for change in built.spec.deviceChange
        if isinstance(change.device, DEVICE.VirtualDisk)
    ]


def test_without_its_key_a_vm_loses_encryption_tpm_and_nvram_together(encrypted):
    built = build(encrypted, options(), HERE)

    assert (built.spec.crypto, built.reads_nvram, list(built.spec.extraConfig)) == (None, False, [])
    assert not [device for device in devices(built) if isinstance(device, DEVICE.VirtualTPM)]
    assert all(change.backing is None for change in built.spec.deviceChange)
    assert any("Virtual TPM: left out" in note and "BitLocker" in note for note in built.notes)
    assert any("key k-1 of key provider kms" in note for note in built.notes)


def test_world_wide_names_go_with_the_identity(make_config):
    config = make_config(npivNodeWorldWideName=[1], npivPortWorldWideName=[2])

    kept = build(config, options(new_identity=False), HERE)
    new = build(config, options(), HERE)

    assert (kept.spec.npivWorldWideNameOp, list(kept.spec.npivNodeWorldWideName), kept.notes) == ("set", [1], ())
    assert new.spec.npivWorldWideNameOp is None
    assert any("NPIV" in note for note in new.notes)


def test_virtual_numa_is_kept_where_somebody_has_set_it(make_config):
    numa = vim.vm.VirtualNumaInfo(coresPerNumaNode=4, autoCoresPerNumaNode=False, vnumaOnCpuHotaddExposed=True)

    made = build(make_config(numaInfo=numa), options(), HERE).spec.virtualNuma

    assert (made.coresPerNumaNode, made.exposeVnumaOnCpuHotadd) == (4, True)


def test_what_a_disk_was_and_its_new_one_is_not_is_named(make_config, make_disk):
    backing = DEVICE.VirtualDisk.FlatVer2BackingInfo(
        fileName="[a] b", diskMode="persistent", sharing="sharingMultiWriter"
    )
    disk = make_disk(2000, 0, 1 << 30, backing)
    disk.vDiskId, disk.iofilter = vim.vslm.ID(id="fcd"), ["VMW_spm_1.0.0"]
    controller = DEVICE.ParaVirtualSCSIController(key=1000, busNumber=0, sharedBus="noSharing")

    notes = build(make_config(controller, disk), options(), HERE).notes

    for word in ("first-class disk", "I/O filters (VMW_spm_1.0.0)", "several VMs could write"):
        assert any(note.startswith("Hard disk 1: ") and word in note for note in notes), word


def test_the_boot_order_waits_for_the_new_keys(make_config):
    order = [vim.vm.BootOptions.BootableDiskDevice(deviceKey=2000)]
    boot = vim.vm.BootOptions(bootDelay=5, efiSecureBootEnabled=True, bootOrder=order)

    built = build(make_config(bootOptions=boot), options(), HERE)

    assert (built.spec.bootOptions.bootDelay, list(built.spec.bootOptions.bootOrder)) == (5, [])


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
