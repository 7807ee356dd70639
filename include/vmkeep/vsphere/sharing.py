"""Disks that several VMs share: tells what keeps vSphere from a snapshot, and the other VMs that have a disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.disks import disks_of, is_shared_bus
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read_all
from vmkeep.vsphere.session import Session


def snapshot_obstacles(devices: Iterable[Any]) -> tuple[str, ...]:
    """Return the reasons why vSphere refuses every snapshot of a VM, each with its remedy; none: it takes snapshots.

    A shared bus is a reason, whichever disks are on it. A multi-writer disk is one only if it is not independent.
    """
    found = []
    for device in devices:
        label = device.deviceInfo.label if device.deviceInfo is not None else f"device {device.key}"
        if is_shared_bus(device):
            found.append(f"{label} shares its bus with other VMs ({device.sharedBus}; noSharing would help)")
        elif isinstance(device, vim.vm.device.VirtualDisk) and _is_dependent_multi_writer(device.backing):
            found.append(f"{label} is a multi-writer disk that is not independent (independent_persistent would help)")
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharer:
    """Another VM that has a disk of a VM."""

    vm: VmRef
    off: bool


def sharers_of(session: Session, moref: str, disks: Sequence[Disk]) -> tuple[Sharer, ...]:
    """Return the other VMs that have one of these disks of a VM."""
    if not disks:
        return ()
    wanted = {place for disk in disks for place in _places(disk)}
    with speaking(f"look for other VMs that use the disks of VM {moref}"):
        # All VMs are read in one call, because a VM that is deleted between two calls would make the second one fail.
        found = read_all(session, vim.VirtualMachine, "name", "runtime.powerState", "config.hardware.device")
    return tuple(
        Sharer(
            vm=VmRef(moref=moref_of(other), name=decode_name(values["name"] or "")),
            off=values["runtime.powerState"] == vim.VirtualMachine.PowerState.poweredOff,
        )
        for other, values in found
        if moref_of(other) != moref
        and any(wanted & _places(disk) for disk in disks_of(values["config.hardware.device"] or ()))
    )


def _places(disk: Disk) -> set[str]:
    """Return the file and the LUN that a disk writes to, without base files, which other disks may share."""
    return {place for place in (disk.file_name, disk.lun_uuid) if place}


def _is_dependent_multi_writer(backing: Any) -> bool:
    if getattr(backing, "compatibilityMode", None) == "physicalMode":
        return False
    if (getattr(backing, "diskMode", None) or "").startswith("independent"):
        return False
    return getattr(backing, "sharing", None) == "sharingMultiWriter"
