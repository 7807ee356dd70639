"""A real file system that is full: what a prune gives back, and what it takes for that."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from tests.sealed import CHEAP, PASSPHRASE
from tests.unit.maintenance.conftest import BLOCK, NONE, Vault, block, small_packs
from vmkeep.blobs import BlobStore, Space, open_store, reserve_of
from vmkeep.blobs.local import LocalStore
from vmkeep.blobs.reserve import LEAST_RESERVE, SPENT_FOR
from vmkeep.blobs.store import RESERVE, TAKEN_RESERVE, backend
from vmkeep.clock import now
from vmkeep.errors import StoreFullError, StoreReadOnlyError
from vmkeep.flows import repositories
from vmkeep.flows.point_checks import Level, VerifyRequest, require_passed, verify_each
from vmkeep.images import export_image, import_images
from vmkeep.maintenance import delete_points, plan_deletion
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository import BlockWriter, create_encrypted_repository, create_repository, open_repository
from vmkeep.repository.frames.packs import pack_key
from vmkeep.repository.unlock import descriptor, slots
from vmkeep.retention import RetentionRule

__all__ = ["small_packs"]

PAGE = os.sysconf("SC_PAGESIZE")
LATER = Margins(young_for=timedelta(hours=1), condemned_for=timedelta(hours=1))
"""No pack goes at once."""


@pytest.fixture
def disk(tmp_path):
    """A file system of eight mebibytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(params=["folder", "behind SSH"])
def vault(request, disk):
    """A repository with packs that an old plan condemns, and with one that is mostly waste."""
    (disk / "repository").mkdir()
    store: BlobStore = LocalStore(disk / "repository")
    if request.param == "behind SSH":
        request.getfixturevalue("ssh_home")
        store = open_store(request.getfixturevalue("ssh_server").location(disk / "repository"))
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    vault = Vault(store)
    vault.forget(vault.back_up([block(number) for number in range(1, 30)]))
    vault.open().sweep_records.condemn(vault.packs)
    worn = vault.back_up([block(number) for number in range(101, 116)])
    vault.back_up([block(number) for number in range(101, 106)])
    vault.forget(worn)
    return vault


@pytest.fixture
def beside(vault, disk):
    """The same repository in its folder: what a test begins with comes there at once, also behind SSH."""
    return Vault(LocalStore(disk / "repository"), vault.held, count=100)  # no run has the name of one of the vault


def fill(disk: Path, *, but: int) -> None:
    """Leave some pages of the file system free."""
    with (disk / "something else").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(PAGE))
    with (disk / "something else").open("r+b") as file:
        file.truncate((disk / "something else").stat().st_size - but * PAGE)


def lose_reserve(vault: Vault) -> None:
    """Leave the repository as a deletion leaves it that was killed while it used the room held back."""
    assert reserve_of(vault.store).spend_reserve()
    assert reserve_of(vault.store).reserved() == 0


def long_after_a_spending(disk: Path) -> None:
    """Let the empty file in the place of the reserve be that of a deletion that died."""
    reserve = disk / "repository" / RESERVE
    long_ago = reserve.stat().st_mtime - 2 * SPENT_FOR.total_seconds()
    os.utime(reserve, (long_ago, long_ago))


def room(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def test_a_prune_of_a_full_disk_deletes_first_and_rewrites_in_the_room_that_gives(vault, disk):
    fill(disk, but=4)

    report = vault.prune()

    assert report.packs_deleted > 1
    assert report.packs_rewritten == 1
    assert report.not_rewritten == ""
    assert room(disk) > 29 * BLOCK
    vault.assert_whole()


def test_packs_that_have_no_room_together_are_rewritten_part_by_part(vault, beside, disk):
    vault.prune()
    for first in (200, 300, 400, 500):
        worn = beside.back_up([block(first + number) for number in range(15)])
        beside.back_up([block(first + number) for number in range(5)])
        beside.forget(worn)
    fill(disk, but=8 * BLOCK // PAGE)
    assert sum(vault.plan().rewritten.values()) > room(disk)

    report = vault.prune()

    assert report.not_rewritten == ""
    assert report.packs_rewritten >= 4
    assert room(disk) > 40 * BLOCK
    vault.assert_whole()


def test_packs_of_blocks_that_are_smaller_than_their_entries_are_rewritten_part_by_part(vault, beside, disk):
    """The footer of a pack and the index take as much for such a block as the block itself."""
    vault.prune()
    for first in range(1, 9):
        blocks = [random.Random(first * 1000 + number).randbytes(48) * (BLOCK // 48) for number in range(300)]
        blocks = [each.ljust(BLOCK, b"\0") for each in blocks]
        worn = beside.back_up(blocks)
        beside.back_up(blocks[:180])
        beside.forget(worn)
    needed = sum(vault.plan().room.values())
    assert needed > 1.5 * sum(vault.plan().rewritten.values())
    fill(disk, but=(needed // 2 + (64 << 10)) // PAGE)

    report = vault.prune()

    assert report.not_rewritten == ""
    assert report.packs_rewritten >= 8
    vault.assert_whole()


def test_the_pack_whose_move_needs_the_least_goes_first_because_it_makes_room_for_the_others(vault, beside, disk):
    vault.prune()
    for first, kept in ((200, 10), (300, 5)):
        worn = beside.back_up([block(first + number) for number in range(15)])
        beside.back_up([block(first + number) for number in range(kept)])
        beside.forget(worn)
    fill(disk, but=8 * BLOCK // PAGE)

    report = vault.prune()

    assert report.not_rewritten == ""
    assert report.packs_rewritten >= 2
    vault.assert_whole()


def test_where_there_is_no_room_for_the_whole_reserve_what_there_is_of_it_is_held_back(vault, disk):
    lose_reserve(vault)
    (disk / "repository" / RESERVE).unlink()
    fill(disk, but=8)

    with suppress(StoreFullError), vault.open().open_writer(run="a backup"):
        pass

    assert 4 * PAGE <= reserve_of(vault.store).reserved() <= 8 * PAGE


@pytest.mark.parametrize("untrue", [4 << 20])
def test_a_part_that_did_not_fit_is_followed_by_half_of_it(vault, beside, disk, monkeypatch, untrue):
    """A file system tells more room than may be used, as one with a quota does."""
    vault.prune()
    for first in (200, 300, 400, 500):
        worn = beside.back_up([block(first + number) for number in range(15)])
        beside.back_up([block(first + number) for number in range(5)])
        beside.forget(worn)
    fill(disk, but=16 * BLOCK // PAGE)
    assert sum(vault.plan().rewritten.values()) > room(disk)
    kind = type(backend(vault.store))
    monkeypatch.setattr(kind, "space", lambda _store: Space(free=untrue, capacity=None))

    report = vault.prune()

    assert report.not_rewritten == ""
    assert report.packs_rewritten >= 4
    vault.assert_whole()


def test_what_has_no_room_to_be_rewritten_is_told_and_stays(vault, disk):
    young = NONE.young_for, timedelta(hours=1)
    fill(disk, but=4)

    report = vault.prune(margins=Margins(young_for=young[0], condemned_for=young[1]))

    assert (report.packs_deleted, report.packs_rewritten) == (0, 0)
    assert "no space left" in report.not_rewritten
    vault.assert_whole()
    assert vault.plan().rewritten, "it is planned anew as soon as there is room"


def test_a_prune_of_a_disk_that_is_full_to_the_last_byte_says_how_much_it_takes(vault, disk):
    lose_reserve(vault)
    fill(disk, but=0)
    packs = vault.packs

    with pytest.raises(StoreFullError, match=r"no space left for sweeps/.*to write down what it deletes.*make room"):
        vault.prune()

    assert vault.packs == packs
    fill(disk, but=4)
    assert vault.prune().packs_deleted > 1
    vault.assert_whole()


def test_a_prune_keeps_room_for_the_next_one_on_a_disk_that_is_full_to_the_last_byte(vault, disk):
    vault.prune()
    for number in (200, 300):
        (disk / "something else").unlink(missing_ok=True)
        vault.forget(vault.back_up([block(number), block(number + 1)]))
        fill(disk, but=0)

        assert vault.prune().packs_deleted > 1
        vault.assert_whole()
        assert room(disk) > 2 * BLOCK - (16 << 10)


def test_what_writers_that_died_left_on_a_full_disk_makes_room_for_the_rest(vault, disk):
    left = disk / "repository" / ".tmp" / ("0" * 32)
    left.write_bytes(bytes(4 * PAGE))
    then = left.stat().st_mtime - timedelta(days=8).total_seconds()
    os.utime(left, (then, then))
    fill(disk, but=0)

    report = vault.prune()

    assert report.leftovers_removed == 1
    assert report.packs_deleted > 1
    vault.assert_whole()


def test_packs_go_before_the_index_is_written_anew_if_that_has_no_room(vault, disk, monkeypatch):
    """Packs that it still names are avoided for as long as the sweep's record stays."""
    kind = type(backend(vault.store))
    put = kind.put
    doomed = min(vault.packs & vault.open().sweep_records.avoided())

    def full(store, key, data):
        if key.startswith("index/") and (disk / "repository" / pack_key(doomed)).exists():
            raise StoreFullError("no space left")
        return put(store, key, data)

    monkeypatch.setattr(kind, "put", full)
    worn = vault.back_up  # its index is written after the packs are gone

    report = vault.prune()

    assert report.packs_deleted > 1
    vault.assert_whole()
    worn([block(1)])
    vault.assert_whole()


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_an_import_that_a_full_disk_ended_is_retried_without_storing_anything_twice(
    disk, tmp_path, monkeypatch, encrypted
):
    monkeypatch.setattr(slots, "COST", CHEAP)
    image = tmp_path / "image.raw"
    image.write_bytes(random.Random(1).randbytes(12 << 20))
    location = str(disk / "repository")
    if encrypted:
        create_encrypted_repository(location, passphrase=PASSPHRASE, block_size=BLOCK)
    else:
        create_repository(location, block_size=BLOCK)
    with open_repository(location, passphrase=PASSPHRASE if encrypted else None) as repository:
        with pytest.raises(StoreFullError):
            import_images(repository, [image], name="image")
        assert repository.check(read_data=True) == []
        assert room(disk) < 2 << 20

    subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)
    with open_repository(location, passphrase=PASSPHRASE if encrypted else None) as repository:
        point = import_images(repository, [image], name="image")
        assert repository.stats().pack_bytes < 12.5 * (1 << 20)
        assert repository.check(read_data=True) == []
        export_image(repository, point, 0, tmp_path / "exported")
    assert (tmp_path / "exported").read_bytes() == image.read_bytes()


@pytest.mark.parametrize("death", ["of the disk's room", "by a power cut"])
def test_a_prune_gives_back_what_an_import_left_that_did_not_end(disk, tmp_path, monkeypatch, death):
    image = tmp_path / "image.raw"
    image.write_bytes(random.Random(1).randbytes(12 << 20))
    with create_repository(str(disk / "repository"), block_size=BLOCK) as repository:
        free = room(disk)
        if death == "by a power cut":
            monkeypatch.setattr(BlockWriter, "_name_landed", lambda _self: None)
        with pytest.raises(StoreFullError):
            import_images(repository, [image], name="image")
        assert room(disk) < 2 << 20

        execute(repository, plan_prune(repository, None, margins=NONE, now=now()))

        assert room(disk) > free - (128 << 10)


def test_a_new_repository_that_no_prune_has_worked_on_deletes_and_prunes_on_a_full_disk(disk, tmp_path):
    location = str(disk / "repository")
    repositories.create(location, block_size=BLOCK, compression="zstd")
    image = tmp_path / "image.raw"
    with open_repository(location) as repository:
        refs = []
        for seed in (1, 2, 3):
            image.write_bytes(random.Random(seed).randbytes(1 << 20))
            refs.append(import_images(repository, [image], name="image").ref)
    for oldest in refs[:2]:
        fill(disk, but=0)
        with open_repository(location) as repository:
            report = delete_points(repository, plan_deletion(repository, [oldest]))
            assert report.points_deleted == (oldest,)

        with open_repository(location) as repository:
            pruned = execute(repository, plan_prune(repository, None, margins=NONE, now=now()))
            assert pruned.packs_deleted
            assert repository.check(read_data=True) == []
        (disk / "something else").unlink()


@pytest.mark.parametrize("pages", [3, 2])
def test_points_whose_record_has_no_room_are_forgotten_part_by_part(vault, beside, disk, pages):
    """They have no packs of their own, so nothing but their manifests gives room."""
    refs = [beside.back_up([block(101)], vm=f"{number % 2} {'a long name ' * 10}") for number in range(60)]
    reserve = disk / "repository" / RESERVE
    reserve.write_bytes(bytes(pages * PAGE))
    fill(disk, but=0)
    assert 2 * PAGE < len("".join(refs)) < 3 * PAGE, "there is no room for the first record, or none for the second"

    report = vault.prune(rule=RetentionRule(keep_last=1), margins=LATER)

    assert len(report.points_forgotten) == 60 - 2
    assert len(vault.open().forgettings.all()) == 0
    assert reserve.stat().st_size >= pages * PAGE
    for ref in report.points_forgotten:
        del vault.held[ref]
    vault.assert_whole()


def test_a_prune_that_can_do_nothing_puts_back_what_it_has_spent(vault, disk):
    refs = [vault.back_up([block(101)], vm="another") for _ in range(2)]
    reserve = disk / "repository" / RESERVE
    reserve.write_bytes(bytes(PAGE))
    fill(disk, but=0)

    with pytest.raises(StoreFullError, match="no space left for forgettings/"):
        vault.prune(rule=RetentionRule(keep_last=1), margins=LATER)

    assert reserve.stat().st_size == PAGE
    assert set(refs) <= set(vault.open().point_refs())
    vault.assert_whole()


@pytest.mark.parametrize("full", [False, True])
def test_a_reserve_that_cannot_be_held_or_spent_keeps_no_prune_from_its_work(vault, disk, caplog, full):
    lose_reserve(vault)
    reserve = disk / "repository" / RESERVE
    reserve.unlink()
    (reserve / "something").mkdir(parents=True)
    if full:
        fill(disk, but=4)

    report = vault.prune()

    assert report.packs_deleted > 1
    assert report.packs_rewritten == 1
    assert list((disk / "repository" / ".tmp").iterdir()) == []
    assert "can hold back no room" in caplog.text
    vault.assert_whole()


@pytest.mark.parametrize("size", [64 << 10, 1 << 20])
def test_a_deletion_on_a_full_disk_puts_back_what_it_has_spent(vault, disk, size):
    ref = vault.back_up([block(200)])
    store = reserve_of(vault.store)
    store.hold_reserve(size)
    fill(disk, but=0)

    delete_points(vault.open(), plan_deletion(vault.open(), [ref]))

    assert store.spend_reserve() >= size


def test_a_backup_puts_back_the_room_that_a_killed_deletion_spent_before_it_takes_any_itself(vault, disk):
    ref = vault.back_up([block(200)])
    fill(disk, but=0)
    lose_reserve(vault)
    reserve = disk / "repository" / RESERVE
    long_ago = reserve.stat().st_mtime - 2 * SPENT_FOR.total_seconds()
    os.utime(reserve, (long_ago, long_ago))

    with pytest.raises(StoreFullError):
        vault.back_up([block(number) for number in range(300, 303)])

    assert vault.prune(margins=LATER).packs_deleted == 0
    delete_points(vault.open(), plan_deletion(vault.open(), [ref]))
    assert ref not in vault.open().point_refs()


def test_a_backup_leaves_the_room_to_a_deletion_that_works_in_it(vault, disk):
    vault.back_up([block(200)])
    fill(disk, but=0)
    lose_reserve(vault)

    with vault.open().open_writer(run="another backup"):
        pass

    assert room(disk) >= 15 * PAGE
    assert reserve_of(vault.store).spend_reserve() == 0


def test_a_prune_leaves_the_room_to_another_one_that_works_in_it(vault, disk):
    """Neither does it hold that room back when it ends, nor does it rewrite packs in it."""
    lose_reserve(vault)
    fill(disk, but=20)

    report = vault.prune()

    assert report.packs_deleted > 1
    assert "another prune or deletion works in the room" in report.not_rewritten
    assert reserve_of(vault.store).reserved() == 0
    vault.assert_whole()
    long_after_a_spending(disk)
    assert vault.prune().packs_rewritten == 1
    assert reserve_of(vault.store).reserved() >= LEAST_RESERVE


def test_a_deletion_leaves_the_room_to_a_prune_that_works_in_it(vault, disk):
    ref = vault.back_up([block(200)])
    lose_reserve(vault)
    fill(disk, but=20)

    delete_points(vault.open(), plan_deletion(vault.open(), [ref]))

    assert reserve_of(vault.store).reserved() == 0
    assert ref not in vault.open().point_refs()


def test_the_room_that_a_deletion_had_taken_when_it_died_serves_the_next_one(vault, disk):
    """It died between two calls: the reserve has left its place, and its space is not free yet."""
    repository = disk / "repository"
    (repository / RESERVE).rename(repository / TAKEN_RESERVE)
    fill(disk, but=0)

    assert vault.prune().packs_deleted > 1

    assert reserve_of(vault.store).reserved() >= LEAST_RESERVE
    assert not (repository / TAKEN_RESERVE).exists()
    vault.assert_whole()


def test_of_two_that_spend_the_reserve_at_once_one_gets_it(vault):
    store, size = reserve_of(vault.store), 64 << 10
    for _ in range(100):
        store.hold_reserve(size)
        at_once = threading.Barrier(2)

        def spend(at_once=at_once):
            at_once.wait()
            return store.spend_reserve()

        with ThreadPoolExecutor(2) as threads:
            spent = [each.result() for each in [threads.submit(spend) for _ in range(2)]]
        assert min(spent) == 0
        assert max(spent) >= size
        assert store.is_spent_lately(SPENT_FOR)


@pytest.fixture
def ext4(tmp_path):
    """A file system whose folders need blocks, unlike those of tmpfs."""
    image, folder = tmp_path / "ext4.img", tmp_path / "ext4"
    with image.open("wb") as file:
        file.truncate(24 << 20)
    folder.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def take_last_blocks(disk: Path) -> None:
    """Make folders, each of which takes a block, until none has room."""

    def make_folders() -> None:
        for number in range(1000):
            (disk / f"full {number}").mkdir()

    with pytest.raises(OSError, match="No space left"):
        make_folders()


@pytest.mark.parametrize("kind", ["folder", "behind SSH"])
def test_the_first_deletion_begins_on_a_disk_without_a_block_for_a_new_folder(ext4, request, kind):
    folder = ext4 / "repository"
    location = str(folder)
    if kind == "behind SSH":
        request.getfixturevalue("ssh_home")
        location = request.getfixturevalue("ssh_server").location(folder)
    image = ext4.parent / "image.raw"
    repositories.create(location, block_size=BLOCK, compression="zstd")
    with open_repository(location) as repository:
        refs = []
        for seed in (1, 2):
            image.write_bytes(random.Random(seed).randbytes(1 << 20))
            refs.append(import_images(repository, [image], name="image").ref)
    assert not (folder / "probes").exists()
    fill(ext4, but=0)
    os.sync()
    take_last_blocks(ext4)

    with open_repository(location) as repository:
        report = delete_points(repository, plan_deletion(repository, refs[:1]))

        assert report.points_deleted == (refs[0],)
        assert reserve_of(repository.blobs).reserved() >= LEAST_RESERVE // 2
        assert repository.check(read_data=True) == []


def test_a_deletion_without_any_room_says_how_much_it_takes_and_deletes_nothing(vault, disk):
    ref = vault.back_up([block(200)])
    lose_reserve(vault)
    fill(disk, but=0)

    with pytest.raises(StoreFullError, match=r"no space left for forgettings/.*to write down what it deletes.*room"):
        delete_points(vault.open(), plan_deletion(vault.open(), [ref]))

    assert ref in vault.open().point_refs()
    vault.assert_whole()


@pytest.mark.parametrize(("spoiled", "error"), [("full", StoreFullError), ("read-only", StoreReadOnlyError)])
def test_the_check_of_a_point_whose_outcome_cannot_be_kept_ends_by_that_and_not_as_damage(
    disk, tmp_path, spoiled, error
):
    image = tmp_path / "image.raw"
    image.write_bytes(random.Random(1).randbytes(1 << 20))
    with create_repository(str(disk / "repository"), block_size=BLOCK) as repository:
        ref = import_images(repository, [image], name="image").ref
        if spoiled == "full":
            fill(disk, but=0)
        else:
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

        outcomes = verify_each(repository, [ref], VerifyRequest(level=Level.ALL), by="jane")

        with pytest.raises(error, match="1 restore point could not be checked"):
            require_passed(outcomes)
