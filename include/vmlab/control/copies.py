"""Registers VMs whose files storage brought, under an id that the caller chooses.

A replica of an array, a cloned LUN or a copied folder is a second VM with every UUID of the first, also those of its
disks and of their change tracking. Each vCenter gives out ids of its own, so two VMs may share an id, too.
"""

from typing import Any

from vmlab.api import vim, vmodl
from vmlab.control.targets import ControlError
from vmlab.managed.properties import find_by_path
from vmlab.managed.provisioning import register_vm
from vmlab.managed.site import Site
from vmlab.managed.vms import power_on


def register_copy(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{path, folder?, name?, moref?, power_on?}`: register the .vmx at a datastore path. Its UUIDs stay."""
    moref = body.get("moref")
    folder = find_by_path(site, str(body.get("folder") or "Lab/vm"))
    if not isinstance(folder, vim.Folder) or vim.VirtualMachine not in site.world.get(folder, "childType"):
        raise ControlError(f"no VM folder {body.get('folder')!r}", 404)
    if moref is not None and site.world.exists(vim.VirtualMachine(str(moref))):
        raise ControlError(f"{moref} is taken: give another id, or destroy that VM first", 409)
    pool = site.world.all(vim.ResourcePool)[0]
    try:
        ref = register_vm(
            site, folder, str(body.get("path")), body.get("name"), pool, None, template=False, moref=moref
        )  # fmt: skip
        if body.get("power_on"):
            with site.tasks.entity_lock(ref):
                power_on(site, ref)
    except vmodl.MethodFault as fault:
        raise ControlError(f"{body.get('path')}: {fault.msg}") from fault
    return {"moref": ref._moId}
