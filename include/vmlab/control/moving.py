"""Starts Storage vMotion, as an administrator or Storage DRS does, and takes a host out of its vCenter's reach.

Storage vMotion is refused while a backup keeps it off the VM.
"""

from typing import Any

from vmlab.api import vim, vmodl
from vmlab.control.targets import ControlError, find_vm
from vmlab.managed.hosts import CONNECTED, DISCONNECTED, NOT_RESPONDING, set_host_state
from vmlab.managed.provisioning import relocate
from vmlab.managed.site import Site
from vmlab.managed.vms import RELOCATE, require_enabled


def relocate_vm(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{vm, datastore}`: move all files of a VM to another datastore."""
    vm = find_vm(site, str(body.get("vm")))
    try:
        with site.tasks.entity_lock(vm):
            require_enabled(site, vm, RELOCATE)
            relocate(site, vm, str(body.get("datastore")))
    except vmodl.MethodFault as fault:
        raise ControlError(f"{body.get('vm')}: {type(fault).__name__}: {fault.msg}", 409) from fault
    return {}


def connect_host(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{host, state}`: let a host be disconnected, not respond, or be connected again."""
    name, state = str(body.get("host")), str(body.get("state"))
    if state not in (CONNECTED, DISCONNECTED, NOT_RESPONDING):
        raise ControlError(f"no state {state!r} of a host; there are {CONNECTED}, {DISCONNECTED} and {NOT_RESPONDING}")
    found = [host for host in site.world.all(vim.HostSystem) if site.world.get(host, "name") == name]
    if not found:
        raise ControlError(f"no host {name!r}", 404)
    set_host_state(site, found[0], state)
    return {}
