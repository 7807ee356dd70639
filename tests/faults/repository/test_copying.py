"""Copies of restore points in a second repository: complete, verified, only what is missing, whatever fails when."""

from __future__ import annotations

import pytest

from tests.faults.repository.conftest import BLOCK, PowerCut, Target
from tests.sealed import CHEAP, PASSPHRASE, opened
from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.flows.copy_values import CopyState, Verify
from vmkeep.flows.pointcopy import copy_points
from vmkeep.repository import Kind
from vmkeep.repository.frames.packs import pack_key
from vmkeep.repository.opening import create_encrypted_in
from vmkeep.repository.unlock import descriptor, slots
from vmkeep.testing import FaultyStore, MemoryStore
from vmkeep.transfer.writing import restore_disk


def make_store(kind, *, block_size=BLOCK, compression="zstd"):
    store = MemoryStore()
    made = descriptor.new_descriptor(block_size=block_size, compression=compression)
    if kind == "plain":
        descriptor.create(store, made)
    else:
        create_encrypted_in(store, made, passphrase=PASSPHRASE)
    return store


@pytest.fixture(params=["plain", "encrypted"])
def second(request, monkeypatch):
    monkeypatch.setattr(slots, "COST", CHEAP)
    return make_store(request.param, compression="lz4")


def copy(store, second, *points, **options):
    source, target = opened(store), opened(second)
    refs = [point.ref for point in points] or list(source.point_refs())
    return copy_points(source, target, refs, **options)


def states(report):
    return [point.state for point in report.points]


def content_of(store, ref):
    repository = opened(store)
    point = repository.load_point(ref)
    disk = Target(point.images[0].disk.capacity)
    restore_disk(repository, point.images[0].root, disk, fresh=True, on_progress=lambda _: None, check=lambda: None)
    repository.load_attachment(point, "extents/2000")
    return bytes(disk.content)


def assert_copied(vm, second):
    repository = opened(second)
    assert {ref: content_of(second, ref) for ref in repository.point_refs()} == vm.held
    assert repository.check(read_data=True) == []


def test_a_copied_point_restores_to_the_same_bytes_under_any_key(store, second, vm, changes):
    first = vm.back_up(store, "run-1")
    vm.back_up(store, "run-2", extents=changes(vm, 1), parent=first.images[0].root)

    report = copy(store, second, verify=Verify.ALL)

    assert states(report) == [CopyState.COPIED] * 2
    assert all(point.blocks_verified for point in report.points)
    assert_copied(vm, second)
    original, copied = opened(store).load_point(first.ref), opened(second).load_point(first.ref)
    assert copied.run == f"copy:{opened(store).id}:run-1"
    assert (copied.id, copied.taken_at, copied.vm, copied.kind) == (
        original.id, original.taken_at, original.vm, original.kind,
    )  # fmt: skip


def test_a_later_copy_brings_only_what_changed_since_the_last_copied_point(store, second, vm):
    first = vm.back_up(store, "run-1")
    copy(store, second)
    vm.write(3 * BLOCK, b"changed")
    vm.back_up(store, "run-2", parent=first.images[0].root)

    report = copy(store, second)

    assert states(report) == [CopyState.PRESENT, CopyState.COPIED]
    assert report.points[1].blocks_changed == 1 + 1  # the disk's block, and the file that says what was read
    assert report.points[1].bytes_read < 2 * BLOCK
    assert_copied(vm, second)


def test_what_an_unencrypted_target_holds_is_not_read_again(vm):
    store, second = make_store("plain"), make_store("plain")
    vm.back_up(second, "run-1")
    vm.held.clear()
    vm.back_up(store, "run-2")

    report = copy(store, second)

    assert report.points[0].bytes_read < BLOCK
    packs = len(list(second.list("packs/")))
    assert states(copy(store, second)) == [CopyState.PRESENT]
    assert len(list(second.list("packs/"))) == packs


def test_a_copy_of_a_copy_is_the_same_point_and_meets_the_original(store, second, vm):
    third = make_store("plain")
    vm.back_up(store, "run-1")
    copy(store, second)

    assert states(copy(second, third)) == [CopyState.COPIED]
    assert states(copy(store, third)) == [CopyState.PRESENT]
    assert states(copy(third, store)) == [CopyState.PRESENT]
    assert_copied(vm, third)


def test_an_older_point_copied_later_starts_from_the_nearest_one(store, second, vm):
    first = vm.back_up(store, "run-1")
    vm.write(5 * BLOCK, b"changed")
    later = vm.back_up(store, "run-2", parent=first.images[0].root)
    copy(store, second, later)

    report = copy(store, second, first)

    assert report.points[0].blocks_changed <= 2
    assert_copied(vm, second)


def test_a_disk_that_grew_is_copied_on_top_of_its_smaller_self(store, second, vm):
    vm.back_up(store, "run-1")
    copy(store, second)
    with vm.path.open("ab") as file:
        file.write(b"more" * BLOCK)
    vm.back_up(store, "run-2")

    report = copy(store, second)

    assert report.points[1].blocks_changed <= 7
    assert_copied(vm, second)


def test_a_dry_run_says_what_would_be_read_and_writes_nothing(store, second, vm):
    vm.back_up(store, "run-1")
    before = [blob.key for blob in second.list("")]

    planned = copy(store, second, dry_run=True)

    assert [blob.key for blob in second.list("")] == before
    assert states(planned) == [CopyState.PLANNED]
    assert planned.points[0].bytes_read == copy(store, second).points[0].bytes_read


def test_a_damaged_point_fails_alone_and_is_not_sealed(store, second, vm, changes):
    first = vm.back_up(store, "run-1")
    extents = changes(vm, 1)
    packs = {blob.key for blob in store.list("packs/")}
    bad = vm.back_up(store, "run-2", extents=extents, parent=first.images[0].root)
    store.delete(next(blob.key for blob in store.list("packs/") if blob.key not in packs))

    report = copy(store, second)

    assert states(report) == [CopyState.COPIED, CopyState.FAILED]
    assert report.failed[0].ref == bad.ref
    assert "\n" not in report.failed[0].problem
    assert list(opened(second).point_refs()) == [first.ref]


def test_what_did_not_arrive_whole_is_not_sealed(store, second, vm):
    vm.back_up(store, "run-1")
    inner = second.put

    def put(key, data):
        rotten = bytearray(data)
        if key.startswith("packs/") and len(data) > BLOCK:
            rotten[BLOCK // 2] ^= 1
        return inner(key, rotten)

    second.put = put

    report = copy(store, second, verify=Verify.ALL)

    assert states(report) == [CopyState.FAILED]
    assert "copy of restore point" in report.failed[0].problem
    assert list(opened(second).point_refs()) == []


def test_blocks_of_another_size_and_one_repository_are_refused(vm):
    store = make_store("plain")
    vm.back_up(store, "run-1")
    with pytest.raises(UnsupportedError, match="--block-size 64"):
        copy(store, make_store("plain", block_size=2 * BLOCK))
    with pytest.raises(UsageError, match="one repository"):
        copy(store, store)


def test_a_power_cut_after_any_put_leaves_whole_points_and_the_next_copy_finishes(store, vm, changes, monkeypatch):
    first = vm.back_up(store, "run-1")
    vm.back_up(store, "run-2", extents=changes(vm, 1), parent=first.images[0].root)
    monkeypatch.setattr(slots, "COST", CHEAP)
    kind = "encrypted" if opened(store).encrypted else "plain"
    for survives in range(1000):
        second = make_store(kind)
        faulty = FaultyStore(second)
        faulty.fail("write", after=survives, with_=PowerCut)
        try:
            copy(store, faulty)
        except PowerCut:
            sealed = list(opened(second).point_refs())
            assert all(content_of(second, ref) == vm.held[ref] for ref in sealed)
            assert set(states(copy(store, second))) <= {CopyState.PRESENT, CopyState.COPIED}
            assert_copied(vm, second)
        else:
            assert survives > 8
            return
    raise AssertionError("never finished")


def test_a_base_that_is_damaged_in_the_target_is_done_without(store, second, vm):
    first = vm.back_up(store, "run-1")
    copy(store, second)
    vm.write(3 * BLOCK, b"changed")
    vm.back_up(store, "run-2", parent=first.images[0].root)
    target = opened(second)
    disk = target.open_map(target.load_point(first.ref).images[0].root)
    for digest in (disk.subtree(1, 0), bytes.fromhex(disk.root)):
        location = target.open_blocks().locate(Kind.PAGE, digest)
        blob = bytearray(second.get(pack_key(location.pack)))
        blob[location.offset + 60] ^= 1
        second.replace(pack_key(location.pack), blob)

        report = copy(store, second)

        assert report.points[1].state in (CopyState.COPIED, CopyState.FAILED)
        if report.failed:  # not known to be damaged yet, so that its blocks were not stored again
            assert opened(second).check(read_data=True)
            assert states(copy(store, second))[1] is CopyState.COPIED
        ref = report.points[1].ref
        assert content_of(second, ref) == vm.held[ref]
        second.delete(f"points/{ref}")
