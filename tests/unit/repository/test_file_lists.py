"""The index of a point's files is there as a whole or not at all, and goes with its point."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.sealed import remove_on_purpose
from tests.unit.cli.test_points import DAILY
from tests.unit.transfer.stored_disks import new_repository
from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.maintenance import forget
from vmkeep.repository.notes import IndexedVolume

NOW = datetime(2026, 11, 27, tzinfo=UTC)
VOLUMES = (IndexedVolume(name="disk0p1", kind="ext4", entries=7),)


@pytest.fixture
def repository():
    return new_repository()


@pytest.fixture
def point(repository):
    return repository.load_point(repository.seal(DAILY))


def store(repository, point, *parts):
    writer = repository.file_lists.begin(point)
    for part in parts:
        writer.add(part)
    return writer.end(made_at=NOW, entries=7, volumes=VOLUMES)


def test_an_index_comes_back_and_is_found_by_its_point(repository, point):
    head = store(repository, point, b"one", b"two")

    assert repository.file_lists.head(point.ref) == head
    assert list(repository.file_lists.parts(head)) == [b"one", b"two"]
    assert (head.vm, head.taken_at, head.parts, head.volumes) == ("web", point.taken_at, 2, VOLUMES)
    assert repository.file_lists.manifests() == {f"points/{point.ref}"}


def test_without_its_head_an_index_is_not_there(repository, point):
    writer = repository.file_lists.begin(point)
    writer.add(b"one")

    assert repository.file_lists.head(point.ref) is None
    assert repository.file_lists.manifests() == frozenset()

    writer.give_up()
    assert list(repository.blobs.list("files/")) == []


def test_a_new_index_replaces_the_old_one_and_its_parts(repository, point):
    store(repository, point, b"old", b"older")
    head = store(repository, point, b"new")

    assert list(repository.file_lists.parts(head)) == [b"new"]
    assert len(list(repository.blobs.list("files/"))) == 2


def test_no_index_stays_of_a_point_that_was_deleted_meanwhile(repository, point):
    writer = repository.file_lists.begin(point)
    writer.add(b"one")
    remove_on_purpose(repository.blobs, point.ref)

    with pytest.raises(NotFoundError, match="no restore point"):
        writer.end(made_at=NOW, entries=7, volumes=VOLUMES)

    assert list(repository.blobs.list("files/")) == []


def test_an_index_goes_with_its_point_and_no_other_does(repository, point):
    other = repository.load_point(repository.seal(replace(DAILY, id="01", run="other")))
    store(repository, point, b"one")
    store(repository, other, b"two")

    forget.forget(repository, [point.ref])

    assert repository.file_lists.manifests() == {f"points/{other.ref}"}
    assert len(list(repository.blobs.list("files/"))) == 2


def test_damage_is_named_with_the_remedy(repository, point):
    head = store(repository, point, b"one")
    (part,) = (blob.key for blob in repository.blobs.list("files/") if not blob.key.endswith("head"))
    repository.blobs.delete(part)

    with pytest.raises(CorruptError, match="make the index anew"):
        list(repository.file_lists.parts(head))

    repository.blobs.replace(f"files/{point.ref}/head", b"garbage")
    with pytest.raises(CorruptError, match=r"files/.*/head cannot be read.*make the index anew"):
        repository.file_lists.head(point.ref)
    assert store(repository, point, b"again").parts == 1
