"""The newest point of a VM is read once, however many questions about it are asked in one step."""

from __future__ import annotations

from tests.unit.flows.proved_points import new_repository, seal
from tests.unit.maintenance.counted import CountedStore
from vmkeep.flows.point_choice import points_in_order
from vmkeep.repository import Repository


def counted(repository):
    store = CountedStore(repository.blobs)
    return store, Repository(store, repository.descriptor)


def test_the_newest_points_of_a_key_are_read_once_each_to_tell_its_vms_apart():
    repository = new_repository()
    refs = [seal(repository, "a", day=day) for day in range(4)]
    store, opened = counted(repository)

    assert opened.latest_refs("a") == [refs[-1]]
    assert store.calls == {"list points": 1, "get points": 4}


def test_the_points_before_one_are_read_without_that_one():
    repository = new_repository()
    refs = [seal(repository, "a", day=day) for day in range(3)]
    store, opened = counted(repository)
    point = repository.load_point(refs[2])

    assert [each.ref for each in points_in_order(opened, "a", before=point)] == [refs[1], refs[0]]
    assert store.calls["get points"] == 2
