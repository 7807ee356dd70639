"""The whole ladder for any single bit: a check finds it, a restore refuses the block and names it, a copy heals it."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.faults.repository.conftest import BLOCK, Target, Vm
from tests.faults.repository.test_copying import copy, make_store
from tests.sealed import CHEAP, opened
from vmkeep.errors import CorruptError
from vmkeep.maintenance.healing import heal
from vmkeep.maintenance.repair import repair_index, repair_points
from vmkeep.repository.notes.marks import Lost
from vmkeep.repository.unlock import slots
from vmkeep.testing import MemoryStore
from vmkeep.transfer.writing import restore_disk


@pytest.fixture
def grown(store, vm, changes, monkeypatch):
    """A repository with something of every kind in it, and a copy of its points under another key."""
    monkeypatch.setattr(slots, "COST", CHEAP)
    first = vm.back_up(store, "run-1")
    vm.back_up(store, "run-2", extents=changes(vm, 1), parent=first.images[0].root)
    second = make_store("encrypted")
    copy(store, second)
    repository = opened(store)
    repository.marks.pin(first.ref, reason="audit", by="me", until=datetime(2100, 1, 1, tzinfo=UTC))
    repository.sweep_records.condemn([bytes(16)])
    for blob in list(store.list("runs/")):
        store.delete(blob.key)
    return Grown(store, second, vm)


class Grown:
    """Store that a test is given; no dataclass, because hypothesis would print all of it."""

    def __init__(self, store: MemoryStore, second: MemoryStore, vm: Vm) -> None:
        self.store, self.second, self.vm = store, second, vm


def clone(store):
    made = MemoryStore()
    for blob in store.list(""):
        made.put(blob.key, store.get(blob.key))
    return made


def restore_error(repository, point, held):
    """Restore one disk: exact, or an error that says which disk of which point; never a wrong byte on the way."""
    image = point.images[0]
    target = Target(len(held), b"\xa5" * len(held))
    what = f"restore point {point.ref}, {image.disk.label}"
    error = None
    try:
        restore_disk(
            repository, image.root, target, fresh=False, on_progress=lambda _: None, check=lambda: None, what=what
        )
    except CorruptError as raised:
        error = str(raised)
    poison = b"\xa5" * 512
    for at in range(0, len(held), 512):
        assert target.content[at : at + 512] in (poison, held[at : at + 512])
    assert (error is None) == (target.content == held)
    return error


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(chosen=st.floats(0, 1, exclude_max=True), at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found_named_and_healed(grown, chosen, at, bit):
    second, vm = grown.second, grown.vm
    store = clone(grown.store)
    keys = [blob.key for blob in store.list("") if blob.key != "vmkeep.json" and not blob.key.startswith("keys/")]
    key = keys[int(chosen * len(keys))]
    rotten = bytearray(store.get(key))
    rotten[int(at * len(rotten))] ^= 1 << bit
    store.replace(key, rotten)

    findings = opened(store).check(read_data=True)

    assert any(finding.where.startswith(key) for finding in findings), key
    repository = opened(store)
    for ref in list(repository.point_refs()):
        if key == f"points/{ref}":
            with pytest.raises(CorruptError, match=ref):
                repository.load_point(ref)
            continue
        point = repository.load_point(ref)
        error = restore_error(repository, point, vm.held[ref])
        parts = {finding.where for finding in findings if finding.where.startswith(f"{ref}, Hard disk 1")}
        assert (error is not None) == bool(parts)
        assert error is None or any(error.startswith(f"restore point {part}:") for part in parts), (error, parts)

    if not key.startswith("points/"):
        repair_index(opened(store))
        assert heal(opened(store), opened(second)).lost == 0
        assert repair_points(opened(store)).damaged == ()
        left = {finding.where for finding in opened(store).check(read_data=True)}
        assert left <= {key}
        assert not left or not key.startswith("packs/")
        for ref in list(opened(store).point_refs()):
            assert restore_error(opened(store), opened(store).load_point(ref), vm.held[ref]) is None


def test_a_mark_and_a_note_of_damage_are_checked_too_and_err_on_the_safe_side(store, vm):
    point = vm.back_up(store, "run-1")
    repository = opened(store)
    repository.marks.mark_damaged(point.ref, [Lost(name="Hard disk 1")])
    pack = max(store.list("packs/"), key=lambda blob: blob.size)
    rotten = bytearray(store.get(pack.key))
    rotten[BLOCK // 2] ^= 1
    good = store.get(pack.key)
    store.replace(pack.key, rotten)
    repository.check(read_data=True)
    store.replace(pack.key, good)
    chance = random.Random(1)
    for blob in [*store.list("marks/"), *store.list("damage/")]:
        before = bytearray(store.get(blob.key))
        before[chance.randrange(len(before))] ^= 1
        store.replace(blob.key, before)

        assert blob.key in {finding.where for finding in repository.check()}

    assert repository.marks.damage_of(point.ref) is not None
    assert repository.check(read_data=True)
    repository.marks.clear_damaged(point.ref)
    assert repository.check() == []
