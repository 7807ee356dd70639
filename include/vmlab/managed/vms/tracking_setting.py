"""Switches change tracking of a VM's disks as `config.changeTrackingEnabled` says, at every stun.

A new value in the configuration changes nothing on a running VM until a snapshot, a power change or a suspend. Under
snapshots, tracking is not switched on, because the frozen links know nothing of their changes.
"""

from typing import Any

from vmlab.managed.machine import disks, in_snapshots
from vmlab.managed.site import Site


def apply_tracking(site: Site, ref: Any) -> None:
    """Switch tracking of every disk that can be tracked, as the configuration says."""
    config = site.world.get(ref, "config")
    wanted = bool(config.changeTrackingEnabled)
    for disk in disks(config):
        path = disk.backing.fileName
        if not in_snapshots(disk):
            continue
        info = site.store.info(path)
        if wanted and not info.tracked and info.parent is None:
            site.store.enable_tracking(path)
        elif not wanted and info.tracked:
            site.store.disable_tracking(path)
