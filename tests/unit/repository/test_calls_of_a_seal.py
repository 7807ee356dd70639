"""A seal looks once whether its point is sealed already, and reads the roots of a point together."""

from __future__ import annotations

import random

import pytest

from tests.unit.maintenance.counted import CountedStore
from vmkeep.errors import CorruptError, StaleError
from vmkeep.repository import Repository
from vmkeep.testing import FaultyStore

BLOCK = 65536


def stored(repository, run, *, seed, files=1):
    """Store some files in a try of a run; return the try and the roots."""
    begun = repository.begin_run(run)
    contents = {f"{number}": random.Random(seed + number).randbytes(2 * BLOCK) for number in range(files)}
    roots = repository.store_attachments(contents, run=run, begun=begun)
    return begun, [root for root, _ in roots.values()]


def on(store, repository):
    return Repository(store, repository.descriptor)


@pytest.mark.parametrize("points", [0, 3])
def test_a_seal_lists_the_points_of_its_vm_once(repository, point, points):
    for number in range(points):
        begun, roots = stored(repository, f"run/{number}", seed=number)
        at = point().taken_at.replace(day=5 + number)
        repository.seal(point(*roots, id=f"{number:016x}", run=f"run/{number}", taken_at=at), begun=begun)
    begun, roots = stored(repository, "run/new", seed=100)
    store = CountedStore(repository.blobs)

    on(store, repository).seal(point(*roots, run="run/new"), begun=begun)

    assert (store.calls["list points"], store.calls["get points"]) == (1, 0)


def test_a_seal_reads_the_roots_of_maps_that_were_stored_together_in_one_call(repository, point):
    begun, roots = stored(repository, "run/1", seed=1, files=6)
    store = CountedStore(repository.blobs)

    on(store, repository).seal(point(*roots, run="run/1"), begun=begun)

    assert store.calls["get packs"] == 1


def test_a_seal_names_the_map_that_cannot_be_read_among_those_that_are_read_together(repository, point):
    begun, roots = stored(repository, "run/1", seed=1, files=2)
    missing = point(roots[0], run="run/1", attachments={"vm.nvram": roots[1], "vm.vmx": "ab" * 32})

    with pytest.raises(CorruptError, match=r"'vm\.vmx' cannot be sealed"):
        repository.seal(missing, begun=begun)

    assert list(repository.points()) == []


class Beaten(FaultyStore):
    """A store in which another try of the run has sealed its point right before we look for one."""

    def __init__(self, inner, other):
        super().__init__(inner)
        self._other = other

    def list(self, prefix):
        if prefix.startswith("points/"):
            self._other()
        return super().list(prefix)


def sealed_by_both(repository, point, *, and_then):
    """Let two tries of a run seal their points, the second one in the middle of the first; return both refs."""
    begun, roots = stored(repository, "run/1", seed=1)
    theirs, others = stored(repository, "run/1", seed=2)
    refs = []

    def other():
        if not refs:
            refs.append("")  # the other try lists points, too
            refs[0] = repository.seal(point(*others, run="run/1"), begun=theirs)
            and_then()

    later = point().taken_at.replace(day=6)
    store = Beaten(repository.blobs, other)
    return on(store, repository).seal(point(*roots, run="run/1", taken_at=later), begun=begun), refs[0]


def test_two_tries_of_a_run_that_seal_at_once_make_one_point(repository, point):
    ours, theirs = sealed_by_both(repository, point, and_then=lambda: None)

    assert ours == theirs
    assert [each.ref for each in repository.points()] == [theirs]


def test_a_try_does_not_count_on_a_point_of_another_one_that_is_not_complete(repository, point):
    def lose_packs():
        for blob in list(repository.blobs.list("packs/")):
            repository.blobs.delete(blob.key)

    with pytest.raises(StaleError):
        sealed_by_both(repository, point, and_then=lose_packs)
