"""A real file system that is full, and a repository of imported images with packs of the usual size."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.storage.test_full_disk import PAGE, disk, fill, room
from tests.unit.maintenance.conftest import NONE
from vmkeep.blobs.store import RESERVE
from vmkeep.clock import now
from vmkeep.flows import repositories
from vmkeep.images import import_images
from vmkeep.maintenance import delete_points, plan_deletion
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository import open_repository

__all__ = ["disk"]


@pytest.fixture
def machines(disk, tmp_path):
    """The location of a new repository, and a function that imports an image of random bytes for a machine."""
    location = str(disk / "repository")
    repositories.create(location, block_size=1 << 18, compression="zstd")
    image = tmp_path / "image.raw"

    def import_one(seed: int, size: int, name: str) -> str:
        image.write_bytes(random.Random(seed).randbytes(size))
        with open_repository(location) as repository:
            return import_images(repository, [image], name=name).ref

    return location, import_one


def reserved(location: str) -> int:
    return (Path(location) / RESERVE).stat().st_size


def test_a_full_disk_gets_room_from_packs_that_are_waste_but_for_a_frame(machines, disk):
    location, import_one = machines
    oldest, *_ = [import_one(seed, size << 20, "im") for seed, size in enumerate((2, 2, 1))]
    before = reserved(location)
    fill(disk, but=0)
    with open_repository(location) as repository:
        delete_points(repository, plan_deletion(repository, [oldest]))
    fill(disk, but=0)

    with open_repository(location) as repository:
        report = execute(repository, plan_prune(repository, None, margins=NONE, now=now()))

        assert report.not_rewritten == ""
        assert report.packs_rewritten
        assert report.bytes_freed > 2 << 20
        assert room(disk) > 3 << 19
        assert reserved(location) >= before
        assert repository.check(read_data=True) == []


def test_a_pack_that_may_not_go_at_once_is_not_moved_in_the_room_that_is_held_back(machines, disk):
    location, import_one = machines
    oldest, *_ = [import_one(seed, 1 << 20, "im") for seed in range(2)]
    with open_repository(location) as repository:
        delete_points(repository, plan_deletion(repository, [oldest]))
    before = reserved(location)
    fill(disk, but=0)

    with open_repository(location) as repository:
        margins = Margins(young_for=timedelta(), condemned_for=timedelta(hours=1))
        report = execute(repository, plan_prune(repository, None, margins=margins, now=now()))

    assert "no space left" in report.not_rewritten
    assert reserved(location) >= before - 2 * PAGE, "but for the plan, which lets a later prune delete"
