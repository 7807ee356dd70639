"""A check reads what is new in each point, however many points there are."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.repository.conftest import make_repository
from vmkeep.blobs import Meter
from vmkeep.blobs.wrappers import MeteredStore
from vmkeep.testing import MemoryStore


def stored(repository, number, maps):
    """Store some new maps together, with one block each, and return their roots."""
    files = {f"{at}": bytes([1 + number, at]) * (repository.block_size // 2) for at in range(maps)}
    return [root for root, _ in repository.store_attachments(files, run=f"run/{number}").values()]


def reads_of_a_check(make_maps, points, point):
    """Seal points with the maps that `make_maps` returns for each of their numbers; return the reads of a check."""
    meter = Meter()
    repository = make_repository(MeteredStore(MemoryStore(), meter))
    first = point()
    for number in range(points):
        roots = make_maps(repository, number)
        at = first.taken_at + timedelta(days=number)
        repository.seal(point(*roots, id=f"{number:016x}", run=f"run/{number}", taken_at=at))
    before = reads(meter)
    assert repository.check() == []
    return reads(meter) - before


def reads(meter):
    return sum(verb.calls for verb in meter.report() if verb.verb.startswith("get"))


def test_a_point_with_maps_that_others_have_too_costs_a_check_its_manifest_and_its_note(point):
    known = {}

    def shared(repository, _number):
        if repository.id not in known:
            known[repository.id] = stored(repository, 1, 3)
        return known[repository.id]

    few, many = (reads_of_a_check(shared, points, point) for points in (2, 18))

    assert many - few == 16 * 2


def test_a_check_reads_the_new_maps_of_a_point_together(point):
    def new(maps):
        return lambda repository, number: stored(repository, number, maps)

    assert reads_of_a_check(new(3), 8, point) == reads_of_a_check(new(1), 8, point)
