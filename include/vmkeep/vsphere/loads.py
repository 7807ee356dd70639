"""Reads what limits go by: the host that serves a VM's disks, and the space of the VM's datastores."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.paths import parse_path
from vmkeep.vsphere.properties import look_at, read, read_each
from vmkeep.vsphere.session import Session

HOST: Final = (("runtime.host", vim.HostSystem), ("name", "config.product.version", "summary.hardware.uuid"))
"""The reference from a VM to its host, and the properties that are read of it."""
_STORES: Final = (("datastore", vim.Datastore), ("summary",))
PATHS: Final = ("config.files.vmPathName", "config.hardware.memoryMB")
"""Names of a VM's own properties that its loads are read from."""
ALONG: Final = dict([HOST, _STORES])
"""The references from a VM to its host and datastores, and the properties that are read of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoad:
    """An ESXi host."""

    id: str
    """Its hardware's UUID, by which any vCenter and the host itself know it; its managed object id if it has none."""
    name: str
    version: str | None
    """Version of ESXi; ``None``: the user may not see it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLoad:
    """A datastore of a VM."""

    moref: str
    name: str
    capacity: int
    """Bytes; 0: vSphere does not tell."""
    free: int
    memory: int
    """Bytes of the VM's memory, if the datastore is the one that takes them with a snapshot."""


def look_at_loads(session: Session, moref: str) -> AbstractContextManager[None]:
    """Read in one call a VM's host and datastores. The body answers from that."""
    return look_at(session, session.vm(moref), *PATHS, along=ALONG)


def read_host(session: Session, moref: str) -> HostLoad | None:
    """Return the host on which a VM is registered; ``None``: vSphere does not tell.

    :param moref: managed object id of the VM.
    """
    with speaking(f"find out on which host VM {moref} is"):
        host = read(session, session.vm(moref), "runtime.host")["runtime.host"]
        found = read_each(session, [host], *HOST[1]) if host is not None else []
        for managed, values in found:
            return HostLoad(
                id=(values["summary.hardware.uuid"] or moref_of(managed)).lower(),
                name=decode_name(values["name"]) if values["name"] else moref_of(managed),
                version=values["config.product.version"],
            )
        return None


def read_stores(session: Session, moref: str) -> tuple[StoreLoad, ...]:
    """Return the datastores that hold files of a VM, by name."""
    with speaking(f"read the free space of the datastores of VM {moref}"):
        values = read(session, session.vm(moref), "datastore", *PATHS)
        home = parse_path(values["config.files.vmPathName"] or "")
        memory = (values["config.hardware.memoryMB"] or 0) << 20
        stores = []
        for store, found in read_each(session, values["datastore"] or (), "summary"):
            if (summary := found["summary"]) is not None:
                stores.append(
                    StoreLoad(
                        moref=moref_of(store),
                        name=decode_name(summary.name),
                        capacity=summary.capacity or 0,
                        free=summary.freeSpace or 0,
                        memory=memory if home is not None and home.datastore == summary.name else 0,
                    )
                )
        return tuple(sorted(stores, key=lambda store: store.name))
