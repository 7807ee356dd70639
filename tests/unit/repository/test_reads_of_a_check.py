"""A check reads what is new in each point, however many points there are."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.repository.conftest import make_repository
from vmkeep.blobs import Meter
from vmkeep.blobs.wrappers import MeteredStore
from vmkeep.maintenance import repair_points
from vmkeep.repository import Repository
from vmkeep.repository.checks import Trouble, seenpages
from vmkeep.repository.checks.seenpages import SeenPages
from vmkeep.repository.folders import INDEX, PACKS
from vmkeep.repository.frames import Kind, pack_key
from vmkeep.repository.index import Location
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


def test_a_check_reads_the_pages_of_a_pack_with_the_pack(point, monkeypatch):
    def new(repository, number):
        return stored(repository, number, 1)

    few, many = (reads_of_a_check(new, points, point) for points in (2, 18))
    monkeypatch.setattr(seenpages, "_MOST", 0)
    fetched = reads_of_a_check(new, 18, point)

    assert many - few == 16 * 5  # manifest, note, segment, and two small packs
    assert fetched >= many + 18


def test_a_page_is_known_by_its_place_its_digest_and_its_size():
    pages, place = SeenPages(), Location(b"p" * 16, Kind.PAGE, 32, 100)
    pages.add(place.pack, place.offset, b"d" * 32, b"content")

    assert pages.find(place, b"d" * 32, size=7) == b"content"
    assert pages.find(place, b"e" * 32, size=7) is None
    assert pages.find(place, b"d" * 32, size=8) is None
    assert pages.find(Location(b"q" * 16, Kind.PAGE, 32, 100), b"d" * 32, size=7) is None
    assert pages.find(None, b"d" * 32, size=7) is None


def test_a_page_that_is_damaged_is_found_though_its_pack_was_read_as_a_whole(point):
    repository = make_repository(MemoryStore())
    (root,) = stored(repository, 1, 1)
    repository.seal(point(root))
    place = repository.index.find(bytes.fromhex(root))
    blob = bytearray(repository.blobs.get(pack_key(place.pack)))
    blob[place.offset + place.length - 1] ^= 1
    repository.blobs.delete(pack_key(place.pack))
    repository.blobs.put(pack_key(place.pack), bytes(blob))

    assert [finding.trouble for finding in repository.check()] == [Trouble.POINT]


@pytest.mark.parametrize("look", [Repository.check, repair_points], ids=["check", "repair points"])
def test_points_that_have_lost_a_pack_share_one_second_look(look, point):
    few, many = (listings_with_a_lost_pack(look, points, point) for points in (2, 18))

    assert many == few


def listings_with_a_lost_pack(look, points, point):
    """Seal points with one map in common, whose pack is lost; return the times that a look at them lists packs."""
    repository = make_repository(Listed())
    (root,) = stored(repository, 1, 1)
    for number in range(points):
        at = point().taken_at + timedelta(days=number)
        repository.seal(point(root, id=f"{number:016x}", run=f"run/{number}", taken_at=at))
    repository.blobs.delete(pack_key(repository.index.find(bytes.fromhex(root)).pack))
    repository.blobs.listed.clear()
    look(repository)
    return repository.blobs.listed.count(PACKS), repository.blobs.listed.count(INDEX)


class Listed(MemoryStore):
    """A store that remembers what was listed."""

    def __init__(self):
        super().__init__()
        self.listed = []

    def list(self, prefix):
        self.listed.append(prefix)
        return super().list(prefix)
