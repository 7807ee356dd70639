"""Lists the LUNs that a host offers for RDMs, from ``QueryConfigTarget``.

Names and UUIDs are not taken from the host's configuration, because an RDM's backing takes only those of
``QueryConfigTarget``.
"""

from __future__ import annotations

from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Lun:
    """A LUN of a host."""

    device_name: str
    """Canonical name, e.g. ``naa.600…``."""
    uuid: str
    capacity: int
    """Bytes."""
    path: str = ""
    """Path of the device on the host, by which the host tells its partitions."""
    used_by: tuple[str, ...] = ()
    """Managed object ids of the VMs that map the LUN, as far as this host tells."""
    own_use: str = ""
    """The use that the host itself has for the LUN; empty: none that it tells."""
    aside: str = ""
    """The reason why the LUN is taken only if a person names it; empty: there is none."""


def list_luns(session: Session, host: str) -> tuple[Lun, ...]:
    """Return the LUNs that a VM on this host could map, including those in use.

    :param host: managed object id.
    """
    with speaking(f"ask for the LUNs of host {host}"):
        managed = session.managed(vim.HostSystem, host)
        compute = read(session, managed, "parent")["parent"]
        browser = read(session, compute, "environmentBrowser")["environmentBrowser"]
        target = browser.QueryConfigTarget(managed)
        found = (target.scsiDisk if target is not None else None) or ()
        return tuple(lun_of(info) for info in found if info.disk is not None)


def lun_of(info: Any) -> Lun:
    """Return the LUN that ``QueryConfigTarget`` describes. Pure."""
    disk = info.disk
    blocks = disk.capacity
    return Lun(
        device_name=disk.canonicalName or info.name,
        uuid=disk.uuid,
        capacity=blocks.block * blocks.blockSize,
        path=disk.devicePath or "",
        used_by=tuple(moref_of(vm) for vm in info.vm or ()),
        own_use=_own_use(disk),
        aside=_aside(disk),
    )


def _own_use(disk: Any) -> str:
    if disk.vsanDiskInfo is not None:
        return "vSAN"
    if disk.usedByMemoryTiering:
        return "memory tiering"
    return "virtual volumes" if disk.protocolEndpoint else ""


def _aside(disk: Any) -> str:
    if disk.localDisk:
        return "it is a disk of the host itself"
    if disk.perenniallyReserved:
        return "it is marked as reserved by a cluster of guests"
    states = [str(state) for state in disk.operationalState or ()]
    return "" if "ok" in states or not states else f"its state is {', '.join(states)}"
