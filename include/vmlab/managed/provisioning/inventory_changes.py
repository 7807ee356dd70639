"""Changes of the inventory: folders, names, moves, templates, and VMs leaving it with or without their files."""

import copy
import shutil
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed import ds_paths
from vmlab.managed.machine import disks
from vmlab.managed.site import Call, Site, method, task_method
from vmlab.managed.snapshots import known_links, snapshot_refs, stray_links
from vmlab.managed.storage import delete_chain
from vmlab.managed.vms import forget_blockers, invalid_power_state, write_vm_files
from vmlab.managed.world import abandon, above, adopt, check_free_name, inventory_name

VM = vim.VirtualMachine


_VERBS = {"Destroy_Task": "Delete", "Rename_Task": "Rename", "MoveIntoFolder_Task": "Move"}


def check_change(call: Call, **arguments: Any) -> None:
    """Raise NoPermission if the caller may not delete, rename or move: the tables leave the privilege to the server."""
    assert call.session is not None
    verb = _VERBS[call.method]
    for ref in arguments.get("list") or [call.this]:
        if isinstance(ref, VM):
            privilege = f"VirtualMachine.{'Config' if verb == 'Rename' else 'Inventory'}.{verb}"
        else:
            privilege = f"Folder.{verb}"
        call.site.access.require(call.session.user, ref, privilege)
        if verb == "Delete" and (parent := above(call.world, ref)) is not None:
            # Deleting needs the privilege on the object and on its parent.
            call.site.access.require(call.session.user, parent, privilege)


@method(vim.Folder, "CreateFolder")
def create_folder(call: Call, name: str) -> Any:
    """Make a folder in a folder."""
    if not name or len(name) > 80:
        raise vim.fault.InvalidName(name=name, msg="The name of a folder has 1 to 80 characters.")
    check_free_name(call.world, call.this, inventory_name(name))
    kinds = call.world.get(call.this, "childType")
    ref = call.world.new_ref(vim.Folder, "group-v")
    call.world.add(ref, name=inventory_name(name), parent=call.this, childType=kinds, childEntity=[])
    adopt(call.world, call.this, ref)
    return ref


@task_method(vim.ManagedEntity, "Rename_Task", check=check_change)
def rename(call: Call, newName: str) -> None:
    """Rename anything in the inventory."""
    name = inventory_name(newName)
    if not name or len(name) > 80:
        raise vim.fault.InvalidName(name=newName, msg="A name has 1 to 80 characters.")
    with call.world.transaction():
        parent = above(call.world, call.this)
        check_free_name(call.world, parent, name, besides=call.this)
        if isinstance(call.this, vim.Datastore):
            raise vmodl.fault.NotSupported(msg="vmlab does not rename datastores")
        call.world.update(call.this, name=name)
        if isinstance(call.this, VM):
            config = copy.deepcopy(call.world.get(call.this, "config"))
            config.name = name
            call.world.update(call.this, config=config)
            write_vm_files(call.site, config)


@task_method(vim.Folder, "MoveIntoFolder_Task", check=check_change)
def move_into_folder(call: Call, list: Any) -> None:
    """Move folders and VMs into a folder."""
    with call.world.transaction():
        for ref in list:
            if call.world.get(ref, "parentVApp") is not None:
                raise vmodl.fault.NotSupported(msg=f"{ref._moId} is in a vApp, which decides where it is")
            check_free_name(call.world, call.this, call.world.get(ref, "name"), besides=ref)
            abandon(call.world, ref)
            call.world.update(ref, parent=call.this)
            adopt(call.world, call.this, ref)


@task_method(vim.ManagedEntity, "Destroy_Task", check=check_change)
def destroy(call: Call) -> None:
    """Delete a VM with its files, or a folder with everything in it."""
    if isinstance(call.this, VM):
        destroy_vm(call.site, call.this)
    elif isinstance(call.this, vim.Folder) and call.world.get(call.this, "parent") is not None:
        _destroy_folder(call.site, call.this)
    else:
        raise vmodl.fault.NotSupported(msg=f"vmlab does not destroy {call.this._moId}")


def _destroy_folder(site: Site, folder: Any) -> None:
    if isinstance(site.world.get(folder, "parent"), vim.Datacenter):
        raise vmodl.fault.NotSupported(msg="a datacenter's own folder cannot be destroyed")
    for child in list(site.world.get(folder, "childEntity") or []):
        if isinstance(child, VM):
            destroy_vm(site, child)
        else:
            _destroy_folder(site, child)
    with site.world.transaction():
        abandon(site.world, folder)
        site.world.remove(folder)


def destroy_vm(site: Site, vm: Any) -> None:
    """Delete a VM that is off, with its disks, snapshots, files and entry. A mapped LUN stays."""
    with site.tasks.entity_lock(vm):
        _require_off(site, vm)
        config = site.world.get(vm, "config")
        refs = [vm, *snapshot_refs(site.world.get(vm, "snapshot"))]
        tops = {disk.backing.fileName for ref in refs for disk in disks(site.world.get(ref, "config"))}
        existing = [top for top in sorted(tops) if site.store.path(top).exists()]
        links = known_links(site.store, [*existing, *stray_links(site.store, existing)])
        busy = sorted(set(links) & set(site.open_disks()))
        if busy:
            raise vim.fault.FileLocked(file=busy[0], msg=f"Unable to access file {busy[0]} since it is locked")
        forget_vm(site, vm)
        for link in links:
            if site.store.path(link).exists():
                site.store.delete(link)
        for top in existing:
            delete_chain(site, top)
        _delete_home(site, config)


def forget_vm(site: Site, vm: Any) -> None:
    """Take a VM and its snapshots out of the inventory. Its files stay."""
    with site.world.transaction():
        for ref in snapshot_refs(site.world.get(vm, "snapshot")):
            site.world.remove(ref)
        abandon(site.world, vm)
        forget_blockers(site, vm)
        site.world.remove(vm)


def _delete_home(site: Site, config: Any) -> None:
    """Delete the VM's own files, and its folder unless other files are in it."""
    vmx = ds_paths.local(site, config.files.vmPathName)
    own = [
        vmx,
        vmx.with_suffix(".nvram"),
        vmx.with_suffix(".vmsd"),
        *vmx.parent.glob("*.vmsn"),
        *vmx.parent.glob("vmware*.log"),
    ]
    for path in own:
        path.unlink(missing_ok=True)
    root = ds_paths.root_of(site, ds_paths.parse(config.files.vmPathName)[0])
    if vmx.parent != root and vmx.parent.is_dir() and not any(vmx.parent.iterdir()):
        shutil.rmtree(vmx.parent)


def _require_off(site: Site, vm: Any) -> None:
    state = site.world.get(vm, "runtime").powerState
    if state == "poweredOn":
        raise invalid_power_state(state, "poweredOff")


@method(VM, "UnregisterVM", locked=False)
def unregister(call: Call) -> None:
    """Take a VM out of the inventory and leave its files."""
    with call.site.tasks.entity_lock(call.this):
        _require_off(call.site, call.this)
        forget_vm(call.site, call.this)


@method(VM, "MarkAsTemplate")
def mark_as_template(call: Call) -> None:
    """Make a VM that is off a template."""
    if call.world.get(call.this, "runtime").powerState != "poweredOff":
        raise invalid_power_state(call.world.get(call.this, "runtime").powerState, "poweredOff")
    if call.world.get(call.this, "config").template:
        raise vim.fault.InvalidState(msg="The virtual machine is a template already.")
    if call.world.get(call.this, "snapshot") is not None:
        raise vim.fault.InvalidState(msg="A virtual machine with snapshots cannot become a template.")
    _set_template(call, template=True, pool=None)


@method(VM, "MarkAsVirtualMachine")
def mark_as_virtual_machine(call: Call, pool: Any, host: Any) -> None:
    """Make a template a VM again."""
    if not call.world.get(call.this, "config").template:
        raise vim.fault.InvalidState(msg="The virtual machine is not a template.")
    _set_template(call, template=False, pool=pool)


def _set_template(call: Call, *, template: bool, pool: Any) -> None:
    config = copy.deepcopy(call.world.get(call.this, "config"))
    config.template = template
    call.world.update(call.this, config=config, resourcePool=pool)
