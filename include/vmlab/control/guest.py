"""Calls that write as a VM's guest would, and calls that read what its disks hold.

A write goes through the link that the VM runs on, under the VM's lock. Deltas and change tracking therefore see it
as they would see a real guest's.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from vmlab.control.targets import ControlError, find_disk, find_vm
from vmlab.disks import DiskError, DiskHandle
from vmlab.managed.site import Site

PIECE = 4 << 20


def write(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{vm, disk, writes: [{offset, length, seed | data_b64 | zero}]}`: bytes written by a running guest."""
    vm = find_vm(site, body.get("vm"))
    total = 0
    with site.tasks.entity_lock(vm):
        if site.world.get(vm, "runtime").powerState != "poweredOn":
            raise ControlError(f"{site.world.get(vm, 'name')} is not running: its guest cannot write", 409)
        disk = find_disk(site, vm, body.get("disk", 0))
        with site.store.open(disk.backing.fileName, writable=True) as handle:
            for item in body.get("writes") or []:
                total += _write_one(handle, item)
    return {"written": total, "path": disk.backing.fileName}


def _write_one(handle: DiskHandle, item: dict[str, Any]) -> int:
    offset = _number(item, "offset")
    try:
        if "data_b64" in item:
            data = base64.b64decode(item["data_b64"], validate=True)
            handle.write(offset, data)
            return len(data)
        length = _number(item, "length")
        if "seed" not in item and not item.get("zero"):
            raise ControlError("a write needs one of: seed, data_b64, zero")
        rng = None if item.get("zero") else np.random.default_rng(_number(item, "seed"))
        for start in range(0, length, PIECE):
            size = min(PIECE, length - start)
            handle.write(offset + start, bytes(size) if rng is None else rng.bytes(size))
        return length
    except (DiskError, binascii.Error) as error:
        raise ControlError(f"write at {offset}: {error}") from error


def digest(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """`{vm, disk, offset?, length?}`: SHA-256 of the disk's bytes as they are now."""
    vm = find_vm(site, body.get("vm"))
    with site.tasks.entity_lock(vm), _opened(site, vm, body) as handle:
        start, stop = span(handle.capacity, body)
        sha = hashlib.sha256()
        for piece in pieces(handle, start, stop):
            sha.update(piece)
    return {"sha256": sha.hexdigest(), "offset": start, "length": stop - start, "capacity": handle.capacity}


def extents(site: Site, query: dict[str, Any]) -> dict[str, Any]:
    """`vm, disk`: the allocated areas of the disk's whole chain, as `[[offset, length], …]`."""
    vm = find_vm(site, query.get("vm"))
    with site.tasks.entity_lock(vm), _opened(site, vm, query) as handle:
        return {"extents": [list(area) for area in handle.allocated()], "capacity": handle.capacity}


def read(site: Site, query: dict[str, Any]) -> tuple[int, Iterator[bytes]]:
    """`vm, disk, offset?, length?`: return the number of bytes, and the bytes."""
    vm = find_vm(site, query.get("vm"))
    # Locked, because removing a snapshot could delete the file between its look-up and its opening.
    with site.tasks.entity_lock(vm):
        handle = _opened(site, vm, query)
    try:
        start, stop = span(handle.capacity, query)
    except ControlError:
        handle.close()
        raise
    return stop - start, _closing(handle, start, stop)


def _opened(site: Site, vm: Any, query: dict[str, Any]) -> DiskHandle:
    """Open the link that a VM runs on; the caller holds the VM's lock."""
    return site.store.open(find_disk(site, vm, query.get("disk", 0)).backing.fileName)


def _closing(handle: DiskHandle, start: int, stop: int) -> Iterator[bytes]:
    with handle:
        yield from pieces(handle, start, stop)


def pieces(handle: DiskHandle, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes of a span in pieces of 4 MiB at most."""
    for at in range(start, stop, PIECE):
        yield handle.read(at, min(PIECE, stop - at))


def span(capacity: int, body: dict[str, Any]) -> tuple[int, int]:
    """Return the part of a disk that a call asks for, or the whole disk if it names none."""
    start = _number(body, "offset") if body.get("offset") is not None else 0
    stop = start + _number(body, "length") if body.get("length") is not None else capacity
    if not 0 <= start <= stop <= capacity:
        raise ControlError(f"bytes {start} to {stop} are not inside the disk of {capacity} bytes")
    return start, stop


def _number(item: dict[str, Any], name: str) -> int:
    try:
        value = int(item[name])
    except (KeyError, TypeError, ValueError):
        raise ControlError(f"{name} must be a number") from None
    if value < 0:
        raise ControlError(f"{name} must not be negative")
    return value
