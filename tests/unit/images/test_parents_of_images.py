"""Which point an imported image continues: the one that its caller names, whatever any clock says."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from threading import Barrier, Thread

import pytest

from vmkeep.clock import now
from vmkeep.errors import NotFoundError, UsageError
from vmkeep.images import export_image, import_images, importing
from vmkeep.model.extents import Extent
from vmkeep.repository import create_repository, open_repository

MIB = 1 << 20


@pytest.fixture
def repository(tmp_path):
    return create_repository(str(tmp_path / "repo"))


class Machine:
    """One disk that is written to between imports."""

    def __init__(self, path, *, size=4 * MIB):
        self.path = path
        self.content = bytearray(random.Random(1).randbytes(size))
        path.write_bytes(self.content)

    def write(self, start, seed):
        """Change a MiB; return the extents of it."""
        self.content[start : start + MIB] = random.Random(seed).randbytes(MIB)
        self.path.write_bytes(self.content)
        return [[Extent(start, start + MIB)]]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "disk.raw")


def content_of(repository, point, folder):
    out = folder / point.id
    export_image(repository, point, 0, out)
    return out.read_bytes()


@pytest.mark.parametrize("hours", [2, -2])
def test_after_a_step_of_the_clock_an_increment_continues_the_point_that_was_named(
    repository, machine, tmp_path, monkeypatch, hours
):
    monkeypatch.setattr(importing, "now", lambda: now() + timedelta(hours=hours))
    import_images(repository, [machine.path], name="a")
    monkeypatch.undo()
    machine.write(0, seed=2)
    second = import_images(repository, [machine.path], name="a")
    changed = machine.write(2 * MIB, seed=3)

    third = import_images(repository, [machine.path], name="a", extents=changed, since=second.ref)

    assert content_of(repository, third, tmp_path) == machine.content
    assert third.images[0].reason == f"changes since {second.ref}"


def test_two_imports_at_once_continue_the_point_that_each_was_told(repository, machine, tmp_path):
    first = import_images(repository, [machine.path], name="a")
    twins = [Machine(tmp_path / f"{number}.raw") for number in range(2)]
    together, made = Barrier(2), {}

    def run(number):
        changed = twins[number].write(number * MIB, seed=7 + number)
        with open_repository(str(tmp_path / "repo")) as own:
            together.wait()
            made[number] = import_images(own, [twins[number].path], name="a", extents=changed, since=first.ref)

    threads = [Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number, twin in enumerate(twins):
        assert content_of(repository, made[number], tmp_path) == twin.content


def test_extents_without_the_point_that_they_continue_are_refused_and_it_is_said_how(repository, machine):
    import_images(repository, [machine.path], name="a")

    with pytest.raises(UsageError, match=r"name that one with --since POINT.*point list --vm image-a"):
        import_images(repository, [machine.path], name="a", extents=[()])
    with pytest.raises(UsageError, match="give both, or neither"):
        import_images(repository, [machine.path], name="a", since="latest")


@pytest.mark.parametrize("word", ["latest", "latest:a", "latest:image-a"])
def test_the_newest_point_is_no_name_of_a_parent(repository, machine, word):
    import_images(repository, [machine.path], name="a")

    with pytest.raises(UsageError, match="name the point itself"):
        import_images(repository, [machine.path], name="a", extents=[()], since=word)


def test_a_parent_that_is_not_there_is_told(repository, machine):
    with pytest.raises(NotFoundError, match="no restore point 'nothing'"):
        import_images(repository, [machine.path], name="a", extents=[()], since="nothing")


@pytest.mark.parametrize("name", ["A", "a ", "b"])
def test_a_point_of_another_name_is_no_parent(repository, machine, name):
    other = import_images(repository, [machine.path], name=name)

    with pytest.raises(UsageError, match=f"is a point of '{name}', and not of images named 'a'"):
        import_images(repository, [machine.path], name="a", extents=[()], since=other.ref)


def test_a_point_that_is_marked_damaged_is_no_parent(repository, machine):
    first = import_images(repository, [machine.path], name="a")
    repository.marks.mark_damaged(first.ref, ())

    with pytest.raises(UsageError, match=r"marked damaged.*without extents"):
        import_images(repository, [machine.path], name="a", extents=[()], since=first.ref)
    assert import_images(repository, [machine.path], name="a").kind == "full"


@pytest.mark.parametrize("size", [2 * MIB, 8 * MIB])
def test_a_point_with_a_disk_of_another_size_is_no_parent(repository, machine, size):
    first = import_images(repository, [machine.path], name="a")
    os.truncate(machine.path, size)

    with pytest.raises(UsageError, match=rf"has {size} bytes, but {4 * MIB} in restore point {first.ref}"):
        import_images(repository, [machine.path], name="a", extents=[()], since=first.ref)


def test_a_point_without_that_disk_is_no_parent(repository, machine, tmp_path):
    first = import_images(repository, [machine.path], name="a")
    paths = [machine.path, Machine(tmp_path / "second.raw").path]

    with pytest.raises(UsageError, match=rf"{first.ref} has no disk 1"):
        import_images(repository, paths, name="a", extents=[None, ()], since=first.ref)


def test_a_refused_import_leaves_nothing_in_the_repository(repository, machine):
    first = import_images(repository, [machine.path], name="a")
    before = [blob.key for blob in repository.blobs.list("")]

    with pytest.raises(UsageError):
        import_images(repository, [machine.path], name="a", extents=[()], since="latest")
    os.truncate(machine.path, 2 * MIB)
    with pytest.raises(UsageError):
        import_images(repository, [machine.path], name="a", extents=[()], since=first.ref)

    assert [blob.key for blob in repository.blobs.list("")] == before
