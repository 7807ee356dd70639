"""Tells which devices a VM got after one of its snapshots. Going back to the snapshot takes them off the VM."""

from __future__ import annotations

from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk, SkipReason
from vmkeep.vsphere.describe import held_devices
from vmkeep.vsphere.disks import disks_of
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session

_DEVICES = "config.hardware.device"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedDevices:
    """The devices that a VM has, and that a snapshot of it does not have."""

    disks: tuple[Disk, ...] = ()
    others: tuple[str, ...] = ()
    """Labels of the devices that are no disks, e.g. ``Network adapter 2``."""


def find_added(session: Session, moref: str, snapshot: str) -> AddedDevices:
    """Compare a VM's devices with those of a snapshot. A disk counts as another one if its UUID is another one.

    Disks that no snapshot holds are left out, because a snapshot may not list them though the VM had them.

    :param snapshot: managed object id.
    """
    with speaking(f"compare the devices of VM {moref} with those of snapshot {snapshot}"):
        before = held_devices(session, snapshot)
        now = read(session, session.vm(moref), _DEVICES)[_DEVICES]
    old = {(disk.key, disk.uuid) for disk in disks_of(before)}
    disks = disks_of(now)
    known = {device.key for device in before} | {disk.key for disk in disks}
    return AddedDevices(
        disks=tuple(disk for disk in disks if (disk.key, disk.uuid) not in old and not _is_in_no_snapshot(disk)),
        others=tuple(label for key, label in _labels(now).items() if key not in known),
    )


def labels_of_devices(session: Session, moref: str) -> dict[int, str]:
    """Return the labels of a VM's devices by key; of a disk, with its file."""
    with speaking(f"read the devices of VM {moref}"):
        devices = read(session, session.vm(moref), _DEVICES)[_DEVICES]
    files = {disk.key: f"{disk.label} ({disk.file_name})" for disk in disks_of(devices)}
    return _labels(devices) | files


def _labels(devices: Any) -> dict[int, str]:
    return {
        device.key: device.deviceInfo.label if device.deviceInfo is not None else f"device {device.key}"
        for device in devices
    }


def _is_in_no_snapshot(disk: Disk) -> bool:
    return disk.physical_rdm or disk.skip is SkipReason.INDEPENDENT
