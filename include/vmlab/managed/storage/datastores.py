"""Datastores: folders of this machine with a name, a capacity and a browser."""

import uuid
from typing import Any

from vmlab.api import fill, vim
from vmlab.managed.ds_paths import parse, root_of
from vmlab.managed.site import Call, Site, computed, method
from vmlab.managed.world import hosts_of

DEFAULT_CAPACITY = 2 << 40


def used_bytes(site: Site, name: str) -> int:
    """Return the bytes that the files in a datastore's folder occupy."""
    root = root_of(site, name)
    total = 0
    for path in root.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue  # a task has just removed this file
    return total


def capacity(site: Site, name: str) -> int:
    """Return a datastore's size in bytes: that of the setting `capacities`, or a default that nobody fills."""
    return int((site.world.meta("capacities") or {}).get(name, DEFAULT_CAPACITY))


def free_bytes(site: Site, name: str) -> int:
    """Return the free bytes of a datastore."""
    return max(0, capacity(site, name) - used_bytes(site, name))


def store_state(site: Site, name: str) -> str:
    """Return the state of a datastore, by the setting `datastore_states`: normal, maintenance or read-only."""
    return str((site.world.meta("datastore_states") or {}).get(name, "normal"))


def require_usable(site: Site, name: str) -> None:
    """Raise the fault for new files on a datastore in maintenance mode, or on one that is read-only."""
    if (state := store_state(site, name)) != "normal":
        raise vim.fault.InvalidDatastore(name=name, msg=f"The datastore {name} takes no new files: {state}")


@computed(vim.Datastore, "summary")
def datastore_summary(site: Site, ref: Any) -> Any:
    """The summary of a datastore: name, sizes, type."""
    name = site.world.get(ref, "name")
    return fill(
        vim.Datastore.Summary(
            datastore=ref,
            name=name,
            url=url(ref),
            capacity=capacity(site, name),
            freeSpace=free_bytes(site, name),
            uncommitted=0,
            accessible=True,
            multipleHostAccess=True,
            type="VMFS",
            maintenanceMode="inMaintenance" if store_state(site, name) == "maintenance" else "normal",
        )
    )


@computed(vim.Datastore, "info")
def info(site: Site, ref: Any) -> Any:
    """The VMFS volume behind a datastore."""
    name = site.world.get(ref, "name")
    return fill(
        vim.host.VmfsDatastoreInfo(
            name=name,
            url=url(ref),
            freeSpace=free_bytes(site, name),
            maxFileSize=64 << 40,
            maxVirtualDiskCapacity=62 << 40,
            vmfs=vmfs_volume(site, ref),
        )
    )


def vmfs_volume(site: Site, ref: Any) -> Any:
    """Return the volume as hosts see it."""
    name = site.world.get(ref, "name")
    identity = url(ref).strip("/").rpartition("/")[2]
    extent = (site.world.meta("extents") or {}).get(name) or f"naa.{identity.replace('-', '')}"
    return fill(
        vim.host.VmfsVolume(
            name=name, capacity=capacity(site, name), type="VMFS", uuid=identity, majorVersion=6, version="6.82",
            blockSizeMb=1, blockSize=1024, maxBlocks=63963136, vmfsUpgradable=False, local=False,
            extent=[vim.host.ScsiDisk.Partition(diskName=extent, partition=1)],
        )
    )  # fmt: skip


def holds_mappings(site: Site, name: str) -> bool:
    """Return whether the pointer of a raw device mapping can lie on a datastore."""
    return name not in (site.world.meta("without_mappings") or [])


def mount_info(site: Site, ref: Any) -> Any:
    """Return the mount of a datastore, which is the same at every host."""
    mode = "readOnly" if store_state(site, site.world.get(ref, "name")) == "read-only" else "readWrite"
    return vim.host.MountInfo(path=url(ref)[5:], accessMode=mode, mounted=True, accessible=True)


@computed(vim.Datastore, "capability")
def datastore_capability(site: Site, ref: Any) -> Any:
    """The abilities of a VMFS datastore. One that holds no mappings stands for NFS."""
    return fill(
        vim.Datastore.Capability(
            directoryHierarchySupported=True,
            rawDiskMappingsSupported=holds_mappings(site, site.world.get(ref, "name")),
            perFileThinProvisioningSupported=True,
            nativeSnapshotSupported=False,
        )
    )


@computed(vim.Datastore, "host")
def host(site: Site, ref: Any) -> list[Any]:
    """The hosts that mount a datastore."""
    return [vim.Datastore.HostMount(key=key, mountInfo=mount_info(site, ref)) for key in hosts_of(site.world, ref)]


@computed(vim.Datastore, "browser")
def browser(_site: Site, ref: Any) -> Any:
    """The datastore's browser."""
    return vim.host.DatastoreBrowser(f"datastoreBrowser-{ref._moId}")


@method(vim.Datastore, "RefreshDatastore")
@method(vim.Datastore, "RefreshDatastoreStorageInfo")
def refresh(call: Call) -> None:
    """Wake waiting clients. Sizes are always fresh."""
    call.world.touch()


def url(ref: Any) -> str:
    """A datastore's `ds:///vmfs/volumes/…/` URL."""
    volume = uuid.uuid5(uuid.NAMESPACE_DNS, f"vmlab-{ref._moId}").hex
    return f"ds:///vmfs/volumes/{volume[:8]}-{volume[8:16]}-{volume[16:20]}-{volume[20:]}/"


def name_of(path: str) -> str:
    """The datastore name in a datastore path."""
    return parse(path)[0]
