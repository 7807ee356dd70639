"""Rows of the storing of a changed block, after other increments and beside the records of sweeps."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from unittest import mock

from bench.growth.stock import CAPACITY, Counts, calls, new_disk
from vmkeep.flows import disk_images
from vmkeep.images import importing
from vmkeep.model.extents import Extent
from vmkeep.repository import create_repository, open_repository
from vmkeep.repository.notes.leases import Lease

_FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)


def increment(folder: Path, earlier: int) -> Counts:
    """A changed block is stored after some earlier increments: without a cache, and right after that once more."""
    disk = new_disk(folder)
    changed = stored_changes(folder, disk, earlier + 1)
    first = store_change(folder, disk, earlier + 1, since=changed.point, cache=folder / "cold")
    second = store_change(folder, disk, earlier + 2, since=first.point, cache=folder / "cold")
    return {
        "calls without a cache": first.calls,
        "calls with that cache": second.calls,
        "calls of an increment, on average": changed.mean,
    }


def sweeps(folder: Path, over: int) -> Counts:
    """A changed block is stored while the records of some sweeps stand that are over, as prunes leave them for days."""
    disk = new_disk(folder)
    changed = stored_changes(folder, disk, 1)
    with open_repository(str(folder / "repository")) as repository:
        for number in range(over):
            sweep = repository.sweep_records.begin_sweep([number.to_bytes(16, "big")])
            repository.sweep_records.decide(sweep, [number.to_bytes(16, "big")])
            repository.sweep_records.finish_sweep(sweep)
    first = store_change(folder, disk, 1, since=changed.point, cache=folder / "cold")
    return {"calls without a cache": first.calls}


def leftovers(folder: Path, earlier: int) -> Counts:
    """Some runs have ended well: blobs that are left of them."""
    stored_changes(folder, new_disk(folder), earlier)
    with open_repository(str(folder / "repository")) as repository:
        return {"blobs below runs/": repository.stats().run_blobs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A stored increment."""

    point: str
    """Its ref."""
    calls: float
    """The calls to the store."""
    mean: float = 0.0
    """Those of all increments before it and of itself, on average."""


def stored_changes(folder: Path, disk: Path, count: int) -> Changed:
    """Make a repository with a disk and some increments of it; return the last of these."""
    with create_repository(str(folder / "repository")):
        pass
    first = last = store_change(folder, disk, 0)
    spent = [(last := store_change(folder, disk, at, since=last.point)).calls for at in range(1, count)]
    return replace(last, mean=sum(spent) / len(spent) if spent else first.calls)


def store_change(
    folder: Path, disk: Path, number: int, *, since: str | None = None, cache: Path | None = None
) -> Changed:
    """Store a disk, or one changed block as an increment since a point."""
    with disk.open("r+b") as file:
        file.seek(number * 4096 % CAPACITY)
        file.write(os.urandom(4096))
    start = number * 4096 % CAPACITY
    with open_repository(str(folder / "repository"), cache=cache) as repository:
        request = disk_images.ImportRequest(paths=(disk,), name="web01")
        if since is not None:
            request = replace(request, since=since, extents=([Extent(start, start + 4096)],))
        # A VM has no two points of one second, and a seal would read all that have its own.
        at = mock.patch.object(importing, "now", return_value=_FIRST + timedelta(minutes=number))
        with at, mock.patch.object(Lease, "_renew"):  # whose calls tell how long the machine took
            point = disk_images.import_images(repository, request, on_progress=lambda _event: None).point
        return Changed(point=point.ref, calls=calls(repository))
