"""Writers that store the same blocks at the same time: one stores them, and the others count on what is safe only."""

from __future__ import annotations

import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from tests.patience import HANG
from tests.unit.maintenance.conftest import BLOCK, AgingStore, Vault, block, described, write
from vmkeep.errors import StaleError, StoreError
from vmkeep.maintenance.margins import Margins
from vmkeep.repository import Kind, Repository
from vmkeep.repository.blocks import otherwriters, writer
from vmkeep.repository.frames import OpenPack, PackBuffer
from vmkeep.repository.notes import announcements, tries
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore

IN_A_PACK = 16


@pytest.fixture(autouse=True)
def small_packs(monkeypatch):
    monkeypatch.setattr(writer, "PACK_SIZE", IN_A_PACK * (BLOCK + 200))
    monkeypatch.setattr(otherwriters, "WORTHWHILE", IN_A_PACK * BLOCK // 2)
    monkeypatch.setattr(otherwriters, "PATIENCE", HANG)
    monkeypatch.setattr(otherwriters, "LOOKS_EVERY", 0.002)


@pytest.fixture
def vault():
    store = AgingStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="none"))
    return Vault(store)


class InStep(MemoryStore):
    """A store whose writers look at each other for the first time at one moment: packs are full and announced."""

    def __init__(self, writers: int):
        super().__init__()
        self._looks = itertools.count()
        self._writers = writers
        self._step = threading.Barrier(writers, timeout=HANG)
        self._stamps: dict[str, datetime] = {}
        self._puts = itertools.count()

    def put(self, key, data):
        self._stamps.setdefault(key, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=next(self._puts)))
        return super().put(key, data)

    def list(self, prefix):
        if prefix == "storing/" and next(self._looks) < self._writers:
            self._step.wait()
        for blob in super().list(prefix):
            yield replace(blob, modified=self._stamps[blob.key])


def copies_at_once(make, disks: list[list[bytes]], *, alone: bool = False) -> int:
    """Copy some disks at once. Return the number of blocks that are stored twice."""
    store = InStep(len(disks))
    made = make(store, compression="none")

    def copy(number: int) -> None:
        opened = Repository(store, made.descriptor)
        with opened.open_writer(run=f"run-{number}", alone=alone) as out:
            for content in disks[number]:
                out.add(Kind.BLOCK, opened.framer.digester.of(Kind.BLOCK, content), content)
            out.flush()
            stored[number] = out.bytes_stored

    stored = [0] * len(disks)
    with ThreadPoolExecutor(len(disks)) as threads:
        for done in [threads.submit(copy, number) for number in range(len(disks))]:
            done.result(HANG)
    found = Repository(store, made.descriptor)
    assert found.check(read_data=True) == []
    assert [blob.key for blob in MemoryStore.list(store, "storing/")] == []
    # What the writers say that they have stored is there, but for the heads and footers of packs.
    there = found.stats()
    least = sum(stored) - there.index_bytes
    assert 0 <= there.pack_bytes - least <= there.packs * 2000 + there.blocks * 44
    return there.blocks - len({each for disk in disks for each in disk})


def clones(count: int, *, own: int) -> list[list[bytes]]:
    """Return disks of 200 blocks that have all but some in common, each somewhere else."""
    common = [block(seed) for seed in range(1, 201 - own)]
    disks = []
    for number in range(count):
        disk = list(common)
        for seed in range(own):
            disk.insert(random.Random(seed).randrange(200), block(1000 * (number + 1) + seed))
        disks.append(disk)
    return disks


@pytest.mark.parametrize("writers", [2, 4])
@pytest.mark.parametrize("own", [0, 10])
def test_writers_of_clones_in_step_store_at_most_two_of_a_hundred_blocks_twice(make, writers, own):
    disks = clones(writers, own=own)
    distinct = len({each for disk in disks for each in disk})

    assert copies_at_once(make, disks) <= distinct * 2 // 100


def test_without_looking_at_others_they_store_each_block_twice(make):
    assert copies_at_once(make, clones(2, own=0), alone=True) >= 100


def copied(repository: Repository, disk: list[bytes], run: str) -> int:
    """Copy a disk and return the bytes that were stored for it."""
    with repository.open_writer(run=run) as out:
        write(repository, out, disk)
        out.flush()
        return out.bytes_stored


def first_of_all(repository: Repository) -> announcements.Announcements:
    """Return the announcements of another writer, which come first in a store whose times are all the same."""
    other = announcements.Announcements(repository.blobs, repository.framer)
    other._own = f"storing/{'0' * 16}/"
    return other


def announced_by_another(repository: Repository, disk: list[bytes]) -> None:
    """Announce a disk's blocks as a writer does that dies then."""
    digests = b"".join(repository.framer.digester.of(Kind.BLOCK, each) for each in disk)
    first_of_all(repository).announce(bytes(16), announcements.prefixes_of(digests))


def test_a_writer_that_died_is_waited_for_once(make, monkeypatch):
    repository = make(MemoryStore(), compression="none")
    disk = clones(1, own=0)[0]
    announced_by_another(repository, disk)
    monkeypatch.setattr(otherwriters, "PATIENCE", 0.01)
    waits = []
    wait = threading.Event.wait
    monkeypatch.setattr(threading.Event, "wait", lambda event, time=None: waits.append(time) or wait(event, time))

    assert copied(repository, disk, "r") > len(disk) * BLOCK

    assert waits.count(otherwriters.LOOKS_EVERY) <= 3 * (0.01 / otherwriters.LOOKS_EVERY + 1)  # three packs at once
    assert repository.check(read_data=True) == []


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_two_writers_that_announce_in_the_same_second_one_waits_and_one_stores(make, monkeypatch, caplog, names):
    """S3 and SFTP list whole seconds. Each of the two sees the other's announcement at its first look."""
    announced = [threading.Event(), threading.Event()]

    class WholeSeconds(MemoryStore):
        def put(self, key, data):
            done = super().put(key, data)
            if key.startswith("storing/"):
                first, second = announced
                if not first.is_set():
                    first.set()
                    second.wait(HANG)
                second.set()
            return done

        def list(self, prefix):
            for blob in super().list(prefix):
                yield replace(blob, modified=datetime(2026, 1, 1, tzinfo=UTC))

    caplog.set_level("INFO")
    repository = make(WholeSeconds(), compression="none")
    index = repository.index

    def announce(name: str, then: threading.Event | None) -> None:
        if then is not None:
            then.wait(HANG)
        pack = OpenPack(Kind.BLOCK, PackBuffer(2 << 20), repository.framer)
        digest = repository.framer.digester.of(Kind.BLOCK, block(1))
        pack.append(repository.framer.pack(Kind.BLOCK, digest, block(1)))
        own = announcements.Announcements(repository.blobs, repository.framer)
        own._own = f"storing/{name}/"
        others = otherwriters.OtherWriters(own, index, lambda: None, lambda: b"", lambda: None)
        others.thin_out(pack, to_fill=False)
        own.withdraw([pack.id])  # it is stored and named

    with ThreadPoolExecutor(2) as threads:
        jobs = [threads.submit(announce, name, then) for name, then in zip(names, (None, announced[0]), strict=True)]
        for job in jobs:
            job.result(HANG)

    assert "did not store in time" not in caplog.text


def test_a_writer_whose_announcement_was_given_up_is_waited_for_again_when_it_announces_anew(make, monkeypatch):
    repository = make(MemoryStore(), compression="none")
    disk = clones(1, own=0)[0]
    digests = b"".join(repository.framer.digester.of(Kind.BLOCK, each) for each in disk)
    slow = first_of_all(repository)
    own = announcements.Announcements(repository.blobs, repository.framer)
    others = otherwriters.OtherWriters(own, repository.index, lambda: None, lambda: b"", lambda: None)
    waits, passed = [], []
    real = threading.Event.wait
    monkeypatch.setattr(otherwriters, "time", SimpleNamespace(monotonic=lambda: sum(passed)))

    def wait(event, seconds=None):
        if seconds != otherwriters.LOOKS_EVERY:
            return real(event, seconds)
        waits.append(seconds)
        passed.append(1)
        return False

    monkeypatch.setattr(threading.Event, "wait", wait)

    def waited() -> bool:
        waits.clear()
        pack = OpenPack(Kind.BLOCK, PackBuffer(2 << 20), repository.framer)
        for each in disk[:IN_A_PACK]:
            pack.append(repository.framer.pack(Kind.BLOCK, repository.framer.digester.of(Kind.BLOCK, each), each))
        others.thin_out(pack, to_fill=False)
        return bool(waits)

    slow.announce(bytes(16), announcements.prefixes_of(digests))
    assert waited()
    assert not waited()  # that announcement is given up
    slow.announce(bytes(15) + b"1", announcements.prefixes_of(digests))
    assert waited()


def test_of_many_announcements_a_writer_reads_the_newest_abreast_and_each_of_them_once(make):
    gets = []
    meet = threading.Barrier(2, timeout=HANG)

    class Counted(MemoryStore):
        def get(self, key, *given):
            if key.startswith("storing/"):
                gets.append(key)
                if len(gets) <= 2:
                    meet.wait()
            return super().get(key, *given)

    repository = make(Counted(), compression="none")
    for number in range(50):
        dead = announcements.Announcements(repository.blobs, repository.framer)
        dead.announce(bytes(16), frozenset({number.to_bytes(8, "big")}))
    own = announcements.Announcements(repository.blobs, repository.framer)

    found = [own.others(own.listed()) for _look in range(2)]

    newest = sorted(blob.key for blob in own.listed())[-announcements.NEWEST :]
    assert [sorted(each.key for each in look) for look in found] == [newest, newest]
    assert sorted(gets) == newest


def test_an_announcement_of_the_future_hides_no_other_from_a_writer_that_has_its_own(make):
    """It was left by a writer that died while the store's clock was wrong."""
    store = AgingStore()
    repository = make(store, compression="none")
    dead, other, own = (announcements.Announcements(repository.blobs, repository.framer) for _ in range(3))
    store.pass_time(365 * 24)
    dead.announce(bytes(16), frozenset({bytes(8)}))
    store.pass_time(-365 * 24)
    announced = other.announce(bytes(16), frozenset({bytes(8)}))
    own.announce(bytes(16), frozenset({bytes(8)}))

    (found,) = own.others(own.listed())

    assert found.key == announced


def test_a_copy_that_is_aborted_waits_for_nobody(make):
    repository = make(MemoryStore(), compression="none")
    disk = clones(1, own=0)[0]
    announced_by_another(repository, disk)

    def abort():
        with repository.open_writer(run="r") as out:
            write(repository, out, disk[: IN_A_PACK + 2])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        abort()

    assert len(list(repository.blobs.list("storing/"))) == 1


def test_a_small_copy_asks_for_no_other_writer(make):
    asked = []

    class Listed(MemoryStore):
        def list(self, prefix):
            asked.append(prefix)
            return super().list(prefix)

    repository = make(Listed(), compression="none")
    copied(repository, clones(1, own=0)[0][: IN_A_PACK // 2 - 2], "r")

    assert "storing/" not in asked
    assert asked.count("index/") == 1


def test_a_store_that_takes_no_announcement_takes_the_blocks(make):
    class Refusing(MemoryStore):
        def put(self, key, data):
            if key.startswith("storing/"):
                raise StoreError("not allowed")
            return super().put(key, data)

    repository = make(Refusing(), compression="none")

    assert copied(repository, clones(1, own=0)[0], "r") > 200 * BLOCK
    assert repository.check(read_data=True) == []


@pytest.mark.parametrize("pruned", ["before it seals", "before it looks"])
def test_a_point_never_rests_on_blocks_of_a_writer_whose_packs_a_prune_deletes(vault, pruned):
    """The other writer stores, and never seals. A prune without any margin takes its packs away."""
    disk = [block(seed) for seed in range(1, 2 * IN_A_PACK)]
    repository = vault.open()
    with repository.open_writer(run="early") as out:
        root = write(repository, out, disk[:2])
        copied(vault.open(), disk, "never-sealed")
        if pruned == "before it looks":
            vault.prune()
        root = write(repository, out, disk)
        out.flush()
        stored = out.bytes_stored
    if pruned == "before it seals":
        vault.prune()

    def seal():
        return repository.seal(described(root, "early", number=900, size=len(disk) * BLOCK))

    if pruned == "before it seals":
        assert stored < 2 * BLOCK  # it counts on those of the other
        with pytest.raises(StaleError):
            seal()
    else:
        vault.held[seal()] = disk
    vault.assert_whole()
    vault.back_up(disk)
    vault.assert_whole()


def test_blocks_in_packs_that_are_condemned_meanwhile_are_not_counted_on(vault):
    disk = [block(seed) for seed in range(1, 2 * IN_A_PACK)]
    repository = vault.open()
    with repository.open_writer(run="early") as out:
        copied(vault.open(), disk, "other")
        vault.open().sweep_records.condemn(vault.packs)
        root = write(repository, out, disk)
        out.flush()
        assert out.bytes_stored > len(disk) * BLOCK

    vault.held[repository.seal(described(root, "early", number=900, size=len(disk) * BLOCK))] = disk
    vault.prune()
    vault.assert_whole()


def test_a_writer_whose_try_is_gone_never_flushes_even_if_the_store_failed_at_the_question_once(vault, monkeypatch):
    monkeypatch.setattr(otherwriters, "PATIENCE", 0)
    repository = vault.open()
    disk = [block(seed) for seed in range(1, 2 * IN_A_PACK)]
    announced_by_another(repository, disk)
    require = tries.BegunTry.require
    asked = []

    def fail_once(begun_try, packs):
        asked.append(packs)
        if len(asked) == 1:
            for key in tries.begun_keys(vault.store):
                vault.store.delete(key)
            raise StoreError("the store is away")
        require(begun_try, packs)

    monkeypatch.setattr(tries.BegunTry, "require", fail_once)
    with pytest.raises(StaleError):
        copied(repository, disk, "early")

    assert repository.sweep_records.avoided() == vault.packs


def test_a_prune_removes_what_dead_writers_announced(vault):
    dead = announcements.Announcements(vault.store, vault.open().framer)
    dead.announce(bytes(16), frozenset({bytes(8)}))
    vault.prune(margins=Margins())
    assert len(list(vault.store.list("storing/"))) == 1

    vault.store.pass_time(1)
    vault.prune(margins=Margins())

    assert list(vault.store.list("storing/")) == []


def test_an_index_that_is_refreshed_never_trusts_deleted_packs_meanwhile(vault, monkeypatch):
    """The record of a sweep goes when no segment names its packs any more; a running writer may still use such ones."""
    repository = vault.open()
    copied(repository, [block(1)], "r")
    digest = repository.framer.digester.of(Kind.BLOCK, block(1))
    plan = vault.open().sweep_records.condemn(vault.packs)
    index = repository.index
    vault.open().sweep_records.plans()
    with repository.open_writer(run="s"):
        pass
    assert not index.known(digest)
    vault.open().sweep_records.withdraw(plan)
    for blob in list(vault.store.list("index/")):
        vault.store.delete(blob.key)
    known = []
    refresh = index.refresh
    monkeypatch.setattr(index, "refresh", lambda: (known.append(index.known(digest)), refresh()))

    with repository.open_writer(run="t"):
        pass

    assert known == [False]
    assert not index.known(digest)
