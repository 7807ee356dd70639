"""Properties of a VM that are worked out from its stored `config`, `runtime`, `guest` and `snapshot`."""

from typing import Any

from vmlab.api import fill, vim
from vmlab.managed import ds_paths
from vmlab.managed.hosts import allocation, names_network
from vmlab.managed.machine import backing_chain, disks
from vmlab.managed.properties import is_lost
from vmlab.managed.site import Site, computed

VM = vim.VirtualMachine


@computed(VM, "datastore")
def datastores(site: Site, ref: Any) -> list[Any]:
    """The datastores that a VM has files on."""
    config = site.world.get(ref, "config")
    names_network = [ds_paths.parse(config.files.vmPathName)[0]]
    names_network += [ds_paths.parse(disk.backing.fileName)[0] for disk in disks(config)]
    return [ds_paths.datastore_named(site, name) for name in dict.fromkeys(names_network)]


@computed(VM, "network")
def networks(site: Site, ref: Any) -> list[Any]:
    """The networks that a VM has adapters on."""
    devices = site.world.get(ref, "config").hardware.device
    cards = [device for device in devices if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    return [net for net in site.world.all(vim.Network) if any(names_network(site, card.backing, net) for card in cards)]


@computed(vim.Datastore, "vm")
def datastore_vm(site: Site, ref: Any) -> list[Any]:
    """The VMs that have files on a datastore."""
    return [vm for vm in site.world.all(VM) if ref in datastores(site, vm)]


@computed(vim.Network, "vm")
def network_vm(site: Site, ref: Any) -> list[Any]:
    """The VMs that have an adapter on a network."""
    return [vm for vm in site.world.all(VM) if ref in networks(site, vm)]


@computed(VM, "rootSnapshot")
def root_snapshot(site: Site, ref: Any) -> list[Any]:
    """Snapshots without a parent."""
    info = site.world.get(ref, "snapshot")
    return [tree.snapshot for tree in info.rootSnapshotList] if info is not None else []


@computed(VM, "environmentBrowser")
def environment_browser(_site: Site, ref: Any) -> Any:
    """The VM's environment browser."""
    return vim.EnvironmentBrowser(f"envbrowser-{ref._moId}")


@computed(VM, "capability")
def capability(_site: Site, _: Any) -> Any:
    """The abilities of the VM on its host."""
    yes = dict.fromkeys(
        (
            "snapshotOperationsSupported", "multipleSnapshotsSupported", "snapshotConfigSupported",
            "poweredOffSnapshotsSupported",
            "memorySnapshotsSupported", "revertToSnapshotSupported", "quiescedSnapshotsSupported",
            "changeTrackingSupported",
            "diskSharesSupported", "lockSnapshotsSupported", "vmNpivWwnSupported",
        ),
        True,
    )  # fmt: skip
    return fill(vim.vm.Capability(**yes))


@computed(VM, "guestHeartbeatStatus")
def heartbeat(site: Site, ref: Any) -> str:
    """Green while VMware Tools run, else gray."""
    return "green" if tools_running(site, ref) else "gray"


def tools_running(site: Site, ref: Any) -> bool:
    """Return whether VMware Tools run in the guest now."""
    guest, runtime = site.world.get(ref, "guest"), site.world.get(ref, "runtime")
    return bool(runtime.powerState == "poweredOn" and guest.toolsRunningStatus == "guestToolsRunning")


@computed(VM, "resourceConfig")
def resource_config(_site: Site, ref: Any) -> Any:
    """A configuration without limits."""
    return fill(vim.ResourceConfigSpec(entity=ref, cpuAllocation=allocation(), memoryAllocation=allocation()))


@computed(VM, "summary")
def summary(site: Site, ref: Any) -> Any:
    """The summary that lists show of a VM."""
    config, guest = site.world.get(ref, "config"), site.world.get(ref, "guest")
    runtime = site.world.get(ref, "runtime")
    return fill(
        vim.vm.Summary(
            vm=ref,
            runtime=runtime,
            guest=None
            if is_lost(site, ref)
            else vim.vm.Summary.GuestSummary(
                guestId=guest.guestId,
                guestFullName=guest.guestFullName,
                toolsStatus=guest.toolsStatus,
                toolsVersionStatus2=guest.toolsVersionStatus2,
                toolsRunningStatus=guest.toolsRunningStatus,
                hostName=guest.hostName,
                ipAddress=guest.ipAddress,
            ),
            config=_lost_summary(config) if is_lost(site, ref) else _config_summary(config),
            storage=None if is_lost(site, ref) else _storage_summary(site, config),
            quickStats=vim.vm.Summary.QuickStats(
                overallCpuUsage=25 if runtime.powerState == "poweredOn" else 0,
                hostMemoryUsage=config.hardware.memoryMB if runtime.powerState == "poweredOn" else 0,
                guestHeartbeatStatus=heartbeat(site, ref),
            ),
            overallStatus="green",
        )
    )


def _config_summary(config: Any) -> Any:
    cards = [d for d in config.hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard)]
    return vim.vm.Summary.ConfigSummary(
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


def _lost_summary(config: Any) -> Any:
    """Return what is left of a VM whose configuration cannot be read: its name and the path of its file."""
    return vim.vm.Summary.ConfigSummary(name=config.name, vmPathName=config.files.vmPathName, template=False)


def _storage_summary(site: Site, config: Any) -> Any:
    used = sum(item.size for item in _files(site, config))
    provisioned = sum(disk.capacityInBytes or 0 for disk in disks(config))
    return vim.vm.Summary.StorageSummary(
        committed=used, uncommitted=max(0, provisioned - used), unshared=used, timestamp=config.modified
    )


@computed(VM, "storage")
def storage(site: Site, ref: Any) -> Any:
    """Space used, by datastore."""
    config = site.world.get(ref, "config")
    used: dict[str, int] = {}
    for item in _files(site, config):
        name = ds_paths.parse(item.name)[0]
        used[name] = used.get(name, 0) + item.size
    usage = [
        vim.vm.StorageInfo.UsageOnDatastore(datastore=ds_paths.datastore_named(site, name), committed=size,
        uncommitted=0, unshared=size) for name, size in used.items()
    ]  # fmt: skip
    return vim.vm.StorageInfo(perDatastoreUsage=usage, timestamp=config.modified)


@computed(VM, "layoutEx")
def layout_ex(site: Site, ref: Any) -> Any:
    """All files of a VM and which disk they belong to."""
    kinds = vim.vm.FileLayoutEx
    config = site.world.get(ref, "config")
    files = _files(site, config)
    keys = {item.name: item.key for item in files}
    layout = kinds(file=files, timestamp=config.modified)
    for disk in disks(config):
        units = []
        for backing in reversed(backing_chain(disk.backing)):
            paths = _disk_files(site, backing.fileName)
            units.append(kinds.DiskUnit(fileKey=[keys[path] for path in paths if path in keys]))
        layout.disk.append(kinds.DiskLayout(key=disk.key, chain=units))
    return layout


@computed(VM, "layout")
def layout(site: Site, ref: Any) -> Any:
    """The older, simpler list of files."""
    config = site.world.get(ref, "config")
    return vim.vm.FileLayout(
        configFile=[ds_paths.base_name(config.files.vmPathName)],
        disk=[
            vim.vm.FileLayout.DiskLayout(
                key=disk.key, diskFile=[b.fileName for b in reversed(backing_chain(disk.backing))]
            )
            for disk in disks(config)
        ],
    )


def _disk_files(site: Site, path: str) -> list[str]:
    """Return the descriptor and data files of one link that exist."""
    stem = path.removesuffix(".vmdk")
    names_network = (
        path,
        f"{stem}-flat.vmdk",
        f"{stem}-delta.vmdk",
        f"{stem}-rdm.vmdk",
        f"{stem}-rdmp.vmdk",
        f"{stem}-ctk.vmdk",
    )
    return [name for name in names_network if ds_paths.local(site, name).exists()]


def _files(site: Site, config: Any) -> list[Any]:
    vmx = config.files.vmPathName
    folder = ds_paths.folder_of(vmx)
    stem = ds_paths.stem(vmx)
    named = {vmx: "config"}
    for name, kind in ((f"{stem}.nvram", "nvram"), (f"{stem}.vmsd", "snapshotList"), ("vmware.log", "log")):
        named[ds_paths.join(*ds_paths.parse(folder), name)] = kind
    for disk in disks(config):
        for backing in backing_chain(disk.backing):
            for path in _disk_files(site, backing.fileName):
                named[path] = "diskDescriptor" if path == backing.fileName else "diskExtent"
    found: list[Any] = []
    for path, kind in named.items():
        try:
            stat = ds_paths.local(site, path).stat()
        except OSError:
            continue
        info = vim.vm.FileLayoutEx.FileInfo(
            key=len(found),
            name=path,
            type=kind,
            size=stat.st_blocks * 512,
            uniqueSize=stat.st_blocks * 512,
            accessible=True,
        )
        found.append(info)
    return found
