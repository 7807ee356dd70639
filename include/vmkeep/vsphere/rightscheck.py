"""Checks the rights of a run on the very objects that it will work on, before it changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vmkeep.model.purpose import Purpose
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.describe import VmDescription
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.paths import DatastorePath
from vmkeep.vsphere.places import Place
from vmkeep.vsphere.privileges import missing_privileges, require
from vmkeep.vsphere.properties import read, read_all, read_each
from vmkeep.vsphere.rights import On, When, needed, rights_of
from vmkeep.vsphere.session import Session


def require_on_vm(session: Session, purpose: Purpose, vm: VmDescription, *, when: Iterable[When] = ()) -> None:
    """Return if the user has every right for a backup of a VM, or for a restore over it.

    :param when: circumstances that the VM itself does not tell.
    :raises PermissionDeniedError: privileges are missing. The message names all of them, with their objects.
    """
    with speaking(f"ask for the rights on VM {vm.identity.name}"):
        values = read(session, session.vm(vm.moref), "datastore", "runtime.host")
        home = DatastorePath.parse(vm.vmx).datastore
        stores = values["datastore"] or ()
        names = {moref_of(store): found["name"] for store, found in read_each(session, stores, "name")}
    where = {
        On.HOST: [values["runtime.host"]],
        On.VM: [session.vm(vm.moref)],
        # A datastore whose name the user may not see is checked too, because it may be this one.
        On.HOME: [store for store in stores if names.get(moref_of(store)) in (home, None)],
    }
    _require(session, purpose, where, when=(*when, When.ENCRYPTED) if vm.encrypted else when)


def require_for_new_vm(
    session: Session,
    place: Place,
    *,
    home: str,
    datastores: Iterable[str],
    networks: Iterable[Any],
    when: Iterable[When],
) -> None:
    """Return if the user has every right for a restore to a new VM.

    :param home: name of the datastore for the VM's own files.
    :param datastores: names of the datastores for its disks.
    :param networks: managed objects or ids of its cards' networks.
    :param when: the circumstances of the VM.
    :raises PermissionDeniedError: privileges are missing. The message names all of them, with their objects.
    """
    where = _around(session, place, home, datastores)
    _require(session, Purpose.RESTORE_NEW, {**where, On.NETWORK: list(networks)}, when=when)


def require_for_carrier(session: Session, place: Place, *, home: str, datastores: Iterable[str], target: str) -> None:
    """Return if the user has every right to make a carrier of new disks, and to attach the disks to a VM.

    :param home: name of the datastore for the carrier's own files.
    :param datastores: names of the datastores for the disks.
    :param target: managed object id of the VM that gets the disks.
    :raises PermissionDeniedError: privileges are missing. The message names all of them, with their objects.
    """
    where = _around(session, place, home, datastores)
    _require(session, Purpose.ATTACH, {**where, On.TARGET: [session.vm(target)]}, when=())


def _around(session: Session, place: Place, home: str, datastores: Iterable[str]) -> dict[On, list[Any]]:
    with speaking(f"ask for the rights to make VM {place.name}"):
        datacenter = session.managed(vim.Datacenter, place.datacenter)
        stores = {values["name"]: store for store, values in read_all(session, vim.Datastore, "name", under=datacenter)}
    return {
        On.HOST: [session.managed(vim.HostSystem, place.host)],
        On.FOLDER: [session.managed(vim.Folder, place.folder)],
        On.POOL: [session.managed(vim.ResourcePool, place.pool)],
        On.HOME: [stores[home]],
        On.DATASTORE: [stores[name] for name in sorted({home, *datastores})],
    }


def missing_when(session: Session, purpose: Purpose, when: When, places: Mapping[On, Any]) -> tuple[str, ...]:
    """Return the privileges of one circumstance that the user lacks on the given objects."""
    lacking: list[str] = []
    for on, managed in places.items():
        names = tuple(right.privilege for right in rights_of(purpose) if (right.on, right.when) == (on, when))
        lacking += missing_privileges(session, managed, names) if names else ()
    return tuple(lacking)


def missing_on_folder(session: Session, folder: str, purpose: Purpose, when: When) -> tuple[str, ...]:
    """Return the privileges of one circumstance that the user lacks on the folder of a new VM.

    :param folder: managed object id.
    """
    return missing_when(session, purpose, when, {On.FOLDER: session.managed(vim.Folder, folder)})


def _require(session: Session, purpose: Purpose, where: Mapping[On, Sequence[Any]], *, when: Iterable[When]) -> None:
    names = needed(purpose, when)
    # A session with an ESXi host needs no right there, because a host has no methods to disable.
    places = {On.ROOT: [session.content.rootFolder], **where} if session.is_vcenter else {**where, On.HOST: []}
    asked: dict[Any, dict[str, None]] = {}
    for on, objects in places.items():
        for managed in objects:
            if managed is not None:
                asked.setdefault(managed, {}).update(dict.fromkeys(names.get(on, ())))
    require(session, [(managed, tuple(wanted)) for managed, wanted in asked.items() if wanted])
