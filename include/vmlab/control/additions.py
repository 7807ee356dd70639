"""What no call of the API makes here, or no call at all: more datastores, networks and hosts, and VMs that get lost."""

from typing import Any

from vmlab.control.targets import ControlError, find_vm
from vmlab.managed import ds_paths
from vmlab.managed.lost import STATES, set_connection
from vmlab.managed.site import Site
from vmlab.managed.vm_create import adopt, check_free_name, inventory_name
from vmlab.soap.types import vim, vmodl

_LONGEST = 80


def connect_vm(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{vm, state}`: the VM's connection state; `connected` brings a lost one back."""
    state = str(body.get("state"))
    if state not in (known := {"connected", "disconnected", *STATES}):
        raise ControlError(f"no connection state {state!r}; there are {', '.join(sorted(known))}")
    set_connection(site, find_vm(site, body.get("vm")), state)
    return {}


def add(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{kind: datastore | network | host, name}`: one more, for every host; answers its moref."""
    kind, typed = body.get("kind"), str(body.get("name") or "")
    if not 0 < len(typed) <= _LONGEST:
        raise ControlError("a name has 1 to 80 characters")
    name = inventory_name(typed)
    try:
        match kind:
            case "datastore":
                ref = _in_folder(site, site.world.new_ref(vim.Datastore, "datastore"), "datastoreFolder", name)
                ds_paths.root_of(site, name).mkdir(parents=True)
            case "network":
                ref = _in_folder(site, site.world.new_ref(vim.Network, "network"), "networkFolder", name)
            case "host":
                cluster = site.world.all(vim.ClusterComputeResource)[0]
                ref = site.world.add(site.world.new_ref(vim.HostSystem, "host"), name=name, parent=cluster)
            case _:
                raise ControlError(f"cannot add a {kind!r}; a datastore, network or host")
    except vmodl.MethodFault as fault:
        raise ControlError(f"{typed}: {fault.msg}", 409) from fault
    site.add_companion(ref)
    return {"moref": ref._moId}


def _in_folder(site: Site, ref: Any, folder_name: str, name: str) -> Any:
    folder = site.world.get(site.world.all(vim.Datacenter)[0], folder_name)
    with site.world.transaction():
        check_free_name(site, folder, name)
        site.world.add(ref, name=name, parent=folder)
        adopt(site, folder, ref)
    return ref
