"""Finds the host of a new VM: one in use, with the hardware version, datastores and networks that the VM needs.

If the caller names no host, a cluster with DRS or a lone host chooses, without regard to what the VM needs. A cluster
without DRS refuses.
"""

from collections.abc import Iterator
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed import ds_paths
from vmlab.managed.hosts import (
    CONNECTED,
    MAINTENANCE,
    check_card,
    check_host_version,
    host_state,
    hosts_of_cluster,
    require_connected,
    runs_version,
    uses_drs,
)
from vmlab.managed.machine import Device, Disk
from vmlab.managed.site import Site
from vmlab.managed.world import hosts_of


def place(site: Site, spec: Any, pool: Any, host: Any) -> Any:
    """Return the host for a new VM. Raises the faults of CreateVM_Task for a missing or unfit host."""
    with site.world.lock:
        owner = owner_of(site, pool)
        members = hosts_of_cluster(site, owner)
        if host is not None:
            if host not in members:
                message = f"{site.world.get(host, 'name')} is not a host of {site.world.get(owner, 'name')}"
                raise vmodl.fault.InvalidArgument(invalidProperty="host", msg=message)
            _check(site, spec, host)
            return host
        if isinstance(owner, vim.ClusterComputeResource) and not uses_drs(site, owner):
            message = f"{site.world.get(owner, 'name')} does not use DRS: a host has to be named"
            raise vmodl.fault.InvalidArgument(invalidProperty="host", msg=message)
        return _chosen(site, spec, members)


def owner_of(site: Site, pool: Any) -> Any:
    """Return the cluster, or the lone host's compute resource, to which a resource pool belongs."""
    while isinstance(pool, vim.ResourcePool):
        pool = site.world.get(pool, "parent")
    return pool


def _chosen(site: Site, spec: Any, members: list[Any]) -> Any:
    """Return the host with the fewest VMs, among those in use that run the VM's version.

    Raises the fault of any such host that lacks something, because the documents say that the system selects a default
    host, and nowhere that this host has what the VM needs.
    """
    usable = [host for host in members if host_state(site, host) == CONNECTED]
    if not usable:
        raise vim.fault.NoCompatibleHost(msg="No host of the cluster is in use.")
    fit = [host for host in usable if not spec.version or runs_version(site, host, spec.version)]
    for host in fit or usable:
        _check(site, spec, host)
    vms = [site.world.get(vm, "runtime").host for vm in site.world.all(vim.VirtualMachine)]
    return min(fit or usable, key=vms.count)


def _check(site: Site, spec: Any, host: Any) -> None:
    name = site.world.get(host, "name")
    require_connected(site, host)
    if host_state(site, host) == MAINTENANCE:
        raise vim.fault.InvalidState(msg=f"The operation is not allowed in the current state of host {name}.")
    if spec.version:
        check_host_version(site, host, spec.version)
    for datastore in _datastores(spec):
        if host not in hosts_of(site.world, ds_paths.datastore_named(site, datastore)):
            message = f"Host {name} has no datastore '{datastore}'."
            raise vim.fault.InvalidDatastore(name=datastore, msg=message)
    for index, change in enumerate(spec.deviceChange):
        if isinstance(change.device, Device.VirtualEthernetCard):
            check_card(site, host, change.device, index)


def _datastores(spec: Any) -> Iterator[str]:
    """Yield the names of the datastores that a spec's files are on."""
    if spec.files is not None and spec.files.vmPathName:
        yield ds_paths.parse(spec.files.vmPathName)[0]
    for change in spec.deviceChange:
        file_name = getattr(change.device.backing, "fileName", None)
        if isinstance(change.device, Disk) and file_name:
            yield ds_paths.parse(file_name)[0]
