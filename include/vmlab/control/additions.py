"""Calls that add datastores, LUNs, networks and hosts, or make a VM unreachable: no call of the API does."""

import uuid
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.control.targets import ControlError, find_vm
from vmlab.managed import ds_paths
from vmlab.managed.hosts import Switch, add_group, add_opaque, add_switch
from vmlab.managed.properties import LOST_STATES, set_connection
from vmlab.managed.site import Site
from vmlab.managed.storage import add_lun, add_policy, all_luns, lun_file
from vmlab.managed.vcenter import Tagging, add_companions
from vmlab.managed.world import adopt, check_free_name, inventory_name, limit_hosts

_LONGEST = 80


def connect_vm(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{vm, state}`: set the VM's connection state; `connected` brings an unreachable VM back."""
    state = str(body.get("state"))
    if state not in (known := {"connected", "disconnected", *LOST_STATES}):
        raise ControlError(f"no connection state {state!r}; there are {', '.join(sorted(known))}")
    set_connection(site, find_vm(site, body.get("vm")), state)
    return {}


def add(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{kind: datastore | network | host, name}`: add one; answers its moref.

    Other kinds are `switch` (`uuid?`), `port group` (`switch`, a moref; `uplink?`) and `opaque network` (`id`). The
    first two take the `moref` that the caller wishes. `hosts` names the hosts that have the new object; without it, all
    have it. `folder` is a subfolder. A `storage policy` (`id?`) is answered with its id. A `lun` (`capacity`, in bytes)
    has no name of its own, and is answered with its names; a `datastore` may lie on one (`lun`: its canonical name), or
    hold no pointers to any (`without_mappings`), as NFS does.
    """
    if body.get("kind") == "lun":
        return _lun(site, body)
    kind, typed = body.get("kind"), str(body.get("name") or "")
    if not 0 < len(typed) <= _LONGEST:
        raise ControlError("a name has 1 to 80 characters")
    name = inventory_name(typed)
    try:
        match kind:
            case "datastore":
                ref = _in_folder(site, site.world.new_ref(vim.Datastore, "datastore"), "datastoreFolder", name)
                ds_paths.root_of(site, name).mkdir(parents=True)
                if body.get("without_mappings"):
                    site.world.set_meta("without_mappings", [*(site.world.meta("without_mappings") or []), name])
                if "lun" in body:
                    site.world.set_meta("extents", {**(site.world.meta("extents") or {}), name: str(body["lun"])})
            case "network" | "switch" | "port group" | "opaque network":
                ref = _network(site, body, name)
            case "storage policy":
                policy = str(body.get("id") or uuid.uuid4())
                add_policy(site, policy, typed, body.get("datastores"))
                return {"id": policy}
            case "tag":
                return {"id": _tag(site, str(body.get("category") or "tags"), typed)}
            case "host":
                cluster = site.world.all(vim.ClusterComputeResource)[0]
                ref = site.world.add(site.world.new_ref(vim.HostSystem, "host"), name=name, parent=cluster)
            case _:
                raise ControlError(f"cannot add a {kind!r}; see docs/vmlab.md")
    except vmodl.MethodFault as fault:
        raise ControlError(f"{typed}: {fault.msg}", 409) from fault
    add_companions(site, ref)
    if "hosts" in body:
        limit_hosts(
            site.world, ref, [host for host in site.world.all(vim.HostSystem) if _name(site, host) in body["hosts"]]
        )
    return {"moref": ref._moId}


def _lun(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    capacity = int(body.get("capacity") or 0)
    if capacity <= 0 or capacity % 512:
        raise ControlError("the capacity of a LUN is a number of whole sectors, in bytes")
    hosts = tuple(map(str, body["hosts"])) if "hosts" in body else None
    number = 1 + max((lun.number for lun in all_luns(site)), default=-1)
    lun = add_lun(site, number, capacity, hosts)
    return {"name": lun.canonical, "uuid": lun.uuid, "file": str(lun_file(site, lun))}


def _tag(site: Site, category: str, name: str) -> str:
    tagging = Tagging(site)
    made = next((key for key, row in tagging.categories().items() if row["name"] == category), None)
    if made is None:
        spec = {"name": category, "description": "", "cardinality": "MULTIPLE", "associable_types": []}
        made = tagging.add_category(spec)
    return tagging.add_tag({"name": name, "description": "", "category_id": made})


def _in_folder(site: Site, ref: Any, folder_name: str, name: str) -> Any:
    folder = site.world.get(site.world.all(vim.Datacenter)[0], folder_name)
    with site.world.transaction():
        check_free_name(site.world, folder, name)
        site.world.add(ref, name=name, parent=folder)
        adopt(site.world, folder, ref)
    return ref


def _network(site: Site, body: dict[str, Any], name: str) -> Any:
    folder = _network_folder(site, body.get("folder"))
    moref = body.get("moref")
    with site.world.transaction():
        check_free_name(site.world, folder, name)
        match body["kind"]:
            case "switch":
                ref = add_switch(site, folder, name, switch_uuid=body.get("uuid"), moref=moref)
            case "port group":
                switch = site.world.entry(Switch(str(body.get("switch")))).ref
                ref = add_group(site, folder, name, switch, moref=moref, uplink=bool(body.get("uplink")))
            case "opaque network":
                ref = add_opaque(site, folder, name, str(body.get("id")))
            case _:
                ref = site.world.add(site.world.new_ref(vim.Network, "network"), name=name, parent=folder)
        adopt(site.world, folder, ref)
    return ref


def _network_folder(site: Site, name: str | None) -> Any:
    """Return the datacenter's network folder, or a subfolder, in which the same names may be used again."""
    top = site.world.get(site.world.all(vim.Datacenter)[0], "networkFolder")
    if name is None:
        return top
    found = [
        ref for ref in site.world.get(top, "childEntity") if isinstance(ref, vim.Folder) and _name(site, ref) == name
    ]
    if found:
        return found[0]
    with site.world.transaction():
        made = site.world.new_ref(vim.Folder, "group-n")
        kinds = site.world.get(top, "childType")
        site.world.add(made, name=name, parent=top, childType=kinds, childEntity=[])
        adopt(site.world, top, made)
    return made


def _name(site: Site, ref: Any) -> str:
    return str(site.world.get(ref, "name"))
