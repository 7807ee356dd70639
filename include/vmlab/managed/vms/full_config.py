"""Fills a VM's configuration like a real one, when the VM is made and when it first runs.

A real configuration carries 50 to 90 advanced settings, whose keys are spelt in any mixture of cases.
"""

import copy
import secrets
from typing import Any

from vmlab.api import vim
from vmlab.managed import ds_paths
from vmlab.managed.hosts import allocation
from vmlab.managed.machine import Device
from vmlab.managed.site import Site

OVERHEAD_MIB = 73
_BRIDGES = (4, 5, 6, 7)


def complete(config: Any) -> None:
    """Give a new VM's configuration the values that vSphere adds unasked."""
    kinds = vim.vm
    config.flags = kinds.FlagInfo(
        enableLogging=True, useToe=False, runWithDebugInfo=False, monitorType="release", htSharing="any",
        snapshotDisabled=False, snapshotLocked=False, diskUuidEnabled=False, snapshotPowerOffBehavior="powerOff",
        recordReplayEnabled=False, faultToleranceType="unset", cbrcCacheEnabled=False, vvtdEnabled=False,
        vbsEnabled=False,
    )  # fmt: skip
    config.tools = kinds.ToolsConfigInfo(
        toolsVersion=0, afterPowerOn=True, afterResume=True, beforeGuestStandby=True, beforeGuestShutdown=True,
        toolsUpgradePolicy="manual", syncTimeWithHostAllowed=True, syncTimeWithHost=False,
        lastInstallInfo=kinds.ToolsConfigInfo.ToolsLastInstallInfo(counter=0),
    )  # fmt: skip
    config.defaultPowerOps = kinds.DefaultPowerOpInfo(
        powerOffType="soft", suspendType="hard", resetType="soft", defaultPowerOffType="soft",
        defaultSuspendType="hard", defaultResetType="soft", standbyAction="checkpoint",
    )  # fmt: skip
    config.bootOptions = kinds.BootOptions(
        bootDelay=0, enterBIOSSetup=False, efiSecureBootEnabled=False, bootRetryEnabled=False, bootRetryDelay=10000,
        networkBootProtocol="ipv4",
    )  # fmt: skip
    config.cpuAllocation, config.memoryAllocation = _no_limits(1000), _no_limits(1280)
    config.latencySensitivity = vim.LatencySensitivity(level="normal")
    config.hardware.autoCoresPerSocket = False
    config.hardware.virtualICH7MPresent = config.hardware.virtualSMCPresent = False
    config.hardware.motherboardLayout, config.hardware.simultaneousThreads = "i440bxHostBridge", 1
    for name, value in _USUAL.items():
        setattr(config, name, value)
    config.initialOverhead = kinds.ConfigInfo.OverheadInfo(
        initialMemoryReservation=57659392, initialSwapReservation=1060564992
    )
    config.scheduledHardwareUpgradeInfo = kinds.ScheduledHardwareUpgradeInfo(
        upgradePolicy="never", scheduledHardwareUpgradeStatus="none"
    )
    config.guestIntegrityInfo = kinds.GuestIntegrityInfo(enabled=False)
    config.guestMonitoringModeInfo = kinds.GuestMonitoringModeInfo()
    config.sgxInfo = kinds.SgxInfo(epcSize=0, flcMode="unlocked", requireAttestation=False)
    config.numaInfo = kinds.VirtualNumaInfo(autoCoresPerNumaNode=True, vnumaOnCpuHotaddExposed=False)
    swap = kinds.VirtualDeviceSwap
    config.deviceSwap = swap(lsiToPvscsi=swap.DeviceSwapInfo(enabled=True, applicable=False, status="none"))
    config.deviceGroups = kinds.VirtualDeviceGroups()
    config.extraConfig = _options(_made(config))


_USUAL = {
    "rebootPowerOff": False, "memoryHotAddEnabled": False, "cpuHotAddEnabled": False, "cpuHotRemoveEnabled": False,
    "hotPlugMemoryIncrementSize": 0, "swapPlacement": "inherit", "vAssertsEnabled": False, "maxMksConnections": -1,
    "guestAutoLockEnabled": True, "memoryReservationLockedToMax": False, "nestedHVEnabled": False,
    "vPMCEnabled": False, "messageBusTunnelEnabled": False, "migrateEncryption": "opportunistic",
    "ftEncryptionMode": "ftEncryptionOpportunistic", "sevEnabled": False, "pmemFailoverEnabled": False,
    "vmxStatsCollectionEnabled": True, "vmOpNotificationToAppEnabled": False, "vmOpNotificationTimeout": -1,
    "fixedPassthruHotPlugEnabled": False, "npivTemporaryDisabled": True,
}  # fmt: skip


def _no_limits(shares: int) -> Any:
    made = allocation()
    made.expandableReservation, made.shares.shares = False, shares
    return made


def _options(values: dict[str, str]) -> list[Any]:
    return [vim.option.OptionValue(key=key, value=value) for key, value in values.items()]


def _made(config: Any) -> dict[str, str]:
    """Return the settings of a VM that was never switched on."""
    stem = ds_paths.stem(config.files.vmPathName)
    values = {"nvram": f"{stem}.nvram", "svga.present": "TRUE", "pciBridge0.present": "TRUE"}
    for bridge in _BRIDGES:
        values |= {
            f"pciBridge{bridge}.present": "TRUE",
            f"pciBridge{bridge}.virtualDev": "pcieRootPort",
            f"pciBridge{bridge}.functions": "8",
        }
    return values | {
        "hpet0.present": "TRUE", "RemoteDisplay.maxConnections": "-1", "sched.cpu.latencySensitivity": "normal",
        "tools.guest.desktop.autolock": "TRUE", "disk.EnableUUID": "TRUE", "vmware.tools.internalversion": "0",
        "vmware.tools.requiredversion": "12416", "migrate.hostLogState": "none", "migrate.migrationId": "0",
        "migrate.hostLog": f"{stem}-{secrets.token_hex(4)}.hlog",
        "viv.moid": f"{config.instanceUuid}:vm-0:{secrets.token_hex(16)}=",
    }  # fmt: skip


def after_start(config: Any, host: Any) -> Any:
    """Return the configuration of a VM that was switched on: it has an overhead limit and a generation id."""
    config = copy.deepcopy(config)
    config.memoryAllocation.overheadLimit = OVERHEAD_MIB
    known = {option.key.lower() for option in config.extraConfig}
    run = _run(config, host)
    if "vm.genid" not in known and "vm.genidx" not in known:
        run |= {name: str(secrets.randbits(64) - (1 << 63)) for name in ("vm.genid", "vm.genidX")}
    config.extraConfig = [
        *config.extraConfig,
        *_options({key: value for key, value in run.items() if key.lower() not in known}),
    ]
    return config


def _run(config: Any, host: Any) -> dict[str, str]:
    stem = ds_paths.stem(config.files.vmPathName)
    values = {
        "uuid.location": "56 4d 36 d7 33 af 02 3c-" + secrets.token_bytes(8).hex(" "),
        "sched.swap.derivedName": f"/vmfs/volumes/{host._moId}/{stem}/{stem}-{secrets.token_hex(4)}.vswp",
        "monitor.phys_bits_used": "43", "numa.autosize.cookie": "10011",
        "numa.autosize.vcpu.maxPerVirtualNode": "1", "softPowerOff": "FALSE", "cleanShutdown": "FALSE",
        "vmotion.checkpointFBSize": "4194304", "vmotion.checkpointSVGAPrimarySize": "4194304",
        "vmotion.svga.mobMaxSize": "4194304", "vmotion.svga.graphicsMemoryKB": "4096",
        "vmxstats.filename": f"{stem}.scoreboard", "checkpoint.vmState": "", "replay.supported": "FALSE",
        "svga.guestBackedPrimaryAware": "TRUE", "tools.capability.verifiedSamlToken": "TRUE",
        "guestinfo.vmtools.buildNumber": "22544099", "guestinfo.vmtools.versionNumber": "12389",
        "guestinfo.vmtools.versionString": "12.3.5", "guestinfo.vmtools.description": "open-vm-tools 12.3.5",
        "guestinfo.gc.status": "Successful", "guestInfo.detailed.data": "architecture='X86' bitness='64'",
        "guestinfo.vmware.components.available": "none", "toolsInstallManager.updateCounter": "1",
        "toolsInstallManager.lastInstallError": "0", "tools.remindInstall": "FALSE", "pciBridge0.pciSlotNumber": "17",
        "vmci0.id": str(secrets.randbits(31)),
    }  # fmt: skip
    values |= {f"pciBridge{bridge}.pciSlotNumber": str(bridge + 17) for bridge in _BRIDGES}
    for device in config.hardware.device:
        if isinstance(device, Device.VirtualSCSIController):
            slot = {f"scsi{device.busNumber}.pciSlotNumber": str(160 + 32 * device.busNumber)}
            values |= slot | {f"scsi{device.busNumber}.sasWWID": "50 05 05 6e " + secrets.token_bytes(4).hex(" ")}
        elif isinstance(device, Device.VirtualEthernetCard):
            values[f"ethernet{device.key - 4000}.pciSlotNumber"] = str(192 + 32 * (device.key - 4000))
    return {key: value for key, value in values.items() if value}


def know_networks(site: Site, config: Any) -> None:
    """Let each card on a standard network name it by reference, too."""
    with site.world.lock:
        by_name = {site.world.get(ref, "name"): ref for ref in site.world.all(vim.Network) if type(ref) is vim.Network}
    for card in config.hardware.device:
        backing = card.backing
        if isinstance(backing, Device.VirtualEthernetCard.NetworkBackingInfo):
            backing.network = by_name.get(backing.deviceName, backing.network)
            backing.useAutoDetect = bool(backing.useAutoDetect)
