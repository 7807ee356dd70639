"""Tables of members of a saved VirtualMachineConfigInfo: those that are copied as they are, and those that are lost.

The other members have rules of their own, or no new VM could have them. A test names each of these, with its reason,
and fails if a new pyVmomi brings a member without a rule.
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
