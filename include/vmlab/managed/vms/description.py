"""Properties of a VM that are worked out from its stored `config`, `runtime`, `guest` and `snapshot`."""

from typing import Any

from vmlab.api import fill, vim
from vmlab.managed import ds_paths
from vmlab.managed.hosts import allocation, names_network
from vmlab.managed.machine import backing_chain, disks
from vmlab.managed.site import Site, computed
from vmlab.managed.vms.file_list import FileList

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


@computed(VM, "resourceConfig")
def resource_config(_site: Site, ref: Any) -> Any:
    """A configuration without limits."""
    return fill(vim.ResourceConfigSpec(entity=ref, cpuAllocation=allocation(), memoryAllocation=allocation()))


@computed(VM, "storage")
def storage(site: Site, ref: Any) -> Any:
    """Space used, by datastore."""
    config = site.world.get(ref, "config")
    used: dict[str, int] = {}
    for item in FileList(site, config).files():
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
    listed = FileList(site, config)
    files = listed.files()
    keys = {item.name: item.key for item in files}
    layout = kinds(file=files, timestamp=config.modified)
    for disk in disks(config):
        units = []
        for backing in reversed(backing_chain(disk.backing)):
            paths = listed.of_link(backing.fileName)
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
