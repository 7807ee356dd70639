"""QueryChangedDiskAreas: the areas of a disk that changed since a changeId, a slice at a time.

One answer covers a limited number of bytes and areas. A client that forgets to ask on therefore loses data here, and
not first in production.
"""

import re
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.disks import DiskError, UnknownChangeIdError
from vmlab.managed.machine import disks
from vmlab.managed.site import Call, Site, method
from vmlab.managed.storage import disk_fault

Info = vim.VirtualMachine.DiskChangeInfo


@method(vim.VirtualMachine, "QueryChangedDiskAreas", locked=False)
def query_changed_disk_areas(call: Call, snapshot: Any, deviceKey: int, startOffset: int, changeId: str) -> Any:
    """Return the 64 KiB blocks changed since `changeId`, or the allocated ones for `*`, from `startOffset` on."""
    disk = _disk(call, snapshot, deviceKey)
    path, capacity = disk.backing.fileName, int(disk.capacityInBytes)
    if not 0 <= startOffset < capacity:
        raise _bad("startOffset", f"{startOffset} is not inside the disk of {capacity} bytes")
    if changeId != "*" and not re.fullmatch(r"[0-9a-fA-F -]+/\d+", changeId):
        raise _bad("changeId", f"{changeId!r} is not a change ID")
    with call.site.tasks.entity_lock(call.this):
        areas = _areas(call.site, path, changeId, startOffset)
    return _slice(call.site, areas, startOffset, capacity)


def _disk(call: Call, snapshot: Any, key: int) -> Any:
    with call.world.lock:
        if snapshot is not None and call.world.get(snapshot, "vm") != call.this:
            raise _bad("snapshot", f"{snapshot._moId} is not a snapshot of this virtual machine")
        config = call.world.get(snapshot if snapshot is not None else call.this, "config")
        disk = next((disk for disk in disks(config) if disk.key == key), None)
    if disk is None:
        raise _bad("deviceKey", f"there is no disk with key {key}")
    return disk


def _areas(site: Site, path: str, change_id: str, start: int) -> list[tuple[int, int]]:
    try:
        if not site.store.info(path).tracked:
            raise vim.fault.FileFault(file=path, msg=f"Error caused by file {path}: change tracking is not active.")
        return site.store.changed_areas(path, change_id, start)
    except UnknownChangeIdError as error:
        raise vim.fault.FileFault(file=path, msg=f"Error caused by file {path}: {error}.") from error
    except DiskError as error:
        raise disk_fault(error, path) from error


def _slice(site: Site, areas: list[tuple[int, int]], start: int, capacity: int) -> Any:
    stop = min(capacity, start + site.bytes_per_query)
    if len(areas) > site.extents_per_query:
        stop = min(stop, areas[site.extents_per_query][0])
    inside = [(at, min(at + length, stop) - at) for at, length in areas if at < stop]
    if inside and site.faults.take_effect("change_left_out"):
        inside.pop()
    extents = [Info.DiskChangeExtent(start=at, length=length) for at, length in inside]
    return Info(startOffset=start, length=stop - start, changedArea=extents)


def _bad(name: str, why: str) -> Any:
    return vmodl.fault.InvalidArgument(
        invalidProperty=name, msg=f"A specified parameter was not correct: {name} ({why})."
    )
