"""The places of the demo inventory: folders, hosts, pools, datastores and networks of a vCenter, or of a lone host."""

from dataclasses import dataclass
from typing import Any

from vmlab.api import vim
from vmlab.managed import ds_paths
from vmlab.managed.site import ADMIN_ROLE, BACKUP_ROLE, READ_ONLY_ROLE, Site
from vmlab.managed.vcenter import add_companions
from vmlab.managed.world import HOST_ROOT_FOLDER, ROOT_FOLDER, adopt

_KINDS = {
    "vm": vim.VirtualMachine, "host": vim.ComputeResource, "datastore": vim.Datastore, "network": vim.Network,
}  # fmt: skip
_NETWORKS = {31: "VM Network", 32: "Backup Network"}
_DATASTORES = {21: "datastore1", 22: "datastore2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The folders and the pool that VMs can be put into."""

    folders: dict[str, Any]
    pool: Any


def make_places(site: Site) -> Places:
    """Enter the places of the product that the lab plays, and grant its users their roles."""
    with site.world.transaction():
        return _places_of_a_vcenter(site) if site.product.is_vcenter else _places_of_a_host(site)


def _places_of_a_vcenter(site: Site) -> Places:
    tops = _tops(
        site, ROOT_FOLDER, "Datacenters", vim.Datacenter("datacenter-2"), "Lab",
        {"vm": "group-v3", "host": "group-h4", "datastore": "group-s5", "network": "group-n6"},
    )  # fmt: skip
    pool = _cluster(site, tops["host"])
    for number, name in _DATASTORES.items():
        _datastore(site, vim.Datastore(f"datastore-{number}"), tops["datastore"], name)
    for number, name in _NETWORKS.items():
        _child(site, vim.Network(f"network-{number}"), tops["network"], name=name)
    folders = {"": tops["vm"]}
    for number, name in ((41, "Production"), (42, "Test")):
        ref = vim.Folder(f"group-v{number}")
        _child(site, ref, tops["vm"], name=name, childType=[vim.Folder, vim.VirtualMachine], childEntity=[])
        folders[name] = ref
    return Places(folders=folders, pool=pool)


def _places_of_a_host(site: Site) -> Places:
    """A host has its fixed places, with ids that every host has, and one folder for all VMs."""
    tops = _tops(
        site, HOST_ROOT_FOLDER, "ha-folder-root", vim.Datacenter("ha-datacenter"), "ha-datacenter",
        {kind: f"ha-folder-{kind}" for kind in _KINDS},
    )  # fmt: skip
    compute, pool, host = vim.ComputeResource("ha-compute-res"), vim.ResourcePool("ha-root-pool"), "esx01.localhost"
    _child(site, compute, tops["host"], name=host, resourcePool=pool)
    site.world.add(pool, name="Resources", parent=compute, owner=compute)
    _host(site, vim.HostSystem("ha-host"), compute, host)
    for number, name in _DATASTORES.items():
        _datastore(site, vim.Datastore(f"6543aa{number}-01234567-89ab-020000000001"), tops["datastore"], name)
    for name in _NETWORKS.values():
        _child(site, vim.Network(f"HaNetwork-{name}"), tops["network"], name=name)
    return Places(folders=dict.fromkeys(("", "Production", "Test"), tops["vm"]), pool=pool)


def _tops(
    site: Site, root: Any, root_name: str, center: Any, center_name: str, ids: dict[str, str]
) -> dict[str, Any]:  # fmt: skip
    """Enter the root folder, its users' grants, the datacenter and its four folders."""
    world = site.world
    world.add(root, name=root_name, childType=[vim.Folder, vim.Datacenter], childEntity=[])
    roles = {"administrator": ADMIN_ROLE, "backup": BACKUP_ROLE, "readonly": READ_ONLY_ROLE}
    world.set_meta("grants", {site.product.user(name): {root._moId: role} for name, role in roles.items()})
    tops = {kind: vim.Folder(moid) for kind, moid in ids.items()}
    world.add(center, name=center_name, parent=root, **{f"{kind}Folder": ref for kind, ref in tops.items()})
    adopt(world, root, center)
    for kind, ref in tops.items():
        world.add(ref, name=kind, parent=center, childType=[vim.Folder, _KINDS[kind]], childEntity=[])
    return tops


def _cluster(site: Site, folder: Any) -> Any:
    """Enter a cluster of two hosts. Returns its root pool."""
    cluster, root_pool = vim.ClusterComputeResource("domain-c7"), vim.ResourcePool("resgroup-8")
    _child(site, cluster, folder, name="Cluster1", resourcePool=root_pool)
    site.world.add(root_pool, name="Resources", parent=cluster, owner=cluster)
    site.world.add(vim.ResourcePool("resgroup-9"), name="Production", parent=root_pool, owner=cluster)
    for number in (1, 2):
        _host(site, vim.HostSystem(f"host-{10 + number}"), cluster, f"esx0{number}.localhost")
    return root_pool


def _host(site: Site, ref: Any, parent: Any, name: str) -> None:
    site.world.add(ref, name=name, parent=parent)
    add_companions(site, ref)


def _datastore(site: Site, ref: Any, folder: Any, name: str) -> None:
    _child(site, ref, folder, name=name)
    ds_paths.root_of(site, name).mkdir(parents=True, exist_ok=True)


def _child(site: Site, ref: Any, folder: Any, **props: Any) -> None:
    site.world.add(ref, parent=folder, **props)
    add_companions(site, ref)
    adopt(site.world, folder, ref)
