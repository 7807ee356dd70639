"""Tells which datastores of a host take no new data: in maintenance mode, read-only, or out of its reach."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from vmkeep.errors import ConflictError
from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import named
from vmkeep.vsphere.api import moref_of
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.paths import DatastorePath
from vmkeep.vsphere.properties import read, read_each
from vmkeep.vsphere.session import Session

_STATE = ("name", "summary.accessible", "summary.maintenanceMode", "host")


def obstacles_of(session: Session, stores: Iterable[Any], host: str) -> Mapping[str, str]:
    """Return each of some datastores by its name as vSphere stores it, with what keeps a host from writing there.

    :param stores: managed datastores.
    :param host: managed object id.
    :returns: a clause about the datastore; empty: nothing does.
    """
    return {values["name"]: _obstacle(values, host) for _, values in read_each(session, stores, *_STATE)}


def _obstacle(values: Mapping[str, Any], host: str) -> str:
    mode = values["summary.maintenanceMode"] or "normal"
    mount = next((each.mountInfo for each in values["host"] or () if moref_of(each.key) == host), None)
    if mode != "normal":
        return "is in maintenance mode" if mode == "inMaintenance" else "is entering maintenance mode"
    if values["summary.accessible"] is False or (mount is not None and mount.accessible is False):
        return "is not accessible"
    if mount is not None and mount.accessMode == "readOnly":
        return "is mounted read-only"
    return ""


def require_writable(session: Session, moref: str, name: str, vmx: str, disks: Collection[Disk]) -> None:
    """Return if the host of a VM can write to the VM's own files and to some of its disks.

    :param name: the VM, for people.
    :param vmx: datastore path of its configuration file.
    :raises ConflictError: it cannot. The message names each datastore.
    """
    with speaking(f"look at the datastores of VM {name}"):
        values = read(session, session.vm(moref), "datastore", "runtime.host")
        host = moref_of(values["runtime.host"]) if values["runtime.host"] is not None else ""
        obstacles = obstacles_of(session, values["datastore"] or (), host)
    if found := list(_in_the_way(obstacles, vmx, disks)):
        raise ConflictError(
            f"VM {name} cannot be written: {'; '.join(found)}. Put that right, or restore to a new VM on another "
            f"datastore with {named('new_name')} and {named('datastore')}"
        )


def _in_the_way(obstacles: Mapping[str, str], vmx: str, disks: Collection[Disk]) -> Iterator[str]:
    files = {vmx: "its own files", **{disk.file_name: disk.label for disk in disks}}
    parts: dict[str, list[str]] = {}
    for path, part in files.items():
        store = DatastorePath.parse(path).datastore
        if obstacles.get(store):
            parts.setdefault(store, []).append(part)
    for store, here in parts.items():
        yield f"datastore {decode_name(store)}, with {', '.join(here)}, {obstacles[store]}"
