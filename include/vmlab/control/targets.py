"""Find the VM and the disk that a control call names."""

from typing import Any

from vmlab.api import vim
from vmlab.managed.machine import disks
from vmlab.managed.properties import find_by_path, read_property
from vmlab.managed.site import Site


class ControlError(Exception):
    """A control call that cannot be done; `status` is the HTTP status of the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def find_vm(site: Site, name: object) -> Any:
    """Find a VM by moref, by inventory path, or by its name if no other VM has it."""
    with site.world.lock:
        vms = site.world.all(vim.VirtualMachine)
        found = [vm for vm in vms if vm._moId == name]
        if not found and isinstance(name, str) and "/" in name:
            by_path = find_by_path(site, name)
            found = [by_path] if isinstance(by_path, vim.VirtualMachine) else []
        found = found or [vm for vm in vms if read_property(site, vm, "name") == name]
    if not found:
        raise ControlError(f"no VM {name!r}", 404)
    if len(found) > 1:
        raise ControlError(
            f"{len(found)} VMs are named {name!r}; give the moref: {', '.join(v._moId for v in found)}", 409
        )
    return found[0]


def find_disk(site: Site, vm: Any, wanted: object) -> Any:
    """Find a disk device by label (`Hard disk 1`), device key, or index from 0."""
    with site.world.lock:
        devices = disks(site.world.get(vm, "config"))
    text = str(wanted)
    for disk in devices:
        if text in (disk.deviceInfo.label, str(disk.key)):
            return disk
    if text.isdigit() and int(text) < len(devices):
        return devices[int(text)]
    labels = ", ".join(f"{disk.deviceInfo.label} (key {disk.key})" for disk in devices)
    raise ControlError(f"no disk {wanted!r}; there are {labels}", 404)
