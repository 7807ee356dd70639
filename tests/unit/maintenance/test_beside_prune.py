"""Checks, copies and repairs while a prune runs in the middle of them: no false alarm, no point that is not whole."""

from __future__ import annotations

import pytest

from tests.sealed import opened
from tests.unit.maintenance.conftest import BLOCK, AgingStore, Vault, block, read
from vmkeep.flows.copy_values import CopyState, Verify
from vmkeep.flows.pointcopy import copy_points
from vmkeep.maintenance.healing import heal
from vmkeep.maintenance.repair import repair_index, repair_points
from vmkeep.repository import Kind
from vmkeep.repository.frames.packs import pack_key
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import FaultyStore


class Meddling(FaultyStore):
    """A store in which something else happens right before one of our calls."""

    def __init__(self, inner, action, at):
        super().__init__(inner)
        self._action = action
        self._left = at

    def _before(self, call, key):
        self._left -= 1
        if self._left == 0:
            self._action()
        return super()._before(call, key)

    @property
    def met(self):
        return self._left <= 0


def wasteful(vault):
    """Points of which a prune rewrites some packs, deletes others, and leaves the rest."""
    first = vault.back_up([block(number) for number in range(1, 20)])
    vault.back_up([block(number) for number in (1, 2, 30, 31, 0, 32)])
    last = vault.back_up([block(number) for number in (1, 40, 41, 42)], vm="other")
    vault.forget(first)
    vault.store.pass_time(1)
    return last


def clone(vault):
    store = AgingStore()
    for blob in vault.store.list(""):
        store.put(blob.key, vault.store.get(blob.key))
    store.time = vault.store.time
    return Vault(store, dict(vault.held), vault.count)


def moments(work, vault, *, step):
    """Do some work again and again, each time on a copy of the vault, with a prune before another of its calls."""
    at = 1
    while True:
        copy = clone(vault)
        store = Meddling(copy.store, lambda copy=copy: (copy.prune(), copy.prune()), at)
        work(copy, store)
        if not store.met:
            return
        at += step


def test_a_check_is_not_alarmed_by_a_prune_at_any_moment(vault):
    wasteful(vault)

    def check(copy, store):
        assert opened(store).check(read_data=True) == []
        copy.assert_whole()
        assert list(copy.store.list("damage/")) == []

    moments(check, vault, step=3)


def test_looking_for_damaged_points_is_not_alarmed_by_a_prune_or_by_points_that_go(vault):
    gone = wasteful(vault)

    def look(copy, store):
        repository = opened(store)
        assert repair_points(repository).damaged == ()
        copy.assert_whole()

    moments(look, vault, step=2)
    vault.store.pass_time(1)

    def forget_and_look(copy, store):
        store._action = lambda: (copy.forget(gone), copy.prune(), copy.prune()) if gone in copy.held else None
        assert repair_points(opened(store)).damaged == ()

    moments(forget_and_look, vault, step=2)


def test_an_index_made_again_during_a_prune_lists_nothing_that_goes(vault):
    wasteful(vault)

    def rebuild(copy, store):
        repair_index(opened(store))
        copy.prune()
        copy.assert_whole()

    moments(rebuild, vault, step=3)


@pytest.mark.parametrize("pruned", ["source", "target"])
def test_a_copy_beside_a_prune_of_either_repository_arrives_whole(vault, pruned):
    ref = wasteful(vault)
    other = AgingStore()
    descriptor.create(other, descriptor.new_descriptor(block_size=BLOCK, compression="lz4"))
    second = Vault(other, count=100)
    wasteful(second)

    def copy(pruned_vault, store):
        source, target = opened(vault.store), opened(store)
        if pruned == "source":
            source, target = opened(store), opened(clone(second).store)
        else:
            for held in list(pruned_vault.held):  # what could be built upon is on its way out
                pruned_vault.forget(held)
        report = copy_points(source, target, [ref], verify=Verify.ALL)
        assert [(point.state, point.problem) for point in report.points] == [(CopyState.COPIED, None)]
        arrived = opened(target.blobs.inner if pruned == "target" else target.blobs)
        assert read(arrived, arrived.load_point(ref).images[0].root) == vault.held[ref]
        assert arrived.check(read_data=True) == []

    moments(copy, vault if pruned == "source" else second, step=4)


def test_damaged_packs_that_were_healed_go_with_the_next_prune(vault):
    ref = vault.back_up([block(1), block(2), block(3)])
    twin = clone(vault)
    repository = vault.open()
    other = AgingStore()
    descriptor.create(other, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    copy_points(twin.open(), opened(other), [ref])
    location = repository.index.find(repository.framer.digester.of(Kind.BLOCK, block(2)))
    rotten = bytearray(vault.store.get(pack_key(location.pack)))
    rotten[location.offset + 1000] ^= 1
    vault.store.replace(pack_key(location.pack), rotten)
    repository.check(read_data=True)

    report = heal(vault.open(), opened(other))

    assert (report.blocks, report.lost) == (3, 0)
    vault.assert_whole()
    vault.store.pass_time(1)
    vault.prune()
    vault.prune()
    assert location.pack not in vault.packs
    vault.assert_whole()
    assert list(vault.store.list("damage/")) == []


def test_a_lost_pack_that_was_healed_leaves_nothing_behind(vault):
    ref = vault.back_up([block(1), block(2), block(3)])
    other = AgingStore()
    descriptor.create(other, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    copy_points(vault.open(), opened(other), [ref])
    for blob in list(vault.store.list("packs/")):
        vault.store.delete(blob.key)

    assert heal(vault.open(), opened(other)).lost == 0

    vault.assert_whole()
    vault.store.pass_time(1)
    vault.prune()
    vault.prune()
    vault.assert_whole()
    assert list(vault.store.list("damage/")) == []
