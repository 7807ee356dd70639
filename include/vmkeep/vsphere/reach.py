"""Reads what SAN and HotAdd need to know of vSphere: the VM that the proxy is, and the datastores of a VM's disks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, Final

from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.inventory import all_by_uuid
from vmkeep.vsphere.paths import inventory_path_of, parse_path
from vmkeep.vsphere.properties import read, read_each
from vmkeep.vsphere.session import Session

CONTROLLERS: Final = 4
"""SCSI controllers that a VM can have. VDDK adds none, so only those that the proxy has count."""
SLOTS: Final = 15
"""Disks that a SCSI controller takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A datastore."""

    name: str
    moref: str | None = None
    """``None``: the datastore is not among those of the VM that the user may see."""
    kind: str = ""
    """vSphere's type of it, e.g. ``VMFS``, ``NFS``, ``vsan`` or ``VVOL``."""
    luns: tuple[str, ...] = ()
    """Canonical names of the LUNs on which it lies."""
    remote: str = ""
    """``host:/path`` of an NFS export, with all hosts of it and commas between; empty: it is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyVm:
    """The VM that the proxy is."""

    moref: str
    name: str
    datacenter: str | None
    encrypted: bool
    free_slots: int
    """Disks that its SCSI controllers can still take."""
    mounted: frozenset[str]
    """Managed object ids of the datastores that its host mounts."""
    on_vsan: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The position of a VM's disks towards the proxy."""

    datacenter: str | None
    """Managed object id of the VM's datacenter."""
    proxy: ProxyVm | None = None
    why_no_proxy: str = ""
    stores: Mapping[str, Store] = field(default_factory=dict)
    """The VM's datastores, by name."""

    def stores_of(self, disk: Disk) -> tuple[Store, ...]:
        """Return the datastores on which the files of a disk lie, the oldest file's first."""
        paths = [parse_path(name) for name in disk.chain or (disk.file_name,)]
        names = dict.fromkeys(path.datastore if path is not None else "" for path in paths)
        return tuple(self.stores.get(name, Store(name=name)) for name in names)


def read_reach(session: Session, moref: str, uuids: Iterable[str]) -> Reach:
    """Read the position of a VM towards the proxy.

    :param moref: managed object id of the VM.
    :param uuids: the forms in which vSphere may write the proxy's BIOS UUID; none: it is not known.
    """
    with speaking(f"find out how the disks of VM {moref} can be reached"):
        managed = session.vm(moref)
        datacenter = inventory_path_of(session, managed).datacenter_moref
        datastores = read(session, managed, "datastore")["datastore"] or ()
        stores = [_store(store, values) for store, values in read_each(session, datastores, "summary", "info")]
        proxy, why = _find_proxy(session, tuple(uuids))
        return Reach(
            datacenter=datacenter, proxy=proxy, why_no_proxy=why, stores={store.name: store for store in stores}
        )


def _store(managed: Any, values: Mapping[str, Any]) -> Store:
    summary = values["summary"]
    luns, remote = place_of(values["info"])
    return Store(
        name=summary.name if summary is not None else "",
        moref=moref_of(managed),
        kind=(summary.type if summary is not None else None) or "",
        luns=luns,
        remote=remote,
    )


def place_of(info: Any) -> tuple[tuple[str, ...], str]:
    """Return the LUNs and the NFS export on which a datastore lies. Pure.

    :param info: the datastore's ``info``; ``None``: vSphere does not tell it.
    """
    volume = info.vmfs if isinstance(info, vim.host.VmfsDatastoreInfo) else None
    share = info.nas if isinstance(info, vim.host.NasDatastoreInfo) else None
    luns = tuple(extent.diskName for extent in (volume.extent if volume is not None else None) or ())
    if share is None:
        return luns, ""
    return luns, f"{','.join(share.remoteHostNames or [share.remoteHost])}:{share.remotePath}"


def _find_proxy(session: Session, uuids: tuple[str, ...]) -> tuple[ProxyVm | None, str]:
    """Return the proxy's VM, or the reason why none is found."""
    found = {moref_of(vm): vm for uuid in uuids for vm in all_by_uuid(session, uuid, instance=False)}
    if not uuids:
        return None, ""  # the caller knows the reason
    if not found:
        return None, f"the proxy is no VM of {session.host}, as far as this user may see"
    if len(found) > 1:
        names = ", ".join(sorted(found))
        return None, f"several VMs of {session.host} have the proxy's BIOS UUID ({names}): give each its own"
    (vm,) = found.values()
    paths = ("name", "config", "runtime.host", "datastore")
    values = read(session, vm, *paths)
    config, host = values["config"], values["runtime.host"]
    if config is None or host is None:
        return None, f"{session.host} does not tell the configuration of the proxy's VM {values['name']}"
    mounted = read(session, host, "datastore")["datastore"] or ()
    own = [kinds["summary.type"] for _, kinds in read_each(session, values["datastore"] or (), "summary.type")]
    return ProxyVm(
        moref=moref_of(vm),
        name=values["name"],
        datacenter=inventory_path_of(session, vm).datacenter_moref,
        encrypted=config.keyId is not None,
        free_slots=_free_slots(config.hardware.device),
        mounted=frozenset(map(moref_of, mounted)),
        on_vsan="vsan" in own,
    ), ""


def _free_slots(devices: Iterable[Any]) -> int:
    controllers = [device for device in devices if isinstance(device, vim.vm.device.VirtualSCSIController)]
    return sum(max(0, SLOTS - len(controller.device or ())) for controller in controllers[:CONTROLLERS])
