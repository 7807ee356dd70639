"""Every member of a saved VM is copied, left out for a reason, or named: none is lost because nobody thought of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import VmomiSupport

from tests.unit.vsphere.conftest import saved_config
from vmkeep.vsphere.api import serialize, vim
from vmkeep.vsphere.barespec import HARDWARE
from vmkeep.vsphere.configspec import SpecOptions, Surroundings, build
from vmkeep.vsphere.configtable import COPIED, LOST, UNLESS_USUAL
from vmkeep.vsphere.placedsettings import SETTINGS
from vmkeep.vsphere.specdevices import DEFAULT, HANDLERS, KEPT, LEFT_OUT

VERSION = "vim.version.v9_1_0_0"
DEVICE = vim.vm.device
HERE = Surroundings(datastore="ds")
OPTIONS = SpecOptions(name="new")
BUILT = (
    "name", "uuid", "instanceUuid", "locationId", "template", "files", "tools", "flags", "defaultPowerOps",
    "hardware", "cpuAllocation", "memoryAllocation", "extraConfig", "cpuFeatureMask", "swapPlacement", "bootOptions",
    "keyId", "changeTrackingEnabled", "numaInfo", "sgxInfo", "scheduledHardwareUpgradeInfo", "npivNodeWorldWideName",
    "npivPortWorldWideName", "cpuAffinity", "memoryAffinity", "vAppConfig", "managedBy", "deviceSwap",
)  # fmt: skip
"""Members with a rule of their own in :mod:`vmkeep.vsphere.barespec`, :mod:`vmkeep.vsphere.configspec` or
:mod:`vmkeep.vsphere.placedsettings`, or in the steps of a restore."""

LEFT = {
    "changeVersion": "counts the changes of the old VM",
    "modified": "the new VM has times of its own",
    "createDate": "the new VM has times of its own",
    "guestFullName": "vSphere has it from guestId",
    "guestArchitecture": "vSphere has it from guestId",
    "npivWorldWideNameType": "tells where the world wide names came from",
    "npivDesiredNodeWwns": "only counts in an extension of world wide names",
    "npivDesiredPortWwns": "only counts in an extension of world wide names",
    "hotPlugMemoryLimit": "vSphere works it out",
    "hotPlugMemoryIncrementSize": "vSphere works it out",
    "datastoreUrl": "tells where the old VM's files were",
    "initialOverhead": "vSphere works it out",
    "vmxConfigChecksum": "of the old VM's .vmx file",
    "vmxRuntimeConfig": "of the old VM's last run",
    "vmStorageObjectId": "names an object of the old VM's datastore",
    "swapStorageObjectId": "names an object of the old VM's datastore",
}
"""Members that are left out without a note, because no new VM could have them; each with its reason."""

WITHOUT_A_CHANGE = {"name", "files", "hardware", "extraConfig", "template", "changeTrackingEnabled"}
"""Built members that the sample sets already, or whose rule does not copy."""

KNOWN = {
    vim.vm.VirtualHardware: {
        *HARDWARE, "numCoresPerSocket", "autoCoresPerSocket", "motherboardLayout", "simultaneousThreads", "device",
    },
    DEVICE.VirtualDevice: {
        "key", "deviceInfo", "backing", "connectable", "slotInfo", "controllerKey", "unitNumber", "numaNode",
        "deviceGroupInfo",
    },
    DEVICE.VirtualDisk: {
        "capacityInKB", "capacityInBytes", "shares", "storageIOAllocation", "diskObjectId", "vFlashCacheConfigInfo",
        "iofilter", "vDiskId", "vDiskVersion", "virtualDiskFormat", "nativeUnmanagedLinkedClone", "independentFilters",
        "guestReadOnly", "diskChainBrokenIssue",
    },
    DEVICE.VirtualDisk.FlatVer2BackingInfo: {
        "diskMode", "split", "writeThrough", "thinProvisioned",
        "eagerlyScrub", "uuid", "contentId", "changeId", "parent", "deltaDiskFormat", "digestEnabled",
        "deltaGrainSize", "deltaDiskFormatVariant", "sharing", "keyId",
    },
    DEVICE.VirtualEthernetCard: {
        "addressType", "macAddress", "wakeOnLanEnabled", "resourceAllocation", "externalId",
        "uptCompatibilityEnabled", "subnetId",
    },
    DEVICE.VirtualVmxnet3: {"uptv2Enabled", "strictLatencyConfig"},
    DEVICE.VirtualVmxnet3Vrdma: {"deviceProtocol"},
    DEVICE.VirtualController: {"busNumber", "device"},
    DEVICE.VirtualSCSIController: {"hotAddRemove", "sharedBus", "scsiCtlrUnitNumber"},
    DEVICE.VirtualNVMEController: {"sharedBus"},
    DEVICE.VirtualUSBController: {"autoConnectDevices", "ehciEnabled"},
    DEVICE.VirtualUSBXHCIController: {"autoConnectDevices"},
    DEVICE.VirtualSerialPort: {"yieldOnPoll"},
    DEVICE.VirtualTPM: {"endorsementKeyCertificateSigningRequest", "endorsementKeyCertificate"},
    DEVICE.VirtualVideoCard: {
        "videoRamSizeInKB", "numDisplays", "useAutoDetect", "enable3DSupport", "use3dRenderer",
        "graphicsMemorySizeInKB",
    },
    DEVICE.VirtualWDT: {"runOnBoot", "running"},
    vim.vm.ToolsConfigInfo: {
        "toolsVersion", "toolsInstallType", "afterPowerOn", "afterResume", "beforeGuestStandby", "beforeGuestShutdown",
        "beforeGuestReboot", "toolsUpgradePolicy", "pendingCustomization", "customizationKeyId",
        "syncTimeWithHostAllowed", "syncTimeWithHost", "lastInstallInfo",
    },
    vim.vm.FlagInfo: {
        "disableAcceleration", "enableLogging", "useToe", "runWithDebugInfo", "monitorType", "htSharing",
        "snapshotDisabled", "snapshotLocked", "diskUuidEnabled", "virtualMmuUsage", "virtualExecUsage",
        "snapshotPowerOffBehavior", "recordReplayEnabled", "faultToleranceType", "cbrcCacheEnabled", "vvtdEnabled",
        "vbsEnabled",
    },
    vim.ResourceAllocationInfo: {"reservation", "expandableReservation", "limit", "shares", "overheadLimit"},
    vim.vm.BootOptions: {
        "bootDelay", "enterBIOSSetup", "efiSecureBootEnabled", "bootRetryEnabled", "bootRetryDelay", "bootOrder",
        "networkBootProtocol",
    },
}  # fmt: skip
"""Types of which members are taken over one by one, or some are cleared: a member that is new wants a decision."""


def members(kind: Any) -> set[str]:
    return {info.name for info in kind._GetPropertyList()} - {"dynamicType", "dynamicProperty"}


def own_members(kind: Any) -> set[str]:
    inherited = (members(base) for base in kind.__bases__ if hasattr(base, "_GetPropertyList"))
    return members(kind).difference(*inherited)


def kinds_below(base: Any) -> list[Any]:
    names = VmomiSupport.ListDataTypes()
    kinds = (VmomiSupport.GetVmodlType(name) for name in names if name.startswith("vim.vm.device."))
    return sorted((kind for kind in kinds if issubclass(kind, base)), key=lambda kind: kind.__name__)


def test_every_member_of_a_configuration_stands_in_the_table_exactly_once():
    table = [*COPIED, *UNLESS_USUAL, *BUILT, *LEFT, *LOST]

    assert sorted(table) == sorted(members(vim.vm.ConfigInfo))
    assert {*COPIED, *UNLESS_USUAL} <= members(vim.vm.ConfigSpec)
    assert all(reason for reason in LEFT.values())


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_no_member_of_what_is_taken_over_in_parts_is_unknown(kind):
    assert own_members(kind) == KNOWN[kind]


def test_every_kind_of_device_has_a_rule_and_only_known_members():
    ruled = (*DEFAULT, *KEPT, *(kind for kind, _ in (*LEFT_OUT, *HANDLERS)), DEVICE.VirtualDisk)
    disk_controllers = (
        DEVICE.VirtualSCSIController, DEVICE.VirtualSATAController, DEVICE.VirtualNVMEController,
    )  # fmt: skip
    abstract = {DEVICE.VirtualDevice, DEVICE.VirtualController}
    kinds = kinds_below(DEVICE.VirtualDevice)

    assert [kind for kind in kinds if kind not in abstract and not issubclass(kind, (*ruled, *disk_controllers))] == []
    gone = (*DEFAULT, *(kind for kind, _ in LEFT_OUT))
    unknown = {
        kind.__name__: found
        for kind in kinds
        if not issubclass(kind, gone) and (found := own_members(kind) - KNOWN.get(kind, set()))
    }
    assert unknown == {}


def some(kind: Any, depth: int = 0) -> Any:
    """A value of a type that says something: every member of an object is set."""
    if issubclass(kind, list):
        return kind([some(kind.Item, depth + 1)]) if depth < 5 else kind()
    if issubclass(kind, VmomiSupport.ManagedObject):
        return kind("object-1")
    if issubclass(kind, VmomiSupport.DataObject):
        made = kind()
        for info in kind._GetPropertyList():
            if info.name not in ("dynamicType", "dynamicProperty") and depth < 5:
                setattr(made, info.name, some(info.type, depth + 1))
        return made
    if issubclass(kind, VmomiSupport.Enum):
        return kind(kind.values[0])
    if issubclass(kind, bytes):
        return kind(b"b")
    simple = {bool: True, datetime: datetime(2026, 1, 2, tzinfo=UTC), str: kind("some") if kind is str else "some"}
    return simple.get(kind) or (kind(7) if issubclass(kind, int | float) else "some")


SETTABLE = sorted(members(vim.vm.ConfigInfo) - WITHOUT_A_CHANGE)


def built_as_promised(name: str, config: Any, built: Any) -> bool:
    """Whether a member with a rule of its own came to what the rule says."""
    spec, value = built.spec, getattr(config, name)
    match name:
        case "uuid" | "instanceUuid" | "locationId":
            return getattr(spec, name) is None
        case "tools" | "flags":
            return getattr(spec, name) is not None
        case "defaultPowerOps":
            return spec.powerOpInfo == value
        case "cpuAllocation" | "memoryAllocation":
            made = getattr(spec, name)
            return (made.reservation, made.overheadLimit) == (value.reservation, None)
        case "cpuFeatureMask":
            return [item.info for item in spec.cpuFeatureMask] == list(value)
        case "bootOptions":
            return (spec.bootOptions.bootDelay, list(spec.bootOptions.bootOrder)) == (value.bootDelay, [])
        case "numaInfo":
            return spec.virtualNuma.exposeVnumaOnCpuHotadd
        case "sgxInfo":
            return spec.sgxInfo == value
        case "scheduledHardwareUpgradeInfo":
            return spec.scheduledHardwareUpgradeInfo.upgradePolicy == value.upgradePolicy
        case "keyId" | "npivNodeWorldWideName" | "npivPortWorldWideName":
            word = {"keyId": "encryption"}.get(name, "NPIV")
            return any(note.startswith("not taken over: ") and word in note for note in built.notes)
        case _:
            return False


def kept_if_it_means_something(name: str, value: Any, built: Any) -> bool:
    """Whether a setting that depends on the place is in the spec, where nothing speaks against it."""
    made = getattr(built.spec, name)
    if name == "deviceSwap":
        return made is None  # switched on, it is as in every VM
    if name == "vAppConfig":
        return [change.info for change in made.property] == list(value.property)
    return made == value


@given(st.sets(st.sampled_from(SETTABLE)))
def test_every_member_that_is_set_is_copied_or_left_out_for_a_reason_or_named(chosen):
    values = {name: some(vim.vm.ConfigInfo._GetPropertyInfo(name).type) for name in chosen}
    config = saved_config()
    for name, value in values.items():
        setattr(config, name, value)

    built = build(config, OPTIONS, HERE)

    for name, value in values.items():
        if name in COPIED or name in UNLESS_USUAL:
            usual = name in UNLESS_USUAL and value == UNLESS_USUAL[name]
            assert getattr(built.spec, name) == (None if usual else value), name
        elif name in LOST:
            assert f"not taken over: {LOST[name][0]}" in built.notes
        elif name in LEFT:
            assert not getattr(built.spec, name, None), name
        elif name in SETTINGS:
            assert kept_if_it_means_something(name, value, built), name
        else:
            assert built_as_promised(name, config, built), name
    assert serialize(built.spec, VERSION)


def test_a_value_that_says_nothing_is_not_named():
    config = saved_config(
        cpuAffinity=vim.vm.AffinityInfo(affinitySet=[]),
        managedBy=vim.ext.ManagedByInfo(extensionKey="", type=""),
        networkShaper=vim.vm.NetworkShaperInfo(enabled=False),
        guestIntegrityInfo=vim.vm.GuestIntegrityInfo(enabled=False),
        guestMonitoringModeInfo=vim.vm.GuestMonitoringModeInfo(),
        deviceGroups=vim.vm.VirtualDeviceGroups(),
        pmemFailoverEnabled=False,
        vFlashCacheReservation=0,
        forkConfigInfo=vim.vm.ForkConfigInfo(parentEnabled=False),
    )

    assert build(config, OPTIONS, HERE).notes == ()
