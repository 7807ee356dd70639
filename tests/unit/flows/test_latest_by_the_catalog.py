"""``latest:NAME`` asks the catalog for names and the repository for points; without a catalog it only takes longer."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.catalog import open_catalog
from vmkeep.errors import AmbiguousError, CorruptError, NotFoundError
from vmkeep.flows.catalogued import use_catalog
from vmkeep.model.point import BackupMode, Consistency, Quiesce, RestorePoint, VmIdentity
from vmkeep.repository import open_in, point_id
from vmkeep.repository.points import blob_of_ref
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore

START = datetime(2026, 1, 1, tzinfo=UTC)
POINTS_OF_A_VM = 4


class Counting(MemoryStore):
    """Counts the calls below ``points/``."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def get(self, key):
        self.calls["get"] += key.startswith("points/")
        return super().get(key)

    def list(self, prefix=""):
        self.calls["list"] += prefix.startswith("points/")
        return super().list(prefix)


def vm(number, name=None):
    return VmIdentity(name=name or f"vm{number:03}", key=f"key-{number:03}", moref=f"vm-{number}", vcenter="vc")


def point(of, day):
    run = f"run-{day}"
    return RestorePoint(
        id=point_id(run, of.key, f"{of.moref}{of.vcenter}"), vm=of, taken_at=START + timedelta(days=day), run=run,
        mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE,
        consistency=Consistency.CRASH, images=(),
    )  # fmt: skip


def empty(store):
    """Make a repository in a store."""
    descriptor.create(store, descriptor.new_descriptor(block_size=1 << 16, compression="lz4"))
    return open_in(store)


class World:
    """A repository with some VMs and a catalog."""

    def __init__(self, folder, vms=10):
        self.store = Counting()
        self.url = f"sqlite:///{folder}/catalog.db"
        self.repository = use_catalog(empty(self.store), lambda: self.url)
        for number in range(vms):
            for day in range(POINTS_OF_A_VM):
                self.seal(vm(number), day)

    def seal(self, of, day):
        sealed = point(of, day)
        self.repository.manifests.seal(sealed)
        return sealed.ref

    def refresh(self):
        with open_catalog(self.url) as catalog:
            return catalog.refresh(self.repository)

    def find(self, text):
        self.store.calls.clear()
        return self.repository.find_point(text)

    def damage(self, ref):
        content = bytearray(self.store.get(blob_of_ref(ref)))
        content[-1] ^= 1
        self.store.replace(blob_of_ref(ref), bytes(content))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.mark.parametrize("vms", [8, 32])
def test_a_vm_is_found_by_name_in_two_calls_however_many_vms_are_there(tmp_path, vms):
    world = World(tmp_path, vms)
    world.refresh()

    assert world.find("latest:vm003").ref == point(vm(3), POINTS_OF_A_VM - 1).ref
    assert world.store.calls == {"list": 1, "get": 1}


def test_the_newest_of_all_is_found_by_the_names_of_points(world):
    newest = world.seal(vm(3), 9)

    assert world.find("latest").ref == newest
    assert world.store.calls == {"list": 1, "get": 1}


def test_a_catalog_that_lacks_points_learns_them_at_the_first_question(world):
    world.find("latest:vm003")
    assert world.store.calls["get"] >= 10

    world.find("latest:vm003")
    assert world.store.calls["get"] == 1
    with open_catalog(world.url) as catalog:
        assert len(catalog.points(world.repository.id)) == 10 + POINTS_OF_A_VM - 1
    assert world.refresh().added == 10 * POINTS_OF_A_VM - 13


def test_a_point_that_the_catalog_does_not_know_yet_is_read(world):
    world.refresh()
    newer = world.seal(vm(3), 9)

    assert world.find("latest:vm003").ref == newer
    assert world.store.calls["get"] <= 3


@pytest.mark.parametrize("known", [True, False])
def test_the_name_of_the_newest_point_decides_after_a_rename(world, known):
    world.refresh()
    renamed = world.seal(vm(3, "renamed"), 9)
    if known:
        world.refresh()

    assert world.find("latest:renamed").ref == renamed
    with pytest.raises(NotFoundError):
        world.find("latest:vm003")


def test_two_vms_of_one_name_still_ask_which(world):
    world.seal(vm(4, "vm003"), 9)
    world.refresh()

    with pytest.raises(AmbiguousError, match="key-003, key-004"):
        world.find("latest:vm003")


def test_two_vms_of_one_key_still_ask_which(world):
    other = world.seal(replace(vm(3), vcenter="another"), 9)
    world.refresh()

    with pytest.raises(AmbiguousError, match=f"{other} is the newest of VM vm003"):
        world.find("latest:vm003")


def test_a_point_that_is_gone_is_not_found_by_the_catalog_either(world):
    world.refresh()
    world.store.delete(blob_of_ref(point(vm(3), POINTS_OF_A_VM - 1).ref))

    assert world.find("latest:vm003").ref == point(vm(3), POINTS_OF_A_VM - 2).ref


def test_an_error_says_that_the_catalog_was_asked_because_a_wrong_one_can_hide_a_vm(world):
    world.refresh()
    with pytest.raises(NotFoundError, match=r"vmkeep catalog rebuild"):
        world.find("latest:nobody")
    for plain in (open_in(world.store), use_catalog(open_in(world.store), lambda: None)):
        with pytest.raises(NotFoundError) as error:
            plain.find_point("latest:nobody")
        assert "catalog" not in str(error.value)


def test_a_newest_point_that_was_damaged_since_is_an_error_and_no_older_one_is_taken(world):
    world.refresh()
    world.damage(point(vm(3), POINTS_OF_A_VM - 1).ref)

    with pytest.raises(CorruptError, match="it is the newest restore point of key-003"):
        world.find("latest:vm003")


def test_a_damaged_point_of_another_vm_is_read_again_each_time_and_hides_nothing(world):
    world.damage(point(vm(4), POINTS_OF_A_VM - 1).ref)
    world.refresh()

    assert world.find("latest:vm003").vm == vm(3)
    assert world.store.calls["get"] <= 2 + POINTS_OF_A_VM  # each point of the damaged one tells its name


def foreign(world, folder):
    (folder / "catalog.db").write_bytes(b"something else entirely, and long enough" * 200)
    return world.url


@pytest.mark.parametrize("url", [foreign, lambda *_: "sqlite:////dev/null/state/catalog.db", lambda *_: "no url"])
def test_a_catalog_that_cannot_be_used_is_told_once_and_hides_no_point(world, tmp_path, caplog, url):
    world.url = url(world, tmp_path)
    caplog.set_level(logging.WARNING)

    assert world.find("latest:vm003").vm == vm(3)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("url", [None, "sqlite://"])
def test_without_a_catalog_the_newest_point_of_each_vm_is_read(world, url):
    world.url = url

    assert world.find("latest:vm003").vm == vm(3)
    assert world.store.calls["get"] >= 10


def test_what_the_catalog_says_of_another_repository_does_not_count(world, tmp_path):
    world.refresh()
    other = use_catalog(empty(MemoryStore()), lambda: world.url)
    for number in range(4):
        other.manifests.seal(point(vm(number, f"other{number}"), POINTS_OF_A_VM - 1))

    assert other.find_point("latest:other2").vm.name == "other2"
    assert open_in(world.store).find_point("latest:vm002").vm.name == "vm002"
