"""Lists the LUNs to which an RDM can be mapped, from ``QueryConfigTarget``.

Names and UUIDs are not taken from the host's configuration, because an RDM's backing takes only those of
``QueryConfigTarget``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vmkeep.errors import ConflictError, NotFoundError
from vmkeep.model.wording import size
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
    used_by: tuple[str, ...] = ()
    """Managed object ids of the VMs that already map the LUN."""


def list_luns(session: Session, host: str) -> tuple[Lun, ...]:
    """Return the LUNs that a VM on this host could map, including those in use.

    :param host: managed object id.
    """
    with speaking(f"ask for the LUNs of host {host}"):
        managed = session.managed(vim.HostSystem, host)
        compute = read(session, managed, "parent")["parent"]
        browser = read(session, compute, "environmentBrowser")["environmentBrowser"]
        target = browser.QueryConfigTarget(managed)
        return tuple(_lun(info) for info in (target.scsiDisk if target is not None else None) or ())


def free_lun(session: Session, host: str, name: str) -> Lun:
    """Return the free LUN with that canonical name or UUID.

    :raises NotFoundError: the host offers no such LUN; it may leave out those in use. The message lists the free ones.
    :raises ConflictError: a VM maps the LUN already.
    """
    luns = list_luns(session, host)
    found = next((lun for lun in luns if name in (lun.device_name, lun.uuid)), None)
    if found is None:
        raise NotFoundError(
            f"the host has no free LUN '{name}', and one that a VM or a datastore uses is not free; {_free(luns)}"
        )
    if found.used_by:
        raise ConflictError(f"LUN {name} is mapped by {', '.join(found.used_by)}; choose a free one")
    return found


def free_luns(session: Session, host: str) -> str:
    """Return a phrase that lists the LUNs of a host that no VM maps."""
    return _free(list_luns(session, host))


def _free(luns: Iterable[Lun]) -> str:
    free = ", ".join(f"{lun.device_name} ({size(lun.capacity)})" for lun in luns if not lun.used_by)
    return f"free ones: {free or 'none'}"


def _lun(info: Any) -> Lun:
    disk = info.disk
    blocks = disk.capacity
    return Lun(
        device_name=disk.canonicalName,
        uuid=disk.uuid,
        capacity=blocks.block * blocks.blockSize,
        used_by=tuple(moref_of(vm) for vm in info.vm or ()),
    )
