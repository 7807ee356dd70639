"""Finds disks of other VMs that are attached to the proxy's VM, as HotAdd does, and detaches them.

A copy that dies leaves its disk attached. vSphere can then neither merge the disk's snapshots nor delete its files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.disks import files_of_backing
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.inventory import all_by_uuid
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.paths import parse_path
from vmkeep.vsphere.properties import read, read_all
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import run_task

_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedDisk:
    """A disk of the proxy's VM that is a disk of other VMs, too."""

    proxy: VmRef
    key: int
    """Device key on the proxy's VM."""
    label: str
    file_name: str
    owners: tuple[VmRef, ...]
    """The other VMs that have this file among the files of a disk. Linked clones share base files."""


def list_attached(session: Session, uuids: Iterable[str]) -> tuple[AttachedDisk, ...]:
    """Return the disks of other VMs that are attached to the proxy's VM.

    All VMs are read only if the proxy has a disk outside its own folder.

    :param uuids: the forms in which vSphere may write the proxy's BIOS UUID. If they fit no VM, or several, nothing is
        known about the proxy.
    """
    found = {moref_of(vm): vm for uuid in uuids for vm in all_by_uuid(session, uuid, instance=False)}
    if len(found) != 1:
        return ()
    (proxy,) = found.values()
    with speaking(f"look for disks that are attached to the proxy's VM {moref_of(proxy)}"):
        values = read(session, proxy, "name", "config.files.vmPathName", "config.hardware.device")
        home = _folder(values["config.files.vmPathName"] or "")
        outside = [
            disk
            for disk in _disks(values["config.hardware.device"])
            if _folder(disk.backing.fileName) not in ("", home)
        ]
        owners = _owners(session, moref_of(proxy), {str(disk.backing.fileName) for disk in outside})
    ref = VmRef(moref=moref_of(proxy), name=decode_name(values["name"] or ""))
    return tuple(
        AttachedDisk(
            proxy=ref,
            key=disk.key,
            label=disk.deviceInfo.label if disk.deviceInfo is not None else f"disk {disk.key}",
            file_name=str(disk.backing.fileName),
            owners=tuple(owners[str(disk.backing.fileName)]),
        )
        for disk in outside
        if owners[str(disk.backing.fileName)]
    )


def detach(session: Session, disk: AttachedDisk) -> None:
    """Take a disk off the proxy's VM. Its files stay, because they are the other VM's."""
    what = f"detach {disk.label} ({disk.file_name}) from the proxy's VM {disk.proxy}"
    proxy = session.vm(disk.proxy.moref)
    with speaking(what):
        device = _attached(session, disk)
        if device is None:
            return
        change = vim.vm.device.VirtualDeviceSpec(operation="remove", device=device)  # without a file operation
        spec = vim.vm.ConfigSpec(deviceChange=[change])
        run_task(
            session,
            lambda: proxy.ReconfigVM_Task(spec),
            what=what,
            timeout=_SECONDS,
            look=lambda: True if _attached(session, disk) is None else None,
        )


def _attached(session: Session, disk: AttachedDisk) -> Any:
    """Return the device as it is now; ``None``: it is gone, or its key means another disk by now."""
    devices = read(session, session.vm(disk.proxy.moref), "config.hardware.device")["config.hardware.device"]
    same = (one for one in _disks(devices) if one.key == disk.key and one.backing.fileName == disk.file_name)
    return next(same, None)


def _owners(session: Session, proxy: str, files: set[str]) -> dict[str, list[VmRef]]:
    """Return the VMs besides the proxy that have each file among the files of a disk."""
    owners: dict[str, list[VmRef]] = {name: [] for name in files}
    if not files:
        return owners
    for vm, values in read_all(session, vim.VirtualMachine, "name", "config.hardware.device"):
        if moref_of(vm) != proxy:
            ref = VmRef(moref=moref_of(vm), name=decode_name(values["name"] or ""))
            chained = {
                name for disk in _disks(values["config.hardware.device"]) for name in files_of_backing(disk.backing)
            }
            for name in files & chained:
                owners[name].append(ref)
    return owners


def _disks(devices: Iterable[Any] | None) -> Iterator[Any]:
    for device in devices or ():
        if isinstance(device, vim.vm.device.VirtualDisk) and getattr(device.backing, "fileName", None):
            yield device


def _folder(file_name: str) -> str:
    path = parse_path(file_name)
    return f"[{path.datastore}] {path.path.rpartition('/')[0]}" if path is not None else ""
