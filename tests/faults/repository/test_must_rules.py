"""The rules that docs/format.md calls MUST, one by one; those of crashes and processes lie beside this file."""

from __future__ import annotations

import pytest

from tests.sealed import opened, remove_on_purpose
from vmkeep.errors import CorruptError, VmKeepError
from vmkeep.testing import FaultyStore
from vmkeep.transfer.writing import restore_disk


def test_rule_1_order_of_writing_packs_then_index_then_map_root_then_manifest(store, vm):
    faulty = FaultyStore(store)
    point = vm.back_up(faulty, "run-1")

    written = [key.split("/")[0] for call, key in faulty.calls if call == "put"]
    # What the run says of itself: when it began, and what it is about to seal; and in the end that it is sealed.
    assert written == ["runs", *["packs"] * written.count("packs"), "index", "runs", "points", "sealed"]
    assert written.count("packs") > 2
    # The root is a frame in a pack: it can be found, and so is written, only once the segment that names it is.
    before = FaultyStore(store)
    before.fail("list", with_=CorruptError, prefix="index/")
    with pytest.raises(CorruptError):
        opened(before).open_map(point.images[0].root)


def test_rule_2_every_point_is_complete_and_deleting_one_never_hurts_another(store, vm, changes):
    parent = vm.back_up(store, "run-1")
    points = [parent]
    for number in range(2, 6):
        extents = changes(vm, number)
        points.append(vm.back_up(store, f"run-{number}", extents=extents, parent=points[-1].images[0].root))

    for gone in points[:-1]:
        remove_on_purpose(store, gone.ref)
        vm.assert_every_sealed_point_is_readable(store, at_least=[points[-1].ref])
    assert len(list(opened(store).points())) == 1


def test_rule_3_nothing_reaches_a_target_before_its_digest_was_checked(store, vm, target):
    point = vm.back_up(store, "run-1")
    for blob in list(store.list("packs/")):
        content = bytearray(store.get(blob.key))
        for at in range(200, len(content) - 200, 97):
            content[at] ^= 0x55
        store.replace(blob.key, content)
    disk = target(len(vm.held[point.ref]))

    with pytest.raises(CorruptError):
        restore_disk(
            opened(store), point.images[0].root, disk, fresh=True, on_progress=lambda _: None, check=lambda: None
        )
    assert not any(disk.content)


def test_rule_5_restoring_starts_from_the_repository_alone(store, vm, target):
    point = vm.back_up(store, "run-1")
    for blob in list(store.list("runs/")):
        store.delete(blob.key)

    found = opened(store).find_point("latest:web")

    assert found == point
    vm.assert_every_sealed_point_is_readable(store, at_least=[point.ref])


@pytest.mark.parametrize("kind", ["points", "index", "packs"])
def test_rule_6_a_truncated_or_altered_object_is_a_clear_error_that_names_the_object(store, vm, kind):
    point = vm.back_up(store, "run-1")
    keys = [blob.key for blob in store.list(f"{kind}/")]
    for key in keys:
        store.replace(key, store.get(key)[:-9])

    found = [f"{finding.where} {finding.what}" for finding in opened(store).check(read_data=True)]

    for key in keys:
        assert any(key in line for line in found)
    if kind == "points":
        with pytest.raises(VmKeepError, match=point.ref):
            opened(store).load_point(point.ref)


def test_rule_7_a_create_if_absent_whose_reply_was_lost_is_settled_by_the_write_id(store, vm):
    from vmkeep.blobs.wrappers.settling import SettlingStore
    from vmkeep.errors import StoreError

    faulty = FaultyStore(store)
    faulty.fail("put", with_=StoreError("reset"), prefix="points/", reply_lost=True)
    point = vm.back_up(SettlingStore(faulty), "run-1")

    assert [found.ref for found in opened(store).points()] == [point.ref]
