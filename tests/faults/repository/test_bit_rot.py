"""Single bits flip, blobs are cut off, lost or swapped: check finds it, and a restore never delivers it."""

from __future__ import annotations

import random

import pytest

from tests.sealed import opened
from vmkeep.errors import VmKeepError
from vmkeep.transfer.writing import restore_disk


def kinds(store):
    """One blob of each kind there is, and all packs."""
    keys = [blob.key for blob in store.list("") if not blob.key.startswith("runs/")]
    assert {key.split("/")[0] for key in keys} - {"keys"} == {"vmkeep.json", "packs", "index", "points", "sealed"}
    return keys


def found_by_check(store):
    try:
        repository = opened(store)
    except VmKeepError:
        return True
    return bool(repository.check(read_data=True))


def restored(store, vm, point, target):
    """Restore: the right bytes or an error, and never a wrong byte on the way."""
    held = vm.held[point.ref]
    poison = b"\xa5" * len(held)
    disk = target(len(poison), poison)
    try:
        repository = opened(store)
        loaded = repository.load_point(point.ref)
        restore_disk(
            repository, loaded.images[0].root, disk, fresh=False, on_progress=lambda _: None, check=lambda: None
        )
    except VmKeepError as error:
        lines = str(error).count("\n")
    else:
        lines = 0
        assert disk.content == held
    assert not lines
    read = bytes(disk.content)
    if read not in (held, poison):
        wrong = [
            at for at in range(0, len(held), 512) if read[at : at + 512] not in (poison[:512], held[at : at + 512])
        ]
        assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 20))])
def test_a_flipped_bit_in_any_object_is_found_and_nothing_wrong_is_restored(store, vm, changes, target, seed):
    first = vm.back_up(store, "run-1")
    second = vm.back_up(store, "run-2", extents=changes(vm, 1), parent=first.images[0].root)
    chance = random.Random(seed)
    for key in kinds(store):
        good = store.get(key)
        places = [chance.randrange(len(good)) for _ in range(4)]
        if not seed:
            places += [0, 5, len(good) - 1, len(good) - 40]
        for at in places:
            bad = bytearray(good)
            bad[at] ^= 1 << chance.randrange(8)
            store.replace(key, bad)
            assert found_by_check(store) or key == "vmkeep.json", (key, at)
            restored(store, vm, chance.choice([first, second]), target)
        store.replace(key, good)
    assert not found_by_check(store)


@pytest.mark.parametrize("damage", ["lost", "cut off", "empty", "swapped"])
def test_a_damaged_blob_of_any_kind_is_found_and_nothing_wrong_is_restored(store, vm, changes, target, damage):
    first = vm.back_up(store, "run-1")
    second = vm.back_up(store, "run-2", extents=changes(vm, 1), parent=first.images[0].root)
    keys = kinds(store)
    for key in keys:
        good = store.get(key)
        twin = next((other for other in keys if other != key and other.split("/")[0] == key.split("/")[0]), None)
        if damage == "lost":
            store.delete(key)
        elif damage == "swapped":
            store.replace(key, store.get(twin) if twin else good)
        else:
            store.replace(key, good[: len(good) * 2 // 3] if damage == "cut off" else b"")
        removed = damage == "lost" and key.startswith(("sealed/", "keys/"))  # what is gone is no damage
        unchanged = store_equals(store, key, good)
        if not (removed or unchanged):
            assert found_by_check(store), key
        restored(store, vm, first, target)
        restored(store, vm, second, target)
        store.replace(key, good)


def store_equals(store, key, good):
    return any(blob.key == key for blob in store.list("")) and store.get(key) == good


def test_a_check_names_every_point_and_the_byte_that_a_damaged_block_belongs_to(store, vm, changes):
    first = vm.back_up(store, "run-1")
    second = vm.back_up(store, "run-2", extents=(), parent=first.images[0].root)
    repository = opened(store)
    location = repository.open_blocks()._index.find(repository.open_map(first.images[0].root).lookup(3))
    key = f"packs/{location.pack.hex()[:2]}/{location.pack.hex()}"
    blob = bytearray(store.get(key))
    blob[location.offset + 1000] ^= 4
    store.replace(key, blob)

    findings = repository.check(read_data=True)

    assert [finding.where for finding in findings] == [
        f"{key}, byte {location.offset}",
        f"{first.ref}, Hard disk 1, byte {3 * 65536}",
        f"{second.ref}, Hard disk 1, byte {3 * 65536}",
    ]
    assert [finding.where for finding in repository.check()] == [finding.where for finding in findings]
    blob[location.offset + 1000] ^= 4
    store.replace(key, blob)
    assert repository.check(read_data=True) == []
    assert repository.check() == []


def test_a_lost_pack_is_found_without_reading_data(store, vm):
    point = vm.back_up(store, "run-1")
    keys = [blob.key for blob in store.list("packs/")]
    store.delete(keys[0])

    findings = opened(store).check(read_data=False)

    assert findings[0].where == keys[0]
    assert any(finding.where.startswith(point.ref) for finding in findings)


def test_a_lost_index_is_found(store, vm):
    point = vm.back_up(store, "run-1")
    for blob in list(store.list("index/")):
        store.delete(blob.key)

    findings = opened(store).check(read_data=False)

    assert any(finding.where.startswith(point.ref) for finding in findings)


def test_a_check_is_not_alarmed_by_a_backup_that_is_running(store, vm, changes):
    """Blocks that are stored and sealed after the check has listed the packs are no damage."""
    first = vm.back_up(store, "run-1")
    extents = changes(vm, 3)
    repository = opened(store)
    listed = []
    inner = store.list

    def list_and_go_on(prefix):
        found = list(inner(prefix))
        if prefix == "packs/" and not listed:
            listed.append(prefix)
            vm.back_up(store, "run-2", extents=extents, parent=first.images[0].root)
        return iter(found)

    store.list = list_and_go_on

    assert repository.check(read_data=True) == []
    assert len(list(repository.points())) == 2


def test_a_file_that_is_no_pack_is_named(store, vm):
    vm.back_up(store, "run-1")
    store.put("packs/zz/readme", b"not a pack")

    findings = opened(store).check(read_data=True)

    (finding,) = findings
    assert finding.where == "packs/zz/readme"
    assert "not the name of a pack" in str(finding.what)
    assert "move it away" in str(finding.what)
