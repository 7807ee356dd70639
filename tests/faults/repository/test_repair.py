"""Repair: an index from packs alone, points marked with what is lost of them, blocks that come back. Nothing goes."""

from __future__ import annotations

import os

import pytest

from tests.faults.repository.conftest import BLOCK, PowerCut
from tests.faults.repository.test_copying import content_of, copy, make_store
from tests.sealed import CHEAP, opened
from vmkeep.blobs.local import LocalStore
from vmkeep.errors import CorruptError, UnsupportedError, UsageError
from vmkeep.maintenance.healing import heal
from vmkeep.maintenance.repair import repair_index, repair_points
from vmkeep.model.extents import Extent
from vmkeep.repository import Kind, create_repository
from vmkeep.repository.frames.packs import pack_key
from vmkeep.repository.notes.damage import PackState
from vmkeep.repository.unlock import slots
from vmkeep.testing import FaultyStore


@pytest.fixture(params=["plain", "encrypted"])
def second(request, monkeypatch):
    monkeypatch.setattr(slots, "COST", CHEAP)
    return make_store(request.param, compression="lz4")


def flip(store, key, at):
    blob = bytearray(store.get(key))
    blob[at] ^= 1
    store.replace(key, blob)


def inventory_path_of(store, point, block):
    repository = opened(store)
    return repository.open_blocks().locate(Kind.BLOCK, repository.open_map(point.images[0].root).lookup(block))


def rot(store, point, block):
    """Flip a bit of one block of a disk; return the key of its pack."""
    location = inventory_path_of(store, point, block)
    flip(store, pack_key(location.pack), location.offset + location.length - 20)
    return pack_key(location.pack)


def keys_of(store, *prefixes):
    return {blob.key for blob in store.list("") if blob.key.startswith(prefixes)}


def assert_restorable(store, vm):
    assert {ref: content_of(store, ref) for ref in opened(store).point_refs()} == vm.held


def test_a_pipe_in_the_place_of_a_pack_is_one_finding_and_hides_no_other(tmp_path, vm):
    folder = tmp_path / "repository"
    create_repository(str(folder), block_size=BLOCK)
    store = LocalStore(folder)
    vm.back_up(store, "run-1")
    pack, *_, lost = sorted(keys_of(store, "packs/"))
    (folder / pack).unlink()
    os.mkfifo(folder / pack)
    store.delete(lost)

    assert {pack, lost} <= {finding.where for finding in opened(store).check()}


# -- index


@pytest.mark.parametrize("loss", ["all lost", "one lost", "damaged", "cut off"])
def test_an_index_is_made_again_from_packs_alone(store, vm, changes, loss):
    first = vm.back_up(store, "run-1")
    vm.back_up(store, "run-2", extents=changes(vm, 1), parent=first.images[0].root)
    segments = sorted(keys_of(store, "index/"))
    for key in segments if loss == "all lost" else segments[:1]:
        if "lost" in loss:
            store.delete(key)
        else:
            store.replace(key, store.get(key)[:100] if loss == "cut off" else b"x" * 100)
    before = keys_of(store, "")

    planned = repair_index(opened(store), dry_run=True)
    assert keys_of(store, "") == before
    report = repair_index(opened(store))

    assert report == planned
    assert report.packs_listed
    assert bool(report.segments_damaged) == ("lost" not in loss)
    assert keys_of(store, "") > before
    assert_restorable(store, vm)
    assert repair_index(opened(store)).packs_listed == ()
    wrong = {finding.where for finding in opened(store).check(read_data=True)}
    assert wrong == set(report.segments_damaged)


@pytest.mark.parametrize("work", ["index", "points", "check"])
def test_a_power_cut_after_any_write_of_a_check_or_a_repair_harms_nothing_and_the_next_one_finishes(store, vm, work):
    """A segment and a block are damaged. Each work writes notes about that, and the repair of the index segments."""
    rot(store, vm.back_up(store, "run-1"), 3)
    (segment,) = keys_of(store, "index/")
    store.replace(segment, b"x" * 100)
    if work == "points":
        repair_index(opened(store))
        opened(store).check(read_data=True)
    before = {blob.key: store.get(blob.key) for blob in store.list("")}
    do = {
        "index": repair_index,
        "points": repair_points,
        "check": lambda repository: repository.check(read_data=True),
    }[work]
    for survives in range(100):
        for key in keys_of(store, "") - before.keys():
            store.delete(key)
        for key, blob in before.items():
            store.replace(key, blob)
        faulty = FaultyStore(store)
        faulty.fail("write", after=survives, times=10**6, with_=PowerCut)
        try:
            do(opened(faulty))
        except PowerCut:
            assert keys_of(store, "packs/", "points/") == {
                key for key in before if key.startswith(("packs/", "points/"))
            }
            do(opened(store))
            if work == "index":
                assert repair_index(opened(store)).packs_listed == ()
            if work == "points":
                assert repair_points(opened(store)).marked == ()
        else:
            assert survives > 0
            return
    raise AssertionError("never finished")


def test_an_index_is_made_again_from_a_pack_without_a_footer(store, vm):
    point = vm.back_up(store, "run-1")
    for key in keys_of(store, "index/"):
        store.delete(key)
    for key in keys_of(store, "packs/"):
        store.replace(key, store.get(key)[:-1])

    report = repair_index(opened(store))

    assert len(report.packs_listed) == len(keys_of(store, "packs/"))
    assert report.packs_unreadable == ()
    assert content_of(store, point.ref) == vm.held[point.ref]


def test_a_whole_index_and_what_a_dead_run_left_are_left_as_they_are(store, vm):
    vm.back_up(store, "run-1")

    assert repair_index(opened(store)).packs_listed == ()


def test_a_pack_that_maintenance_is_deleting_is_not_listed_again(store, vm):
    vm.back_up(store, "run-1")
    packs = [bytes.fromhex(key.rpartition("/")[2]) for key in keys_of(store, "packs/")]
    for key in keys_of(store, "index/"):
        store.delete(key)
    opened(store).sweep_records.condemn(packs[:1])

    assert packs[0].hex() not in repair_index(opened(store)).packs_listed


# -- points


def test_damaged_points_are_marked_with_their_lost_bytes_until_they_are_whole(store, vm):
    first = vm.back_up(store, "run-1")
    second = vm.back_up(store, "run-2", extents=(), parent=first.images[0].root)
    good = {key: store.get(key) for key in keys_of(store, "packs/")}
    rot(store, first, 3)
    opened(store).check(read_data=True)

    assert repair_points(opened(store), dry_run=True).marked == (first.ref, second.ref)
    assert opened(store).marks.damage_of(first.ref) is None
    report = repair_points(opened(store))

    assert report.marked == (first.ref, second.ref)
    damage = opened(store).marks.damage_of(second.ref)
    assert [(lost.name, lost.extents) for lost in damage.lost] == [
        ("Hard disk 1", (Extent(3 * BLOCK, 4 * BLOCK),))
    ]  # fmt: skip
    assert repair_points(opened(store)).marked == ()

    for key, blob in good.items():
        store.replace(key, blob)
    opened(store).check(read_data=True)
    assert repair_points(opened(store)).cleared == (first.ref, second.ref)
    assert opened(store).marks.damage_of(second.ref) is None


def test_a_lost_page_costs_just_the_bytes_below_it_and_a_lost_root_everything(store, vm):
    point = vm.back_up(store, "run-1")
    disk = opened(store).open_map(point.images[0].root)
    blocks = opened(store).open_blocks()
    for digest, lost in ((disk.subtree(1, 0), (Extent(0, 64 * BLOCK),)), (bytes.fromhex(disk.root), ())):
        location = blocks.locate(Kind.PAGE, digest)
        flip(store, pack_key(location.pack), location.offset + 60)
        damaged = repair_points(opened(store)).damaged
        assert damaged[0].parts[0].extents == lost


def test_a_damaged_manifest_is_named(store, vm):
    point = vm.back_up(store, "run-1")
    key = f"points/{point.ref}"
    flip(store, key, 60)

    assert repair_points(opened(store)).unreadable == (key,)


# -- heal


def test_the_next_backup_that_meets_a_damaged_block_heals_it(store, vm):
    point = vm.back_up(store, "run-1")
    key = rot(store, point, 3)
    with pytest.raises(CorruptError, match=r"byte 196608"):
        content_of(store, point.ref)
    assert opened(store).check(read_data=True)
    before = keys_of(store, "packs/")

    vm.back_up(store, "run-2")

    assert keys_of(store, "packs/") > before
    assert_restorable(store, vm)
    assert {finding.where.split(",")[0] for finding in opened(store).check(read_data=True)} == {key}
    assert repair_points(opened(store)).damaged == ()


def test_a_second_repository_heals_what_rotted_under_any_key(store, second, vm, changes):
    first = vm.back_up(store, "run-1")
    last = vm.back_up(store, "run-2", extents=changes(vm, 1), parent=first.images[0].root)
    copy(store, second)
    rot(store, first, 3)
    rot(store, last, 5)
    opened(store).check(read_data=True)
    before = keys_of(store, "packs/", "index/", "points/")

    planned = heal(opened(store), opened(second), dry_run=True)
    assert keys_of(store, "packs/", "index/", "points/") == before
    report = heal(opened(store), opened(second))

    assert report == planned
    assert report.lost == 0
    assert report.blocks >= 2
    assert keys_of(store, "packs/", "index/", "points/") > before
    assert_restorable(store, vm)
    assert opened(store).check() == opened(store).check(read_data=True) == []
    assert heal(opened(store), opened(second)).blocks == 0


@pytest.mark.parametrize("damage", ["lost", "cut off", "empty", "footer"])
def test_every_pack_in_turn_comes_back_from_the_second_repository(store, second, vm, damage):
    vm.back_up(store, "run-1")
    copy(store, second)
    for key in keys_of(store, "packs/"):
        blob = store.get(key)
        if damage == "lost":
            store.delete(key)
        elif damage == "footer":
            flip(store, key, len(blob) - 100)
        else:
            store.replace(key, blob[: len(blob) // 2] if damage == "cut off" else b"")
        report = heal(opened(store), None if damage == "footer" else opened(second))
        assert report.lost == 0, key
        assert_restorable(store, vm)
        assert report.packs_condemned == (key.rpartition("/")[2],)
        assert opened(store).check(read_data=True) == []


def test_what_nobody_has_is_counted_and_stays_known(store, vm):
    point = vm.back_up(store, "run-1")
    key = rot(store, point, 3)
    opened(store).check(read_data=True)

    report = heal(opened(store))

    assert report.lost == 1
    assert report.packs_condemned == ()
    damage = opened(store).damage.load().packs[bytes.fromhex(key.rpartition("/")[2])]
    assert damage.state is PackState.FRAMES
    assert opened(store).check()


def test_a_second_repository_with_other_content_gives_nothing(store, second, vm):
    point = vm.back_up(store, "run-1")
    held = dict(vm.held)
    copy(store, second)
    other = make_store("plain")
    vm.write(3 * BLOCK, b"other")
    vm.back_up(other, "run-1")
    vm.held = held
    rot(store, point, 3)
    opened(store).check(read_data=True)

    assert heal(opened(store), opened(other)).lost == 1
    assert heal(opened(store), opened(second)).lost == 0
    assert_restorable(store, vm)


def test_blocks_of_another_size_and_the_repository_itself_are_refused(vm):
    store = make_store("plain")
    with pytest.raises(UnsupportedError):
        heal(opened(store), opened(make_store("plain", block_size=2 * BLOCK)))
    with pytest.raises(UsageError, match="itself"):
        heal(opened(store), opened(store))


def test_a_power_cut_after_any_put_of_a_heal_harms_nothing_and_the_next_one_finishes(store, second, vm):
    point = vm.back_up(store, "run-1")
    copy(store, second)
    rot(store, point, 3)
    opened(store).check(read_data=True)
    damaged = {blob.key: store.get(blob.key) for blob in store.list("")}
    for survives in range(100):
        for key in keys_of(store, "") - damaged.keys():
            store.delete(key)
        for key, blob in damaged.items():
            store.replace(key, blob)
        faulty = FaultyStore(store)
        faulty.fail("write", after=survives, with_=PowerCut)
        try:
            heal(opened(faulty), opened(second))
        except PowerCut:
            assert heal(opened(store), opened(second)).lost == 0
            assert_restorable(store, vm)
            assert opened(store).check(read_data=True) == []
        else:
            assert survives > 3
            return
    raise AssertionError("never finished")
