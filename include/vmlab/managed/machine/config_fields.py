"""The plain fields of a VM's configuration that a ConfigSpec may set: no devices, no files."""

from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.machine.guests import guest_names
from vmlab.managed.machine.vapp_fields import apply_vapp

_DIRECT = (
    "annotation", "alternateGuestName", "guestId", "version", "uuid", "instanceUuid", "firmware", "cpuHotAddEnabled",
    "cpuHotRemoveEnabled", "memoryHotAddEnabled", "swapPlacement", "nestedHVEnabled", "latencySensitivity",
    "maxMksConnections", "locationId", "managedBy", "memoryReservationLockedToMax", "vPMCEnabled",
    "messageBusTunnelEnabled", "guestAutoLockEnabled", "npivTemporaryDisabled", "npivOnNonRdmDisks",
    "migrateEncryption", "ftEncryptionMode", "sevEnabled", "sgxInfo", "fixedPassthruHotPlugEnabled",
    "vmOpNotificationToAppEnabled", "vmOpNotificationTimeout", "vmxStatsCollectionEnabled", "rebootPowerOff",
    "consolePreferences", "vAssertsEnabled", "sevSnpEnabled", "tdxEnabled", "pmemFailoverEnabled",
    "guestMonitoringModeInfo", "vcpuConfig",
)  # fmt: skip
_HARDWARE = ("virtualICH7MPresent", "virtualSMCPresent", "motherboardLayout", "simultaneousThreads")
_AFFINITIES = ("cpuAffinity", "memoryAffinity")
_MERGED = {
    "flags": "flags", "powerOpInfo": "defaultPowerOps", "tools": "tools", "cpuAllocation": "cpuAllocation",
    "memoryAllocation": "memoryAllocation", "bootOptions": "bootOptions", "deviceSwap": "deviceSwap",
    "scheduledHardwareUpgradeInfo": "scheduledHardwareUpgradeInfo",
}  # fmt: skip


def apply_simple_fields(config: Any, spec: Any) -> None:
    """Copy the plain fields that `spec` sets to `config`. Raises the InvalidArgument fault for impossible sizes."""
    for name in _DIRECT:
        value = getattr(spec, name, None)
        if value not in (None, []):
            setattr(config, name, value)
    if spec.guestId is not None:
        config.guestFullName = guest_names(spec.guestId)[0]
    _apply_sizes(config, spec)
    for source, target in _MERGED.items():
        _merge(config, target, getattr(spec, source))
    _apply_extra_config(config, spec.extraConfig)
    _apply_cpu_masks(config, spec.cpuFeatureMask)
    _apply_affinities(config, spec)
    _apply_numa(config, spec.virtualNuma)
    _apply_world_wide_names(config, spec)
    apply_vapp(config, spec)
    if spec.files is not None:
        for name in ("snapshotDirectory", "suspendDirectory", "logDirectory"):
            if getattr(spec.files, name):
                setattr(config.files, name, getattr(spec.files, name))


def _apply_sizes(config: Any, spec: Any) -> None:
    if spec.numCPUs is not None:
        if not 1 <= spec.numCPUs <= 768:
            raise vmodl.fault.InvalidArgument(invalidProperty="configSpec.numCPUs", msg="numCPUs is out of range")
        config.hardware.numCPU = spec.numCPUs
    _apply_cores(config.hardware, spec)
    for name in _HARDWARE:
        if getattr(spec, name) is not None:
            setattr(config.hardware, name, getattr(spec, name))
    if spec.memoryMB is not None:
        if spec.memoryMB < 4 or spec.memoryMB % 4:
            raise vmodl.fault.InvalidArgument(
                invalidProperty="configSpec.memoryMB", msg="memoryMB must be a multiple of 4"
            )
        config.hardware.memoryMB = spec.memoryMB


def _apply_cores(hardware: Any, spec: Any) -> None:
    """Set the cores of a socket; 0 leaves their number to vSphere, which takes one socket here."""
    if spec.numCoresPerSocket is not None:
        hardware.autoCoresPerSocket = spec.numCoresPerSocket == 0
    cores = hardware.numCPU if hardware.autoCoresPerSocket else spec.numCoresPerSocket or hardware.numCoresPerSocket
    if hardware.numCPU % (cores or 1):
        raise vmodl.fault.InvalidArgument(
            invalidProperty="configSpec.numCoresPerSocket",
            msg=f"{hardware.numCPU} CPUs are no multiple of {cores} cores per socket",
        )
    hardware.numCoresPerSocket = cores


def _apply_affinities(config: Any, spec: Any) -> None:
    """Bind the VM to some CPUs or NUMA nodes of its host; an empty set frees it again."""
    for name in _AFFINITIES:
        given = getattr(spec, name)
        if given is not None:
            setattr(config, name, given if given.affinitySet else None)


def _apply_numa(config: Any, numa: Any) -> None:
    """Set the virtual NUMA nodes; 0 cores in each leave their size to vSphere."""
    if numa is None:
        return
    if numa.coresPerNumaNode is not None:
        config.numaInfo.coresPerNumaNode = numa.coresPerNumaNode or None
        config.numaInfo.autoCoresPerNumaNode = not numa.coresPerNumaNode
    if numa.exposeVnumaOnCpuHotadd is not None:
        config.numaInfo.vnumaOnCpuHotaddExposed = numa.exposeVnumaOnCpuHotadd


def _apply_world_wide_names(config: Any, spec: Any) -> None:
    """Set or remove the world wide names of N-port virtualization."""
    if spec.npivWorldWideNameOp == "set":
        config.npivNodeWorldWideName = list(spec.npivNodeWorldWideName)
        config.npivPortWorldWideName = list(spec.npivPortWorldWideName)
        config.npivWorldWideNameType = "external"
    elif spec.npivWorldWideNameOp == "remove":
        config.npivNodeWorldWideName = config.npivPortWorldWideName = []
        config.npivWorldWideNameType = None


def _merge(config: Any, name: str, given: Any) -> None:
    if given is None:
        return
    current = getattr(config, name)
    if current is None:
        setattr(config, name, given)
        return
    for info in given._GetPropertyList():
        value = getattr(given, info.name)
        if value is not None and value != []:
            setattr(current, info.name, value)


def _apply_extra_config(config: Any, options: list[Any]) -> None:
    """Merge options: the later value wins, and an empty one removes the key.

    Case does not matter in a key, and its first spelling stays.
    """
    merged = {option.key.lower(): (option.key, option.value) for option in config.extraConfig}
    for option in options:
        key = option.key.lower()
        if option.value in (None, ""):
            merged.pop(key, None)
        else:
            merged[key] = (merged[key][0] if key in merged else option.key, str(option.value))
    config.extraConfig = [vim.option.OptionValue(key=key, value=value) for key, value in merged.values()]


def _apply_cpu_masks(config: Any, changes: list[Any]) -> None:
    masks = {(mask.level, mask.vendor): mask for mask in config.cpuFeatureMask}
    for change in changes:
        if change.operation == "remove":
            masks = {key: mask for key, mask in masks.items() if key[0] != change.removeKey}
        elif change.info is not None:
            masks[change.info.level, change.info.vendor] = change.info
    config.cpuFeatureMask = list(masks.values())
