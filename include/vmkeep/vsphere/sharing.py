"""Disks that several VMs have: why vSphere takes no snapshot of such a VM, and which other VMs use a disk now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vmkeep.model.disk import Disk
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.disks import disks_of, is_shared_bus
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read_all
from vmkeep.vsphere.session import Session


def snapshot_obstacles(devices: Iterable[Any]) -> tuple[str, ...]:
    """Return what makes vSphere refuse every snapshot of a VM, each with what helps; empty where it takes them.

    A shared bus does so whatever disks are on it, a multi-writer disk only where the snapshot would have to hold it.
    """
    found = []
    for device in devices:
        label = device.deviceInfo.label if device.deviceInfo is not None else f"device {device.key}"
        if is_shared_bus(device):
            found.append(f"{label} shares its bus with other VMs ({device.sharedBus}; noSharing would help)")
        elif isinstance(device, vim.vm.device.VirtualDisk) and _is_dependent_multi_writer(device.backing):
            found.append(f"{label} is a multi-writer disk that is not independent (independent_persistent would help)")
    return tuple(found)


def users_of(session: Session, moref: str, disks: Sequence[Disk]) -> tuple[str, ...]:
    """Return the names of the other VMs that are not off and have one of some disks of a VM."""
    if not disks:
        return ()
    wanted = {place for disk in disks for place in _places(disk)}
    with speaking(f"look for other VMs that use the disks of VM {moref}"):
        # In one look, though only VMs that are awake count: one that is deleted between two looks would end the second.
        found = read_all(session, vim.VirtualMachine, "name", "runtime.powerState", "config.hardware.device")
    return tuple(
        decode_name(values["name"] or "")
        for other, values in found
        if values["runtime.powerState"] != vim.VirtualMachine.PowerState.poweredOff
        and moref_of(other) != moref
        and any(wanted & _places(disk) for disk in disks_of(values["config.hardware.device"] or ()))
    )


def _places(disk: Disk) -> set[str]:
    """Return the places that a disk writes: its own file and its LUN. Files below it may be the base of others."""
    return {place for place in (disk.file_name, disk.lun_uuid) if place}


def _is_dependent_multi_writer(backing: Any) -> bool:
    if getattr(backing, "compatibilityMode", None) == "physicalMode":
        return False
    if (getattr(backing, "diskMode", None) or "").startswith("independent"):
        return False
    return getattr(backing, "sharing", None) == "sharingMultiWriter"
