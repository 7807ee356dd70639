"""Removes what dead processes left, and records of sweeps that nobody can need any more."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.withdraw import named_packs
from vmkeep.repository import Repository, sealing
from vmkeep.repository.runs import PREFIX


def remove_dead_runs(repository: Repository, margins: Margins, *, time: datetime) -> int:
    """Remove the areas of runs that gave no sign of life for long; return how many.

    A copy renews its lease every few seconds, so that an area in which nothing is young is nobody's any more.

    :param time: now, by the store's clock.
    """
    areas: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    for blob in repository.blobs.list(PREFIX):
        areas[blob.key.removeprefix(PREFIX).partition("/")[0]].append((blob.key, blob.modified))
    dead = [blobs for blobs in areas.values() if time - max(stamp for _, stamp in blobs) >= margins.left_for]
    for blobs in dead:
        for key, _ in blobs:
            repository.blobs.delete(key)
    return len(dead)


def remove_dead_forgettings(repository: Repository, margins: Margins, *, time: datetime) -> int:
    """Remove the records of prunes that died while they forgot points; return how many.

    :param time: now, by the store's clock.
    """
    old = [record for record in repository.forgettings.all() if time - record.begun_at >= margins.left_for]
    for record in old:
        repository.forgettings.end(record.id)
    return len(old)


def forget_sweeps(repository: Repository, margins: Margins, *, time: datetime) -> int:
    """Remove the records of sweeps that are over and long past; return how many.

    One is needed as long as a run goes on that had begun before, and as long as the index names a pack that it took:
    a merge of segments which read the index before the sweep may have written such entries again.

    :param time: now, by the store's clock.
    """
    old = [
        sweep
        for sweep in repository.plans.sweeps()
        if sweep.over and sweep.over_at is not None and time - sweep.over_at >= margins.left_for
    ]
    if not old:
        return 0
    keys = sealing.begun_keys(repository.blobs)
    known = [sealing.over_at_begin(repository.blobs, repository.framer, key) for key in keys]
    named = named_packs(repository)
    done = [sweep for sweep in old if all(sweep.id in over for over in known) and not sweep.off_limits & named]
    for sweep in done:
        repository.plans.forget_sweep(sweep.id)
    return len(done)
