"""Makes the repositories that the rows look at, and counts the calls to them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from bench.measure import say
from vmkeep.flows import disk_images
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Repository, create_repository, open_repository, point_id

CAPACITY: Final = 4 << 20
"""Bytes of each disk."""
POINTS_OF_A_VM: Final = 4

Counts = dict[str, float]
Row = Callable[[Path, int], Counts]


def calls(repository: Repository) -> float:
    """Return the number of calls to the store of a repository that was opened for it."""
    assert repository.meter is not None
    return sum(verb.calls for verb in repository.meter.report())


def calls_but_reads(folder: Path, use: Callable[[Repository], object]) -> float:
    """Return the calls of a step that read no blocks; see :func:`calls_of`. Noise lies in packs in any order."""
    with open_repository(str(folder / "repository")) as repository:
        use(repository)
        assert repository.meter is not None
        return sum(verb.calls for verb in repository.meter.report() if verb.verb != "get_into")


def calls_of(folder: Path, use: Callable[[Repository], object]) -> float:
    """Return the calls of a step with the repository of a row, which is opened for it."""
    with open_repository(str(folder / "repository")) as repository:
        use(repository)
        return calls(repository)


def catalog(folder: Path) -> str:
    """Return the URL of a row's catalog."""
    return f"sqlite:///{folder}/catalog.db"


def new_disk(folder: Path) -> Path:
    """Make a disk of noise."""
    disk = folder / "disk.raw"
    disk.write_bytes(os.urandom(CAPACITY))
    return disk


def filled(folder: Path, vms: int) -> list[str]:
    """Make a repository with some points of each VM, which all have the same disk; return their refs."""
    disk = new_disk(folder)
    with create_repository(str(folder / "repository")) as repository:
        request = disk_images.ImportRequest(paths=(disk,), name="pattern", guest_id="debian12_64Guest")
        pattern = disk_images.import_images(repository, request, on_progress=lambda _event: None).point
        refs = [repository.manifests.seal(point).ref for point in _alike(pattern, range(vms))]
        repository.sealed_notes.forget(f"points/{pattern.ref}")
        repository.blobs.delete(f"points/{pattern.ref}")
    say(f"{len(refs)} points are there")
    return refs


def _alike(pattern: RestorePoint, numbers: Iterable[int]) -> Iterator[RestorePoint]:
    for number in numbers:
        key = f"5029ab12-0000-4000-8000-{number:012d}"
        vm = replace(pattern.vm, name=f"vm{number:05}", key=key, instance_uuid=key)
        for day in range(POINTS_OF_A_VM):
            run = f"bench-{day}"
            taken_at = pattern.taken_at - timedelta(days=day + 1)
            yield replace(pattern, id=point_id(run, key), run=run, vm=vm, taken_at=taken_at)


def sealed(folder: Path, vms: int) -> list[str]:
    """Fill a repository as seals do, an hour ago but for one point: each point has its note. Return the refs."""
    refs = filled(folder, vms)
    with open_repository(str(folder / "repository")) as repository:
        for ref in refs:
            repository.sealed_notes.try_to_remember(f"points/{ref}", "vm")
        for ref in refs[:-1]:
            os.utime(folder / "repository" / "points" / ref, (time.time() - 3600,) * 2)
    return refs
