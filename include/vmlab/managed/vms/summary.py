"""The summary of a VM, which lists show. Each part of the summary is worked out only when a path leads into it.

A list of thousands of VMs asks for a few paths, `summary.config.uuid` among them, and the size of a VM's files, which
another part has, costs more than all the others.
"""

from typing import Any

from vmlab.api import fill, vim
from vmlab.managed.machine import disks
from vmlab.managed.properties import is_lost
from vmlab.managed.site import Site, computed
from vmlab.managed.vms.file_list import FileList

VM = vim.VirtualMachine
Summary = vim.vm.Summary


@computed(VM, "guestHeartbeatStatus")
def heartbeat(site: Site, ref: Any) -> str:
    """Green while VMware Tools run, else gray."""
    return "green" if tools_running(site, ref) else "gray"


def tools_running(site: Site, ref: Any) -> bool:
    """Return whether VMware Tools run in the guest now."""
    guest, runtime = site.world.get(ref, "guest"), site.world.get(ref, "runtime")
    return bool(runtime.powerState == "poweredOn" and guest.toolsRunningStatus == "guestToolsRunning")


@computed(VM, "summary")
def summary(site: Site, ref: Any) -> Any:
    """The whole summary."""
    parts = {part: compute(site, ref) for part, compute in _PARTS.items()}
    return fill(Summary(vm=ref, overallStatus="green", **parts))


@computed(VM, "summary.runtime")
def _runtime(site: Site, ref: Any) -> Any:
    return site.world.get(ref, "runtime")


@computed(VM, "summary.guest")
def _guest(site: Site, ref: Any) -> Any:
    if is_lost(site, ref):
        return None
    guest = site.world.get(ref, "guest")
    return fill(
        Summary.GuestSummary(
            guestId=guest.guestId,
            guestFullName=guest.guestFullName,
            toolsStatus=guest.toolsStatus,
            toolsVersionStatus2=guest.toolsVersionStatus2,
            toolsRunningStatus=guest.toolsRunningStatus,
            hostName=guest.hostName,
            ipAddress=guest.ipAddress,
        )
    )


@computed(VM, "summary.config")
def _config(site: Site, ref: Any) -> Any:
    config = site.world.get(ref, "config")
    if is_lost(site, ref):  # its configuration cannot be read, so that its name and the path of its file are left
        lost = Summary.ConfigSummary(name=config.name, vmPathName=config.files.vmPathName, template=False)
        return fill(lost)
    cards = [d for d in config.hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard)]
    return fill(
        Summary.ConfigSummary(
            name=config.name,
            template=config.template,
            vmPathName=config.files.vmPathName,
            memorySizeMB=config.hardware.memoryMB,
            numCpu=config.hardware.numCPU,
            numEthernetCards=len(cards),
            numVirtualDisks=len(disks(config)),
            uuid=config.uuid,
            instanceUuid=config.instanceUuid,
            guestId=config.guestId,
            guestFullName=config.guestFullName,
            annotation=config.annotation,
            installBootRequired=False,
        )
    )


@computed(VM, "summary.storage")
def _storage(site: Site, ref: Any) -> Any:
    if is_lost(site, ref):
        return None
    config = site.world.get(ref, "config")
    used = FileList(site, config).size()
    provisioned = sum(disk.capacityInBytes or 0 for disk in disks(config))
    return Summary.StorageSummary(
        committed=used, uncommitted=max(0, provisioned - used), unshared=used, timestamp=config.modified
    )


@computed(VM, "summary.quickStats")
def _quick_stats(site: Site, ref: Any) -> Any:
    config, runtime = site.world.get(ref, "config"), site.world.get(ref, "runtime")
    is_on = runtime.powerState == "poweredOn"
    return fill(
        Summary.QuickStats(
            overallCpuUsage=25 if is_on else 0,
            hostMemoryUsage=config.hardware.memoryMB if is_on else 0,
            guestHeartbeatStatus=heartbeat(site, ref),
        )
    )


_PARTS = {"runtime": _runtime, "guest": _guest, "config": _config, "storage": _storage, "quickStats": _quick_stats}
