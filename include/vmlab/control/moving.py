"""Starts Storage vMotion, as an administrator or Storage DRS does. Refused while a backup keeps it off the VM."""

from typing import Any

from vmlab.api import vmodl
from vmlab.control.targets import ControlError, find_vm
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
