"""Removes the leftovers of dead processes, and records of sweeps that no process can need any more."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from vmkeep.blobs import BlobInfo, abreast
from vmkeep.maintenance.index_removal import named_packs
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.storetime import age
from vmkeep.repository import Repository
from vmkeep.repository.folders import RUNS
from vmkeep.repository.notes import DUTIES, EXPIRES_AFTER, LEASES, areas_in_use, is_held, tries


def remove_dead_runs(repository: Repository, margins: Margins, *, time: datetime) -> int:
    """Remove the areas of runs that have shown no sign of life for long; return how many.

    A copy renews its lease every few seconds, so an area without any young blob belongs to no living process. If a
    lease takes longer to expire than the margin, the lease decides. Notes of what is still to be done stay, and so do
    the permits of work that goes on for longer than the margin, or others would pass the limit.

    :param time: now, by the store's clock.
    """
    areas: dict[str, list[BlobInfo]] = defaultdict(list)
    for blob in repository.blobs.list(RUNS):
        areas[blob.key.removeprefix(RUNS).partition("/")[0]].append(blob)
    dead = {
        area: blobs
        for area, blobs in areas.items()
        if area not in DUTIES
        and min(age(blob.modified, time=time) for blob in blobs) >= margins.left_for
        and not any(_is_live(repository, blob, time) for blob in blobs)
    }
    for area in areas_in_use(repository.blobs, repository.framer, time) if dead else ():
        dead.pop(area, None)

    def remove(blobs: list[BlobInfo]) -> None:
        for blob in blobs:
            repository.blobs.delete(blob.key)

    return sum(1 for _ in abreast(repository.blobs, remove, dead.values()))


def _is_live(repository: Repository, blob: BlobInfo, time: datetime) -> bool:
    """Return whether a blob is a lease that is held and was renewed recently."""
    return (
        f"/{LEASES}" in blob.key
        and age(blob.modified, time=time).total_seconds() < EXPIRES_AFTER
        and is_held(repository.blobs, repository.framer, blob.key)
    )


def remove_dead_forgettings(repository: Repository, margins: Margins, *, time: datetime) -> int:
    """Remove the records of prunes that died while they forgot points; return how many.

    :param time: now, by the store's clock.
    """
    old = [record for record in repository.forgettings.all() if age(record.begun_at, time=time) >= margins.left_for]
    return sum(1 for _ in abreast(repository.blobs, repository.forgettings.end, [record.id for record in old]))


def forget_sweeps(repository: Repository, margins: Margins, *, time: datetime) -> int:
    """Remove the records of sweeps that have been over for long; return how many.

    A record is still needed in two cases. A try that began before the sweep was over still needs it. So does an index
    that names a pack which the sweep deleted: a merge that read the index before the sweep may have written such
    entries again. If it cannot be told which packs the index names, all records stay.

    :param time: now, by the store's clock.
    """
    old = [
        sweep
        for sweep in repository.sweep_records.sweeps()
        if sweep.over and sweep.over_at is not None and age(sweep.over_at, time=time) >= margins.left_for
    ]
    if not old:
        return 0
    keys = tries.begun_keys(repository.blobs)
    known = list(
        abreast(repository.blobs, lambda key: tries.over_at_begin(repository.blobs, repository.framer, key), keys)
    )
    named = named_packs(repository)  # after the tries: one that has ended has named what it stored
    if named is None:
        return 0
    done = [
        sweep
        for sweep in old
        if all(over is not None and sweep.id in over for over in known) and not sweep.off_limits & named
    ]
    forget = repository.sweep_records.forget_sweep
    return sum(1 for _ in abreast(repository.blobs, forget, [sweep.id for sweep in done]))
