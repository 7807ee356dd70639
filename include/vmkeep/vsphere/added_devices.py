"""Tells which devices a VM got after one of its snapshots. Going back to the snapshot takes them off the VM."""

from __future__ import annotations

from dataclasses import dataclass

from vmkeep.model.disk import Disk
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

    :param snapshot: managed object id.
    """
    with speaking(f"compare the devices of VM {moref} with those of snapshot {snapshot}"):
        before = held_devices(session, snapshot)
        now = read(session, session.vm(moref), _DEVICES)[_DEVICES]
    old = {(disk.key, disk.uuid) for disk in disks_of(before)}
    disks = disks_of(now)
    known = {device.key for device in before} | {disk.key for disk in disks}
    return AddedDevices(
        disks=tuple(disk for disk in disks if (disk.key, disk.uuid) not in old),
        others=tuple(
            device.deviceInfo.label if device.deviceInfo is not None else f"device {device.key}"
            for device in now
            if device.key not in known
        ),
    )
