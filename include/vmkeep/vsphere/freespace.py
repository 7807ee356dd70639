"""Reads the free space of datastores, and what the files of a new VM need there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.model.room import StoreNeed
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.configspec import BuiltSpec
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_each
from vmkeep.vsphere.session import Session

_VMFS = "VMFS"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSpace:
    """The space of a datastore."""

    moref: str
    name: str
    """The name as vSphere stores it."""
    free: int
    sets_aside: bool
    """The datastore sets the whole size of a thick disk aside. On another, its storage policy or its server decides."""


def read_free(session: Session, host: str) -> Mapping[str, FreeSpace]:
    """Return the datastores of a host, by their names as vSphere stores them.

    :param host: managed object id.
    """
    with speaking(f"read the free space of the datastores of host {host}"):
        stores = read(session, session.managed(vim.HostSystem, host), "datastore")["datastore"] or ()
        found = read_each(session, stores, "name", "summary.freeSpace", "summary.type")
    return {
        values["name"]: FreeSpace(
            moref=moref_of(store),
            name=values["name"],
            free=int(values["summary.freeSpace"] or 0),
            sets_aside=values["summary.type"] == _VMFS,
        )
        for store, values in found
    }


def needs_of_new(session: Session, host: str, built: BuiltSpec, *, runs: bool) -> tuple[StoreNeed, ...]:
    """Return what a new VM needs on each of its datastores.

    :param host: managed object id of a host that has these datastores.
    :param runs: the VM is going to be switched on.
    """
    spaces = read_free(session, host)
    swap = _swap(built.spec) if runs else 0
    stores = dict(built.disks)
    disks = [(stores.get(disk.address, built.datastore), disk) for disk in built.new_disks]
    names = dict.fromkeys((built.datastore, *(store for store, _ in disks)))
    needs = []
    for name in (each for each in names if each in spaces):
        here = [disk for store, disk in disks if store == name and not disk.backing.startswith("RawDiskMapping")]
        need = need_of(spaces[name], ((disk.capacity, bool(disk.thin)) for disk in here))
        lazy = tuple(disk.address for disk in here if disk.thin or not spaces[name].sets_aside)
        needs.append(replace(need, thin_disks=lazy, swap=swap if name == built.datastore else 0))
    return tuple(needs)


def need_of(space: FreeSpace, disks: Iterable[tuple[int, bool]]) -> StoreNeed:
    """Return the space that new disks need on a datastore.

    :param disks: the size of each disk, and whether it is thin.
    """
    whole = thin = 0
    for capacity, is_thin in disks:
        if is_thin or not space.sets_aside:
            thin += capacity
        else:
            whole += capacity
    return StoreNeed(datastore=space.moref, name=decode_name(space.name), free=space.free, whole=whole, thin=thin)


def _swap(spec: Any) -> int:
    """Return the size of the swap file of a VM: its memory without the part that is reserved for it."""
    if spec.swapPlacement == "hostLocal" or spec.memoryReservationLockedToMax:
        return 0
    reserved = getattr(spec.memoryAllocation, "reservation", None) or 0
    return max(0, int(spec.memoryMB or 0) - int(reserved)) << 20
