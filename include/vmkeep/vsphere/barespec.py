"""Copies members of a saved VirtualMachineConfigInfo into a spec: those that a new VM gets whatever its place. Pure."""

from __future__ import annotations

import copy
from typing import Any

from vmkeep.vsphere.api import vim
from vmkeep.vsphere.configtable import COPIED, UNLESS_USUAL
from vmkeep.vsphere.hardware import version_number
from vmkeep.vsphere.lowering import CHOOSES_CORES, has_own_numa_nodes

HARDWARE = {
    "numCPU": "numCPUs",
    "memoryMB": "memoryMB",
    "virtualICH7MPresent": "virtualICH7MPresent",
    "virtualSMCPresent": "virtualSMCPresent",
}
"""Members of a VirtualHardware, with their names in a spec."""
_TOOLS_STATE = ("toolsVersion", "toolsInstallType", "pendingCustomization", "customizationKeyId", "lastInstallInfo")
_USUAL_BOARD = "i440bxHostBridge"


def bare_spec(config: Any, version: str) -> Any:
    """Return the spec of a VM without its name, its places, its devices, its advanced settings and its identity.

    :param version: hardware version of the new VM, e.g. ``vmx-19``.
    """
    spec = vim.vm.ConfigSpec()
    _copy_members(spec, config, version)
    _copy_hardware(spec, config, version)
    spec.tools = _without(config.tools, *_TOOLS_STATE)
    spec.flags = _without(config.flags, "faultToleranceType")
    spec.bootOptions = _without(config.bootOptions)
    if spec.bootOptions is not None:
        spec.bootOptions.bootOrder = []  # it names device keys, so it is set when the new keys are known
    # CreateVM_Task refuses an overhead limit, and every VM that ran once has one.
    spec.cpuAllocation = _without(config.cpuAllocation, "overheadLimit")
    spec.memoryAllocation = _without(config.memoryAllocation, "overheadLimit")
    spec.changeTrackingEnabled = False  # tracking has to be off while the disks are written
    return spec


def _copy_members(spec: Any, config: Any, version: str) -> None:
    for name in COPIED:
        setattr(spec, name, getattr(config, name))
    for name, usual in UNLESS_USUAL.items():
        if (value := getattr(config, name)) != usual:
            setattr(spec, name, value)
    spec.version = version
    spec.powerOpInfo = config.defaultPowerOps
    spec.cpuFeatureMask = [
        vim.vm.ConfigSpec.CpuIdInfoSpec(operation="add", info=mask) for mask in config.cpuFeatureMask
    ]
    if config.sgxInfo is not None and config.sgxInfo.epcSize:
        spec.sgxInfo = config.sgxInfo
    if getattr(config.scheduledHardwareUpgradeInfo, "upgradePolicy", None) not in (None, "never"):
        spec.scheduledHardwareUpgradeInfo = _without(
            config.scheduledHardwareUpgradeInfo, "scheduledHardwareUpgradeStatus", "fault"
        )


def _copy_hardware(spec: Any, config: Any, version: str) -> None:
    hardware, numa = config.hardware, config.numaInfo
    too_old = version != config.version and version_number(version) < CHOOSES_CORES
    for saved, wanted in HARDWARE.items():
        setattr(spec, wanted, getattr(hardware, saved))
    # 0 leaves the number to vSphere. A spec without a number would make sockets of one core.
    spec.numCoresPerSocket = 0 if hardware.autoCoresPerSocket and not too_old else hardware.numCoresPerSocket
    if hardware.motherboardLayout != _USUAL_BOARD:
        spec.motherboardLayout = hardware.motherboardLayout
    if (hardware.simultaneousThreads or 1) > 1:
        spec.simultaneousThreads = hardware.simultaneousThreads
    if has_own_numa_nodes(numa) and not too_old:
        spec.virtualNuma = vim.vm.VirtualNuma(
            coresPerNumaNode=numa.coresPerNumaNode if numa.autoCoresPerNumaNode is False else None,
            exposeVnumaOnCpuHotadd=numa.vnumaOnCpuHotaddExposed,
        )


def _without(value: Any, *names: str) -> Any:
    if value is None:
        return None
    result = copy.deepcopy(value)
    for name in names:
        setattr(result, name, None)
    return result
