"""The file manager: deletes, moves and copies files of datastores, and makes folders."""

import shutil
from pathlib import Path
from typing import Any

from vmlab.api import vim
from vmlab.disks import DiskError
from vmlab.managed import ds_paths
from vmlab.managed.machine import backing_chain, disks
from vmlab.managed.site import Call, Site, method, task_method
from vmlab.managed.storage.disk_files import disk_fault

Manager = vim.FileManager


def check_files(call: Call, **arguments: Any) -> None:
    """Raise NoPermission if the caller may not manage files on a datastore that the call names."""
    assert call.session is not None
    for name in ("name", "sourceName", "destinationName"):
        if arguments.get(name):
            datastore = ds_paths.datastore_named(call.site, ds_paths.parse(arguments[name])[0])
            call.site.access.require(call.session.user, datastore, "Datastore.FileManagement")


@task_method(Manager, "DeleteDatastoreFile_Task", check=check_files)
def delete_file(call: Call, name: str, datacenter: Any) -> None:
    """Delete a file, a disk with its data files, or a folder with everything in it, unless a VM uses it."""
    site = call.site
    path = _existing(site, name)
    _refuse_used(site, path, name)
    if path.is_dir():
        shutil.rmtree(path)
    elif path.suffix == ".vmdk" and _is_disk(site, name):
        site.store.delete(_disk_path(name))
    else:
        path.unlink()


@method(Manager, "MakeDirectory", locked=False, check=check_files)
def make_directory(call: Call, name: str, datacenter: Any, createParentDirectories: bool | None) -> None:
    """Make a folder, with its parents if asked."""
    path = ds_paths.local(call.site, name)
    if path.exists():
        raise vim.fault.FileAlreadyExists(
            file=name, msg=f"Cannot complete the operation because the file {name} already exists"
        )
    if not path.parent.is_dir() and not createParentDirectories:
        raise vim.fault.FileNotFound(file=name, msg=f"File {ds_paths.folder_of(name)} was not found")
    path.mkdir(parents=True)


@task_method(Manager, "MoveDatastoreFile_Task", check=check_files)
def move_file(
    call: Call,
    sourceName: str,
    sourceDatacenter: Any,
    destinationName: str,
    destinationDatacenter: Any,
    force: bool | None,
) -> None:
    """Move one file or folder."""
    source = _existing(call.site, sourceName)
    _refuse_used(call.site, source, sourceName)
    target = _free(call.site, destinationName, force=bool(force))
    source.replace(target)


@task_method(Manager, "CopyDatastoreFile_Task", check=check_files)
def copy_file(
    call: Call,
    sourceName: str,
    sourceDatacenter: Any,
    destinationName: str,
    destinationDatacenter: Any,
    force: bool | None,
) -> None:
    """Copy one file or folder."""
    source = _existing(call.site, sourceName)
    target = _free(call.site, destinationName, force=bool(force))
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _existing(site: Site, name: str) -> Path:
    path = ds_paths.local(site, name)
    if not path.exists() or path == ds_paths.root_of(site, ds_paths.parse(name)[0]).resolve():
        raise vim.fault.FileNotFound(file=name, msg=f"File {name} was not found")
    return path


def _free(site: Site, name: str, *, force: bool) -> Path:
    path = ds_paths.local(site, name)
    if path.exists() and not force:
        raise vim.fault.FileAlreadyExists(
            file=name, msg=f"Cannot complete the operation because the file {name} already exists"
        )
    if not path.parent.is_dir():
        raise vim.fault.FileNotFound(file=name, msg=f"File {ds_paths.folder_of(name)} was not found")
    return path


def _disk_path(name: str) -> str:
    return ds_paths.join(*ds_paths.parse(name))


def _is_disk(site: Site, name: str) -> bool:
    try:
        site.store.info(_disk_path(name))
    except DiskError as error:
        if error.code == 9:  # no virtual disk, but a data file or something else of that name
            return False
        raise disk_fault(error, name) from error
    return True


def _refuse_used(site: Site, path: Path, name: str) -> None:
    """Raise FileLocked if a file, or a file in a folder, belongs to a registered VM."""
    with site.world.lock:
        for vm in site.world.all(vim.VirtualMachine):
            config = site.world.get(vm, "config")
            used = [config.files.vmPathName] if path.is_dir() else []
            used += [backing.fileName for disk in disks(config) for backing in backing_chain(disk.backing)]
            for file in used:
                local = ds_paths.local(site, file)
                if local == path or path in local.parents:
                    raise vim.fault.FileLocked(file=name, msg=f"Unable to access file {name} since it is locked")
