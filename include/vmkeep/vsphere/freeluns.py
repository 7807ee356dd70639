"""Finds free LUNs for RDMs: the one that a person names, or one that fits a saved disk.

A LUN that somebody may use is never taken. ``QueryConfigTarget`` alone does not tell that, because it lists the LUNs
of datastores like any other, and is not documented to know every VM. So the RDMs of all VMs, the datastores' extents
and the VMFS volumes that are not mounted are looked at too. A LUN that is only *found* must have no partitions either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from vmkeep.errors import ConflictError, NotFoundError, UnsupportedError
from vmkeep.lateclass import dataclass
from vmkeep.model.fieldwords import named
from vmkeep.model.wording import counted, exact_size, size
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.disks import backing_name
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.luns import Lun, list_luns
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_all, read_each
from vmkeep.vsphere.session import Session

_LISTED = 10
"""Number of free LUNs that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LunWish:
    """A saved disk that needs a LUN."""

    key: int
    """Device key in the saved configuration."""
    label: str
    capacity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LunUses:
    """Every use of LUNs that vSphere tells."""

    mapped: Mapping[str, str] = field(default_factory=dict)
    """UUID or device name of a LUN → the VM whose RDM maps it."""
    extents: Mapping[str, str] = field(default_factory=dict)
    """Canonical name of a LUN → the volume that lies on it, in words."""
    gone: str | None = None
    """Managed object id of a VM that is removed before any LUN is mapped; ``None``: there is none."""

    def of(self, lun: Lun) -> str:
        """Return the use of a LUN in words; empty: none is known."""
        if (vm := self.mapped.get(lun.uuid) or self.mapped.get(lun.device_name)) is not None:
            return f"mapped by {vm}"
        if others := [vm for vm in lun.used_by if vm != self.gone]:
            return f"mapped by {', '.join(others)}"
        if (volume := self.extents.get(lun.device_name)) is not None:
            return f"part of {volume}"
        return f"used by the host for {lun.own_use}" if lun.own_use else ""


def uses_of_luns(session: Session, host: str, *, gone: str | None = None) -> LunUses:
    """Ask vSphere for every use of LUNs that it knows.

    :param host: managed object id of the host that is asked for volumes which are not mounted.
    :param gone: managed object id of a VM that is removed before any LUN is mapped.
    """
    with speaking("ask which LUNs are in use"):
        mapped = _mapped_besides(session, gone)
        extents: dict[str, str] = {}
        for _, values in read_all(session, vim.Datastore, "name", "info"):
            volume = getattr(values["info"], "vmfs", None)
            for extent in volume.extent if volume is not None else ():
                extents[extent.diskName] = f"datastore {decode_name(values['name'] or '')}"
        for volume in _storage(session, host).QueryUnresolvedVmfsVolume() or ():
            for part in volume.extent:
                extents.setdefault(part.device.diskName, f"the VMFS volume {volume.vmfsLabel}, which is not mounted")
    return LunUses(mapped=mapped, extents=extents, gone=gone)


def require_alone(session: Session, moref: str) -> None:
    """Return if no other VM maps a LUN of a VM. Two restores may have found one LUN free before either mapped it.

    A restore looks after it has mapped its LUNs and before it writes. So of two, at least one sees the other.

    :raises ConflictError: another VM does.
    """
    with speaking(f"ask whether other VMs map the LUNs of VM {moref}"):
        devices = read(session, session.vm(moref), "config.hardware.device")["config.hardware.device"] or ()
        others = _mapped_besides(session, moref)
    for device in devices:
        names = [*mapped_by(device)]
        if other := next((others[name] for name in names if name in others), None):
            raise ConflictError(
                f"LUN {names[-1]} of VM {moref} is mapped by {other}, too, by now: nothing is written to it. Take it "
                "off that VM in vCenter, or choose another LUN, then start a new restore"
            )


def _mapped_besides(session: Session, moref: str | None) -> dict[str, str]:
    """Return each VM that maps a LUN, in words, by the LUN's UUID and by its device name, without one VM's own."""
    return {
        lun: f"VM {decode_name(values['name'] or '')} ({moref_of(vm)})"
        for vm, values in read_all(session, vim.VirtualMachine, "name", "config.hardware.device")
        if moref_of(vm) != moref
        for device in values["config.hardware.device"] or ()
        for lun in mapped_by(device)
    }


def mapped_by(device: Any) -> Iterable[str]:
    """Yield the words by which a disk's backing, or a parent of it, names a LUN: its UUID, and its device's name."""
    backing = device.backing
    while backing is not None:
        if backing_name(backing).startswith("RawDiskMapping"):
            yield from filter(None, (backing.lunUuid, (backing.deviceName or "").rpartition("/")[2]))
        backing = getattr(backing, "parent", None)


def free_lun(luns: Sequence[Lun], name: str, uses: LunUses) -> Lun:
    """Return the free LUN of a host with that canonical name or UUID. Pure.

    :raises NotFoundError: the host offers no such LUN; it may leave out those in use. The message lists the free ones.
    :raises ConflictError: it is in use.
    """
    found = next((lun for lun in luns if name in (lun.device_name, lun.uuid)), None)
    if found is None:
        raise NotFoundError(
            f"the host has no free LUN '{name}', and one that a VM or a datastore uses is not free; "
            f"{free_luns(luns, uses)}"
        )
    if use := uses.of(found):
        raise ConflictError(f"LUN {name} is {use}; choose a free one; {free_luns(luns, uses)}")
    return found


def require_room(lun: Lun, wish: LunWish) -> None:
    """Return if a LUN is as large as the disk that it is for.

    :raises ConflictError: it is smaller.
    """
    if lun.capacity < wish.capacity:
        raise ConflictError(
            f"LUN {lun.device_name} is too small for {wish.label}: it has {exact_size(lun.capacity)}, and the disk "
            f"{exact_size(wish.capacity)}: choose a larger one"
        )


def free_luns(luns: Iterable[Lun], uses: LunUses) -> str:
    """Return a phrase that lists the LUNs of a host that nobody uses. Pure."""
    free = [f"{lun.device_name} ({size(lun.capacity)})" for lun in luns if not uses.of(lun)]
    more = f" and {len(free) - _LISTED} more" if len(free) > _LISTED else ""
    return f"free ones: {', '.join(free[:_LISTED]) or 'none'}{more}"


def find_luns(
    session: Session,
    hosts: Sequence[str],
    wishes: Sequence[LunWish],
    *,
    named: Collection[str] = (),
    gone: str | None = None,
) -> dict[int, Lun]:
    """Return a free LUN for each saved disk, by its device key: one that every host sees, and without partitions.

    :param hosts: managed object ids; at least one.
    :param named: canonical names or UUIDs of the LUNs that a person named for other disks.
    :param gone: managed object id of a VM that is removed before any LUN is mapped.
    :raises NotFoundError: there are not enough of them. The message tells why others were not taken.
    """
    seen = [{lun.uuid: lun for lun in list_luns(session, host)} for host in hosts]
    uses = uses_of_luns(session, hosts[0], gone=gone)
    barred = {uuid: why for uuid, lun in seen[0].items() if (why := _bar(lun, uses, seen, named))}
    candidates = [lun for uuid, lun in seen[0].items() if uuid not in barred]
    held = content_of(session, hosts[0], candidates)
    barred |= {lun.uuid: f"it holds {held[lun.uuid]}" for lun in candidates if held[lun.uuid]}
    chosen, without = choose_luns([lun for lun in candidates if lun.uuid not in barred], wishes)
    if without:
        missing = ", ".join(f"{wish.label} ({size(wish.capacity)})" for wish in without)
        others = "; ".join(f"{seen[0][uuid].device_name}: {why}" for uuid, why in [*barred.items()][:_LISTED])
        raise NotFoundError(
            f"no free LUN is left for {missing}: it has to be as large, empty, and seen by every host that the VM may "
            f"run on; {counted(len(candidates), 'LUN')} could be asked for; not taken: {others or 'none'}"
        )
    return chosen


def choose_luns(free: Iterable[Lun], wishes: Iterable[LunWish]) -> tuple[dict[int, Lun], list[LunWish]]:
    """Give each disk the smallest LUN that holds it, one of its own size first. Return the disks without one, too.

    The largest disk chooses first, because a LUN that holds it holds every other disk as well. So a disk goes without
    only if there are too few LUNs for all. Pure.
    """
    left = sorted(free, key=lambda lun: (lun.capacity, lun.device_name))
    chosen: dict[int, Lun] = {}
    without = []
    for wish in sorted(wishes, key=lambda wish: (-wish.capacity, wish.key)):
        fitting = next((lun for lun in left if lun.capacity >= wish.capacity), None)
        if fitting is None:
            without.append(wish)
        else:
            left.remove(fitting)
            chosen[wish.key] = fitting
    return chosen, without


def _bar(lun: Lun, uses: LunUses, seen: Sequence[Mapping[str, Lun]], named: Collection[str]) -> str:
    """Return the reason why a LUN is not taken by itself; empty: there is none."""
    everywhere = [each[lun.uuid] for each in seen if lun.uuid in each]
    if use := next(filter(None, map(uses.of, everywhere)), ""):
        return f"it is {use}"
    if not {lun.uuid, lun.device_name}.isdisjoint(named):
        return "it is named for another disk"
    return lun.aside if len(everywhere) == len(seen) else "not every host sees it"


def content_of(session: Session, host: str, luns: Sequence[Lun]) -> dict[str, str]:
    """Return the partitions of each LUN in words by its UUID, as its host reads them; empty words: there are none.

    A LUN without partitions may hold data all the same, such as a database's or a volume group's.

    :raises UnsupportedError: the host does not tell it of a LUN.
    """
    if not luns:
        return {}
    with speaking(f"ask for the partitions of {counted(len(luns), 'LUN')}"):
        answers = _storage(session, host).RetrieveDiskPartitionInfo([lun.path for lun in luns])
    partitions = {answer.deviceName: len(answer.spec.partition or ()) for answer in answers or ()}
    silent = [lun.device_name for lun in luns if lun.path not in partitions]
    if silent:
        raise UnsupportedError(f"the host does not tell whether LUN {silent[0]} has partitions")
    return {lun.uuid: counted(count, "partition") if (count := partitions[lun.path]) else "" for lun in luns}


def require_mappings(session: Session, host: str, stores: Collection[str]) -> None:
    """Return if some datastores of a host can hold the pointers of RDMs.

    :param stores: their names as vSphere stores them.
    :raises UnsupportedError: one of them cannot, as NFS cannot.
    """
    if not stores:
        return
    path = "capability.rawDiskMappingsSupported"
    there = read(session, session.managed(vim.HostSystem, host), "datastore")["datastore"] or ()
    for _, values in read_each(session, there, "name", path):
        if values["name"] in stores and values[path] is False:
            raise UnsupportedError(
                f"datastore {decode_name(values['name'])} cannot hold RDMs: choose another one for these disks with "
                f"{named('disk_datastores', 'DISK=DATASTORE')}"
            )


def _storage(session: Session, host: str) -> Any:
    path = "configManager.storageSystem"
    storage = read(session, session.managed(vim.HostSystem, host), path)[path]
    if storage is None:
        raise UnsupportedError(
            f"host {host} tells nothing about its LUNs, so that nobody knows which are in use: give the user "
            f"System.Read (role Read-only) on it, or restore to ordinary disks with {named('rdms', 'DISK=disk')}"
        )
    return storage
