"""RelocateVM_Task: Storage vMotion of a whole VM, snapshots included, to another datastore.

The ids of VM, snapshots and disks stay, and every path changes. Nothing is left at an old path. Moving to another
host, or moving single disks, is not supported.
"""

import copy
import shutil
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed import ds_paths
from vmlab.managed.machine import backing_chain, disks
from vmlab.managed.site import Call, Site, task_method
from vmlab.managed.snapshots import refuse_open, snapshot_refs
from vmlab.managed.vms import write_vm_files


@task_method(vim.VirtualMachine, "RelocateVM_Task")
def relocate_vm(call: Call, spec: Any, priority: Any = None) -> None:
    """Move a VM's files to the datastore that the spec names."""
    if spec.datastore is None or spec.disk or spec.host is not None or spec.service is not None:
        raise vmodl.fault.NotSupported(msg="vmlab relocates whole VMs to another datastore only")
    relocate(call.site, call.this, call.world.get(spec.datastore, "name"))


def relocate(site: Site, vm: Any, datastore: str) -> None:
    """Move a VM's folder to another datastore. Raises FileLocked while a backup client reads one of its disks."""
    world = site.world
    configs = {ref: world.get(ref, "config") for ref in (vm, *snapshot_refs(world.get(vm, "snapshot")))}
    links = {link.fileName for config in configs.values() for disk in disks(config) for link in _links(disk)}
    home = ds_paths.folder_of(world.get(vm, "config").files.vmPathName)
    if any(ds_paths.folder_of(link) != home for link in links):
        raise vmodl.fault.NotSupported(msg="vmlab relocates VMs only whose disks lie in the VM's own folder")
    refuse_open(site, links)
    old, new = f"{home}/", f"{ds_paths.join(datastore, ds_paths.parse(home)[1])}/"
    target = ds_paths.local(site, new)
    if target.exists():
        raise vim.fault.FileAlreadyExists(file=new, msg=f"The file {new} already exists")
    shutil.move(ds_paths.local(site, old), target)
    with world.transaction():
        for ref, config in configs.items():
            world.update(ref, config=_moved(config, old, new))
        write_vm_files(site, world.get(vm, "config"))


def _links(disk: Any) -> list[Any]:
    return backing_chain(disk.backing)


def _moved(config: Any, old: str, new: str) -> Any:
    config = copy.deepcopy(config)
    for name in ("vmPathName", "snapshotDirectory", "suspendDirectory", "logDirectory"):
        path = getattr(config.files, name)
        if path is not None:
            setattr(config.files, name, path.replace(old.rstrip("/"), new.rstrip("/"), 1))
    for disk in disks(config):
        for link in _links(disk):
            link.fileName = link.fileName.replace(old, new, 1)
    return config
