"""Moves VMs to other hosts and resource pools (vMotion). Their files, ids and snapshots stay as they are."""

import copy
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.provisioning.placement import owner_of, place
from vmlab.managed.site import Call, Site, task_method
from vmlab.managed.vms import apply_tracking, invalid_power_state

ASSIGN = "Resource.AssignVMToPool"


def check_migrate(call: Call, **_: Any) -> None:
    """Raise NoPermission unless the caller may move a VM in its power state."""
    assert call.session is not None
    running = call.world.get(call.this, "runtime").powerState == "poweredOn"
    privilege = "Resource.HotMigrate" if running else "Resource.ColdMigrate"
    call.site.access.require(call.session.user, call.this, privilege)


@task_method(vim.VirtualMachine, "MigrateVM_Task", check=check_migrate)
def migrate_vm(call: Call, pool: Any, host: Any, state: Any = None, **_: Any) -> None:
    """Move a VM to another host, another pool, or both. It may run meanwhile, and a `state` has to be its own."""
    found = call.world.get(call.this, "runtime").powerState
    if state is not None and str(state) != found:
        raise invalid_power_state(found, str(state))
    move(call.site, call.this, pool, host)


def move(site: Site, vm: Any, pool: Any, host: Any, datastore: str | None = None) -> None:
    """Enter another host and pool for a VM. The stun of the move lets change tracking begin or end.

    :param datastore: the one to which its files move, too.
    """
    world = site.world
    if pool is None and host is None:
        raise vmodl.fault.InvalidArgument(invalidProperty="host", msg="Neither a host nor a pool is named.")
    here, now = world.get(vm, "resourcePool"), world.get(vm, "runtime").host
    if here is None:
        raise vmodl.fault.NotSupported(msg="vmlab moves no template to another host")
    target = pool if pool is not None else here
    if host is None and owner_of(site, target) == owner_of(site, here):
        host = now
    chosen = place(site, _wanted(world.get(vm, "config"), datastore), target, host)
    apply_tracking(site, vm)
    with world.transaction():
        runtime = copy.deepcopy(world.get(vm, "runtime"))
        runtime.host = chosen
        world.update(vm, runtime=runtime, resourcePool=target)


def _wanted(config: Any, datastore: str | None) -> Any:
    """Return a spec that says what a host must have for a VM."""
    files = vim.vm.FileInfo(vmPathName=f"[{datastore}]" if datastore else config.files.vmPathName)
    kept = (vim.vm.device.VirtualEthernetCard, *(() if datastore else (vim.vm.device.VirtualDisk,)))
    devices = [device for device in config.hardware.device if isinstance(device, kept)]
    changes = [vim.vm.device.VirtualDeviceSpec(operation="add", device=device) for device in devices]
    return vim.vm.ConfigSpec(version=config.version, files=files, deviceChange=changes)
