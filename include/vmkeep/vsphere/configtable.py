"""A table with a rule for each member of a saved VirtualMachineConfigInfo: how a new VM gets it, or why not.

Every member that pyVmomi knows stands here exactly once. A test fails if a new pyVmomi brings a member without a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

COPIED = (
    "version", "guestId", "alternateGuestName", "annotation", "consolePreferences", "rebootPowerOff", "vcpuConfig",
    "latencySensitivity", "memoryHotAddEnabled", "cpuHotAddEnabled", "cpuHotRemoveEnabled", "firmware",
    "guestAutoLockEnabled", "memoryReservationLockedToMax", "nestedHVEnabled", "vPMCEnabled",
    "messageBusTunnelEnabled", "npivTemporaryDisabled", "npivOnNonRdmDisks",
)  # fmt: skip
"""Members that are set in the spec as they were saved."""

UNLESS_USUAL: Mapping[str, Any] = MappingProxyType(
    {
        "maxMksConnections": -1,
        "vAssertsEnabled": False,
        "migrateEncryption": "opportunistic",
        "ftEncryptionMode": "ftEncryptionOpportunistic",
        "sevEnabled": False,
        "sevSnpEnabled": False,
        "tdxEnabled": False,
        "fixedPassthruHotPlugEnabled": False,
        "vmxStatsCollectionEnabled": True,
        "vmOpNotificationToAppEnabled": False,
        "vmOpNotificationTimeout": -1,
    }
)
"""Members that are copied only if they differ from this usual value, because an older host may not know the member."""

BUILT = (
    "name", "uuid", "instanceUuid", "locationId", "template", "files", "tools", "flags", "defaultPowerOps",
    "hardware", "cpuAllocation", "memoryAllocation", "extraConfig", "cpuFeatureMask", "swapPlacement", "bootOptions",
    "keyId", "changeTrackingEnabled", "numaInfo", "sgxInfo", "scheduledHardwareUpgradeInfo", "npivNodeWorldWideName",
    "npivPortWorldWideName", "cpuAffinity", "memoryAffinity", "vAppConfig", "managedBy", "deviceSwap",
)  # fmt: skip
"""Members with a rule of their own in :mod:`vmkeep.vsphere.configspec`, in :mod:`vmkeep.vsphere.placedsettings`, or in
the steps of a restore."""

LEFT: Mapping[str, str] = MappingProxyType(
    {
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
)
"""Members that are left out without a note, because no new VM could have them; each with its reason."""

_Lost = tuple[str, Callable[[Any], object]]
LOST: Mapping[str, _Lost] = MappingProxyType(
    {
        "networkShaper": ("its network shaper", lambda value: value.enabled),
        "ftInfo": ("fault tolerance", lambda _: True),
        "repConfig": ("replication settings", lambda _: True),
        "metroFtEnabled": ("fault tolerance across sites", bool),
        "metroFtHostGroup": ("the host group of its fault tolerance", bool),
        "forkConfigInfo": ("its part in instant clones", lambda value: value.parentEnabled or value.childForkGroupId),
        "vFlashCacheReservation": ("its flash read cache", bool),
        "guestIntegrityInfo": ("guest integrity checks", lambda value: value.enabled),
        "guestMonitoringModeInfo": ("guest monitoring", lambda value: value.gmmFile or value.gmmAppliance),
        "contentLibItemInfo": ("its relation to a content library item", lambda _: True),
        "pmem": ("persistent memory, which no backup holds", lambda _: True),
        "pmemFailoverEnabled": ("failover of persistent memory, which no backup holds", bool),
        "deviceGroups": ("device groups, whose devices depend on their host", lambda value: value.deviceGroup),
    }
)
"""Members that are left out with a note: the words of the note, and a test whether the saved value means anything."""


def lost_members(config: Any) -> Iterator[str]:
    """Yield one note for each setting of a saved VM that meant something and is not taken over."""
    for name, (what, means_something) in LOST.items():
        value = getattr(config, name)
        if value is not None and value != [] and means_something(value):
            yield f"not taken over: {what}"
