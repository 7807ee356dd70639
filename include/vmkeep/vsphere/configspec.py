"""The ConfigSpec that creates a saved VM again, from its VirtualMachineConfigInfo. Pure: XML in, spec out.

Takes over most of what was saved; leaves out what belongs to the old VM's files, host or identity, and says so.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vmkeep.errors import CorruptError
from vmkeep.vsphere.api import deserialize, vim
from vmkeep.vsphere.disks import disks_of
from vmkeep.vsphere.luns import Lun
from vmkeep.vsphere.marks import SETTINGS, VmMark, options_for
from vmkeep.vsphere.names import encode_name
from vmkeep.vsphere.networks import CardNetwork
from vmkeep.vsphere.specdevices import DeviceRules, device_changes
from vmkeep.vsphere.specdisks import DiskRules

_COPIED = (
    "version", "guestId", "alternateGuestName", "annotation", "consolePreferences", "rebootPowerOff", "cpuAllocation",
    "memoryAllocation", "latencySensitivity", "memoryHotAddEnabled", "cpuHotAddEnabled", "cpuHotRemoveEnabled",
    "swapPlacement", "firmware", "maxMksConnections", "guestAutoLockEnabled", "memoryReservationLockedToMax",
    "nestedHVEnabled", "vPMCEnabled", "messageBusTunnelEnabled", "npivTemporaryDisabled", "npivOnNonRdmDisks",
    "sgxInfo", "sevEnabled", "sevSnpEnabled", "tdxEnabled", "vmxStatsCollectionEnabled", "vmOpNotificationToAppEnabled",
    "vmOpNotificationTimeout",
)  # fmt: skip
_HARDWARE = {
    "numCPU": "numCPUs",
    "numCoresPerSocket": "numCoresPerSocket",
    "memoryMB": "memoryMB",
    "virtualICH7MPresent": "virtualICH7MPresent",
    "virtualSMCPresent": "virtualSMCPresent",
    "motherboardLayout": "motherboardLayout",
    "simultaneousThreads": "simultaneousThreads",
}
_TOOLS_STATE = ("toolsVersion", "toolsInstallType", "pendingCustomization", "customizationKeyId", "lastInstallInfo")
_LOST = {
    "vAppConfig": "vApp properties",
    "cpuAffinity": "CPU affinity",
    "memoryAffinity": "memory affinity",
    "managedBy": "the extension that manages it",
    "keyId": "encryption: the new VM and its disks are not encrypted",
    "ftInfo": "fault tolerance",
    "repConfig": "replication settings",
}
_OLD_SETTINGS = (
    *SETTINGS, "nvram", "uuid.", "vc.uuid", "viv.", "migrate.", "vmotion.", "sched.swap.derivedName", "checkpoint.",
    "cleanShutdown", "softPowerOff", "replay.", "numa.autosize", "monitor.phys_bits_used", "ctkEnabled",
    "changeTracking", "vmware.tools.", "toolsInstallManager.", "guestinfo.vmtools.", "tools.remindInstall", "dataSets.",
    "vtpm.", "encryption.", "managedBy.",
)  # fmt: skip
"""Advanced settings that vSphere writes itself, or that name the old VM's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecOptions:
    """What the user decides about the new VM."""

    name: str
    new_identity: bool = True
    """New UUIDs and MAC addresses, so that it can run beside the original."""
    physical_rdm: str = "placeholder"
    """What a physical-mode RDM becomes: ``placeholder``, ``lun`` or ``omit``."""
    luns: Mapping[int, str] = field(default_factory=dict)
    """Device key in the saved configuration → canonical name or UUID of the free LUN to map it to."""
    connect_networks: bool = True
    """Network cards are connected as they were saved; else all start disconnected."""
    mark: VmMark | None = None
    """The run that makes it; stays on the VM until the run has finished it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the place of the new VM offers; found out by :mod:`vmkeep.vsphere.create`."""

    datastore: str
    """Name of the one that the VM's own files go to."""
    disk_datastores: Mapping[int, str] = field(default_factory=dict)
    luns: Mapping[int, Lun] = field(default_factory=dict)
    networks: Mapping[int, CardNetwork] = field(default_factory=dict)
    """By the device key of a network card."""
    isos: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltSpec:
    """A ConfigSpec, and what the user should know about it."""

    spec: Any
    notes: tuple[str, ...]
    """What becomes different from the saved VM, one sentence each."""
    boot_order: tuple[Any, ...]
    """Saved boot order; its device keys are the saved ones, and can be set only when the new ones are known."""
    datastore: str
    """The one that the VM's own files go to."""
    disks: tuple[tuple[str, str], ...]
    """Each saved disk's address, and the datastore of its new one."""
    networks: tuple[tuple[str, str], ...]
    """Each network card's label, and its network."""
    unconnected: tuple[str, ...] = ()
    """Labels of the network cards that start disconnected though they were not saved so, or because it was said."""
    luns: tuple[tuple[str, str], ...] = ()
    """Each raw mapping's address, and the LUN it is mapped to."""


def parse_config(xml: str | bytes) -> Any:
    """Parse a saved VirtualMachineConfigInfo.

    :raises CorruptError: it is not one.
    """
    try:
        config = deserialize(xml.encode() if isinstance(xml, str) else xml, vim.vm.ConfigInfo)
    except Exception as error:  # noqa: BLE001 - expat and pyVmomi raise whatever they meet
        raise CorruptError(f"the saved VM configuration cannot be read: {error}") from None
    if not isinstance(config, vim.vm.ConfigInfo) or config.hardware is None or config.files is None:
        raise CorruptError("the saved VM configuration is incomplete")
    return config


def build(config: Any, options: SpecOptions, around: Surroundings) -> BuiltSpec:
    """Return the spec for ``CreateVM_Task``."""
    disks = DiskRules(physical_rdm=options.physical_rdm, datastores=around.disk_datastores, luns=around.luns)
    rules = DeviceRules(new_identity=options.new_identity, disks=disks, networks=around.networks, isos=around.isos)
    devices = device_changes(config.hardware.device, rules)
    spec = vim.vm.ConfigSpec(name=encode_name(options.name), deviceChange=list(devices.changes))
    for name in _COPIED:
        setattr(spec, name, getattr(config, name))
    for saved, wanted in _HARDWARE.items():
        setattr(spec, wanted, getattr(config.hardware, saved))
    spec.files = vim.vm.FileInfo(vmPathName=f"[{around.datastore}]")
    spec.tools = _without(config.tools, *_TOOLS_STATE)
    spec.flags = _without(config.flags, "faultToleranceType")
    spec.powerOpInfo = config.defaultPowerOps
    spec.cpuFeatureMask = [
        vim.vm.ConfigSpec.CpuIdInfoSpec(operation="add", info=mask) for mask in config.cpuFeatureMask
    ]
    spec.changeTrackingEnabled = False  # tracking has to be off while the disks are written
    if not options.new_identity:
        spec.uuid, spec.instanceUuid, spec.locationId = config.uuid, config.instanceUuid, config.locationId
    spec.extraConfig = _settings(config.extraConfig, options)
    boot_order = _boot(spec, config.bootOptions)
    return BuiltSpec(
        spec=spec,
        notes=(*(network.note for network in around.networks.values() if network.note), *devices.notes, *_lost(config)),
        boot_order=boot_order,
        datastore=around.datastore,
        disks=tuple(
            (disk.address, around.disk_datastores.get(disk.key, around.datastore))
            for disk in disks_of(config.hardware.device)
        ),
        networks=tuple((network.label, network.network.shown) for network in around.networks.values()),
        unconnected=tuple(network.label for network in around.networks.values() if not network.connected),
        luns=tuple(
            (disk.address, around.luns[disk.key].device_name)
            for disk in disks_of(config.hardware.device)
            if disk.key in around.luns
        ),
    )


def _without(value: Any, *names: str) -> Any:
    if value is None:
        return None
    result = copy.deepcopy(value)
    for name in names:
        setattr(result, name, None)
    return result


def _settings(saved: list[Any], options: SpecOptions) -> list[Any]:
    kept = [
        vim.option.OptionValue(key=setting.key, value=setting.value)
        for setting in saved
        if not setting.key.startswith(_OLD_SETTINGS) and not setting.key.endswith((".ctkEnabled", ".redo"))
    ]
    return [*kept, *options_for(options.mark.settings)] if options.mark else kept


def _boot(spec: Any, saved: Any) -> tuple[Any, ...]:
    if saved is None:
        return ()
    spec.bootOptions = copy.deepcopy(saved)
    spec.bootOptions.bootOrder = []
    return tuple(saved.bootOrder)


def _lost(config: Any) -> tuple[str, ...]:
    return tuple(f"not taken over: {what}" for name, what in _LOST.items() if getattr(config, name))
