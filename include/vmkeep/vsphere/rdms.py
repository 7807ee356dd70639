"""Finds the canonical names of the LUNs that a VM's RDMs map, by which the proxy's and the array's own tools know them.

An RDM's backing tells the LUN's UUID for certain. Its device name may be the canonical name, or an older name of
ESXi's own (``vml.…``). So the host is asked which LUN has that UUID.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from vmkeep.model.disk import Disk
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.luns import list_luns
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session

_CANONICAL: Final = re.compile(r"(?:naa|eui|t10|mpx)\..+")


def is_rdm(disk: Disk) -> bool:
    """Return whether a disk maps a LUN."""
    return disk.backing.startswith("RawDiskMapping")


def lun_names(session: Session, moref: str, disks: Iterable[Disk]) -> dict[int, str]:
    """Return the canonical name of each RDM's LUN by the disk's device key. A LUN that no source knows is left out.

    :param moref: managed object id of the VM.
    """
    rdms = [disk for disk in disks if is_rdm(disk)]
    if not rdms:
        return {}
    with speaking(f"find the LUNs of VM {moref}"):
        host = read(session, session.vm(moref), "runtime.host")["runtime.host"]
        known = _of_target(session, host) if host is not None else {}
        if host is not None and not all(disk.lun_uuid in known for disk in rdms):
            known |= _of_host(session, host)  # because QueryConfigTarget may leave out LUNs in use
    return choose_names(rdms, known)


def choose_names(rdms: Iterable[Disk], known: Mapping[str, str]) -> dict[int, str]:
    """Return the canonical name of each RDM's LUN by the disk's device key, if it can be told. Pure.

    :param known: canonical names by UUID, as vSphere tells them.
    """
    found = {disk.key: known.get(disk.lun_uuid or "") or _own_name(disk) for disk in rdms}
    return {key: name for key, name in found.items() if name is not None}


def _of_target(session: Session, host: Any) -> dict[str, str]:
    luns = list_luns(session, moref_of(host))
    return {lun.uuid: lun.device_name for lun in luns if _is_name(lun.device_name)}


def _of_host(session: Session, host: Any) -> dict[str, str]:
    path = "config.storageDevice.scsiLun"
    luns = read(session, host, path)[path] or ()
    return {
        lun.uuid: lun.canonicalName
        for lun in luns
        if isinstance(lun, vim.host.ScsiDisk) and _is_name(lun.canonicalName)
    }


def _own_name(disk: Disk) -> str | None:
    name = (disk.device_name or "").rpartition("/")[2]
    return name if _is_name(name) else None


def _is_name(name: str | None) -> bool:
    return _CANONICAL.fullmatch(name or "") is not None
