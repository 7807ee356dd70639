"""Carries out a device plan on the datastores: makes, maps, attaches, grows and deletes disks.

If a later action fails, the disks made by earlier ones are removed again, so a VM is changed wholly or not at all.
"""

import contextlib
from typing import Any

from vmlab.api import type_of, vim
from vmlab.disks import DiskError
from vmlab.managed import ds_paths
from vmlab.managed.machine import Disk, DiskAction, capacity_of, invalid_device, is_rdm
from vmlab.managed.site import Site
from vmlab.managed.storage.datastores import free_bytes, holds_mappings, require_usable
from vmlab.managed.storage.luns import Lun, all_luns, lun_file, lun_users

MAX_CAPACITY = 62 << 40


def carry_out(site: Site, actions: list[DiskAction], home: str, stem: str) -> None:
    """Do the actions in order; `home` is the VM's folder, `stem` the name new disks start with. Raises faults.

    Deletes come last, when nothing can fail any more.
    """
    _refuse_open(site, actions)
    made: list[str] = []
    try:
        for action in actions:
            if action.verb != "destroy":
                _do(site, action, home, stem, made)
    except BaseException:
        for path in reversed(made):
            with contextlib.suppress(DiskError, OSError):
                site.store.delete(path)
        raise
    for action in actions:
        if action.verb == "destroy":
            delete_chain(site, action.disk.backing.fileName)


def _refuse_open(site: Site, actions: list[DiskAction]) -> None:
    """Raise FileLocked if a backup client holds a disk open that is to be deleted, replaced or grown."""
    busy = set(site.open_disks())
    for action in actions:
        path = action.disk.backing.fileName
        if action.verb in ("destroy", "replace", "extend") and path in busy:
            raise vim.fault.FileLocked(file=path, msg=f"Unable to access file {path} since it is locked")


def delete_chain(site: Site, path: str) -> None:
    """Delete a disk with all its links. A missing one is no error."""
    with contextlib.suppress(DiskError):
        for link in site.store.chain(path):
            site.store.delete(link)


def disk_fault(error: DiskError, path: str) -> Any:
    """The vSphere fault for an error of the disk core."""
    kinds = {
        4: (vim.fault.FileNotFound, "File {} was not found"),
        8: (vim.fault.NoDiskSpace, "Insufficient disk space for {}"),
        12: (vim.fault.FileAlreadyExists, "The file {} already exists"),
        15: (vim.fault.FileLocked, "Unable to access file {} since it is locked"),
        22: (vim.fault.InvalidDatastorePath, "Invalid datastore path {}"),
    }
    kind, text = kinds.get(error.code, (vim.fault.FileFault, "Cannot access file {}: " + str(error)))
    if kind is vim.fault.InvalidDatastorePath:
        return kind(datastorePath=path, msg=text.format(path))
    return kind(file=path, msg=text.format(path))


def _do(site: Site, action: DiskAction, home: str, stem: str, made: list[str]) -> None:
    path = action.disk.backing.fileName or ""
    try:
        match action.verb:
            case "create" | "replace":
                path = _create(site, action, home, stem, made)
            case "rdm":
                path = _map_lun(site, action, home, stem, made)
            case "attach":
                path = _existing(site, path)
            case "extend":
                _check_space(site, path, capacity_of(action.disk), thin=bool(action.disk.backing.thinProvisioned))
                site.store.extend(path, capacity_of(action.disk))
        complete_backing(site, action.disk, path)
    except DiskError as error:
        raise disk_fault(error, path) from error


def complete_backing(site: Site, disk: Any, path: str) -> None:
    """Fill a disk's capacity and backing from its files."""
    info = site.store.info(path)
    backing = disk.backing
    backing.fileName = path
    backing.datastore = ds_paths.datastore_named(site, ds_paths.parse(path)[0])
    backing.uuid, backing.contentId = info.uuid, info.content_id
    if isinstance(backing, Disk.FlatVer2BackingInfo):
        backing.thinProvisioned = info.thin
        backing.writeThrough = bool(backing.writeThrough)
        backing.split = bool(backing.split)
    disk.capacityInBytes, disk.capacityInKB = info.capacity, info.capacity // 1024
    disk.deviceInfo.summary = f"{info.capacity // 1024:,} KB"
    if disk.shares is None:
        disk.shares = vim.SharesInfo(shares=1000, level="normal")


def _create(site: Site, action: DiskAction, home: str, stem: str, made: list[str]) -> str:
    disk = action.disk
    capacity = capacity_of(disk)
    if capacity > MAX_CAPACITY or capacity % 512:
        raise invalid_device(action.index, "capacityInKB", f"a capacity of {capacity} bytes is not possible")
    path = _target(site, disk.backing.fileName, home, stem)
    file = ds_paths.local(site, path)
    if action.verb == "replace" and file.exists():
        delete_chain(site, path)
    elif file.exists():
        raise vim.fault.FileAlreadyExists(
            file=path, msg=f"Cannot complete the operation because the file {path} already exists"
        )
    thin = bool(disk.backing.thinProvisioned)
    _check_space(site, path, capacity, thin=thin)
    site.store.create(path, capacity, thin=thin, adapter=action.adapter, uuid=disk.backing.uuid)
    made.append(path)
    return path


def _check_space(site: Site, path: str, capacity: int, *, thin: bool) -> None:
    name = ds_paths.parse(path)[0]
    require_usable(site, name)
    if not thin and capacity > free_bytes(site, name):
        raise vim.fault.NoDiskSpace(file=path, datastore=name, msg=f"Insufficient disk space on datastore '{name}'.")


def _target(site: Site, asked: str | None, home: str, stem: str) -> str:
    """Return the path of a new disk: as asked, or the first free `stem_N.vmdk` of a folder."""
    datastore, rest = ds_paths.parse(asked) if asked else ds_paths.parse(home)
    if rest.endswith(".vmdk"):
        ds_paths.local(site, f"[{datastore}] {rest}")
        folder = ds_paths.local(site, ds_paths.folder_of(f"[{datastore}] {rest}"))
        if not folder.is_dir():
            raise vim.fault.FileNotFound(file=asked, msg=f"File {asked} was not found: its folder does not exist")
        return f"[{datastore}] {rest}"
    folder_name = rest or ds_paths.parse(home)[1]
    number = 0
    while True:
        path = ds_paths.join(datastore, folder_name, f"{stem}_{number}.vmdk" if number else f"{stem}.vmdk")
        local = ds_paths.local(site, path)
        if not local.exists() and not local.with_name(local.stem + "-flat.vmdk").exists():
            return path
        number += 1


def _existing(site: Site, path: str) -> str:
    if not path or not ds_paths.local(site, path).is_file():
        raise vim.fault.FileNotFound(file=path, msg=f"File {path} was not found")
    return path


def _map_lun(site: Site, action: DiskAction, home: str, stem: str, made: list[str]) -> str:
    backing = action.disk.backing
    lun = _free_lun(site, action)
    path = _target(site, backing.fileName, home, stem)
    store = ds_paths.parse(path)[0]
    if not holds_mappings(site, store):
        raise vim.fault.RDMNotSupportedOnDatastore(
            device=str(action.index), datastore=ds_paths.datastore_named(site, store), datastoreName=store,
            msg=f"Datastore {store} cannot hold raw device mappings.",
        )  # fmt: skip
    physical = is_rdm(backing, "physicalMode")
    site.store.create_rdm(path, lun_file(site, lun), lun.capacity, physical=physical, adapter=action.adapter)
    made.append(path)
    backing.lunUuid, backing.deviceName = lun.uuid, lun.canonical
    backing.compatibilityMode = backing.compatibilityMode or "virtualMode"
    return path


def _free_lun(site: Site, action: DiskAction) -> Lun:
    """Return the LUN that a mapping names by its ConfigTarget values. Raises faults for an unknown or used one."""
    backing = action.disk.backing
    name = (backing.deviceName or "").rpartition("/")[2]
    with site.world.lock:
        lun = next((lun for lun in all_luns(site) if lun.uuid == backing.lunUuid), None)
        if lun is None and not backing.lunUuid:
            lun = next((lun for lun in all_luns(site) if lun.canonical == name), None)
        user = lun_users(site).get(lun.uuid) if lun is not None else None
    if lun is None or (name and name != lun.canonical):
        path = (
            "virtualDeviceSpec.device.backing.lunUuid" if lun is None else "virtualDeviceSpec.device.backing.deviceName"
        )
        message = (
            f"Incompatible device backing specified for device '{action.index}': no such LUN in the config target."
        )
        raise vim.fault.InvalidDeviceBacking(deviceIndex=action.index, property=path, msg=message)
    if user is not None:
        message = f"The LUN {lun.canonical} is already in use by a virtual machine."
        raise vim.fault.ResourceInUse(type=type_of(vim.host.ScsiDisk()), name=lun.canonical, msg=message)
    return lun
