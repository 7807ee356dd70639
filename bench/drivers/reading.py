"""Reads a point's first disk as services do, and writes its measurements to standard output as JSON.

    reading.py in-order|through|served|striped|random|random-striped|first-byte REPOSITORY POINT

``in-order``: all stored blocks in the order of the disk. ``through``: the stored bytes in pieces of 1 MiB, by one
caller. ``served``: all of it by nbdcopy, over NBD. ``random``: 4 KiB at places that were not read before, and at the
same places again. ``striped`` and ``random-striped``: the same of a logical volume whose stripes of 64 KiB go round the
two halves of the disk. ``first-byte``: the first sector. The ways at random give milliseconds.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkeep.model.blockio import RandomDisk
    from vmkeep.repository import Repository

_PIECE = 1 << 20
_SMALL = 4096
_STRIPE = 64 << 10
_READS = 500
_AGAIN = 4


def main(what: str, location: str, ref: str) -> None:
    """Read."""
    from vmkeep.repository import open_repository
    from vmkeep.transfer import open_views, read_in_order

    with open_repository(location) as repository:
        root = repository.find_point(ref).images[0].root
        found: dict[str, float] = {}
        if what == "in-order":
            with read_in_order(repository, root, what=ref) as blocks:
                for _ in blocks:
                    pass
        elif what == "served":
            _served(repository, ref)
        else:
            with open_views(repository) as views:
                disk: RandomDisk = views.open(root, what=ref)
                if what.endswith("striped"):
                    disk = _striped(disk)
                if what in ("through", "striped"):
                    _through(disk)
                elif what.startswith("random"):
                    found = _random(disk)
                else:
                    disk.read_into(0, memoryview(bytearray(512)))
    print(json.dumps(found))


def _served(repository: Repository, ref: str) -> None:
    from vmkeep.flows.serving import ServeRequest, serve_point

    with serve_point(repository, ServeRequest(point=ref), tell=lambda _line, _warning: None) as served:
        subprocess.run(["nbdcopy", served.disks[0].uri, "null:"], check=True)


def _striped(disk: RandomDisk) -> RandomDisk:
    from vmkeep.guest.volumes.parts import StripedDisk, part_of

    half = disk.capacity // 2 // _STRIPE * _STRIPE
    halves = [part_of(disk, at, half, what="half") for at in (0, half)]
    return StripedDisk(halves, stripe=_STRIPE, what="striped")


def _through(disk: RandomDisk) -> None:
    buffer = memoryview(bytearray(_PIECE))
    for extent, data in disk.extents(0, disk.capacity):
        for at in range(extent.start, extent.stop, _PIECE) if data else ():
            disk.read_into(at, buffer[: extent.stop - at])


def _random(disk: RandomDisk) -> dict[str, float]:
    chance = random.Random(1)  # noqa: S311
    stored = [extent for extent, data in disk.extents(0, disk.capacity) if data]
    chosen = chance.choices(stored, weights=[extent.length for extent in stored], k=_READS)
    places = [extent.start + chance.randrange(extent.length // _SMALL) * _SMALL for extent in chosen]
    buffer = memoryview(bytearray(_SMALL))
    spent: list[float] = []
    for at in places * _AGAIN:
        started = time.perf_counter()
        disk.read_into(at, buffer)
        spent.append((time.perf_counter() - started) * 1000)
    return {"first": statistics.median(spent[:_READS]), "again": statistics.median(spent[_READS:])}


if __name__ == "__main__":
    main(*sys.argv[1:])
