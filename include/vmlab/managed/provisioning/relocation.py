"""RelocateVM_Task: moves a whole VM, snapshots included, to another datastore, another host, or both.

The ids of VM, snapshots and disks stay. Storage vMotion changes every path, and leaves nothing at an old one. Moving
single disks, or to another vCenter, is not supported.
"""

import copy
import shutil
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed import ds_paths
from vmlab.managed.machine import backing_chain, disks
from vmlab.managed.provisioning.migration import ASSIGN, check_migrate, move
from vmlab.managed.site import Call, Site, task_method
from vmlab.managed.snapshots import refuse_open, snapshot_refs
from vmlab.managed.vms import write_vm_files


def check_relocate(call: Call, spec: Any, priority: Any = None) -> None:
    """Raise NoPermission for the first privilege that the caller lacks on the VM, the pool and the datastore."""
    assert call.session is not None
    check_migrate(call)
    for target, privilege in ((spec.pool, ASSIGN), (spec.datastore, "Datastore.AllocateSpace")):
        if target is not None:
            call.site.access.require(call.session.user, target, privilege)


@task_method(vim.VirtualMachine, "RelocateVM_Task", check=check_relocate)
def relocate_vm(call: Call, spec: Any, priority: Any = None) -> None:
    """Move a VM to the host, pool and datastore that the spec names."""
    datastore = None if spec.datastore is None else call.world.get(spec.datastore, "name")
    moves = spec.host is not None or spec.pool is not None
    if not (moves or datastore) or spec.disk or spec.service is not None:
        raise vmodl.fault.NotSupported(msg="vmlab relocates whole VMs to another datastore, host or pool only")
    if moves:
        move(call.site, call.this, spec.pool, spec.host, datastore)
    if datastore and ds_paths.parse(call.world.get(call.this, "config").files.vmPathName)[0] != datastore:
        relocate(call.site, call.this, datastore)


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
