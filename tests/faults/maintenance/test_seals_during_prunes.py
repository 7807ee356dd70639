"""A backup that began before a prune, and counts on what that deletes, seals at every single call of it.

What random interleavings rarely meet: it seals and nothing of it is deleted, or it is told to start again.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.faults.maintenance.test_starting_one_while_another_runs import Interrupted, _twin
from tests.patience import HANG
from tests.unit.maintenance.conftest import BLOCK, AgingStore, Vault, block, described, small_packs, write
from vmkeep.errors import StaleError
from vmkeep.repository.unlock import descriptor

__all__ = ["small_packs"]

BLOCKS = [block(1), block(2), block(3)]


@pytest.fixture
def worn():
    store = AgingStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    vault = Vault(store)
    vault.back_up([block(1), block(4)])
    vault.back_up([block(5)])
    vault.forget(min(vault.held))
    vault.forget(vault.back_up([block(2)]))
    return vault


def begun(vault):
    """Begin a backup and write it; return what seals it, or learns that it has to start again."""
    repository = vault.open()
    with repository.open_writer(run="early") as out:
        root = write(repository, out, BLOCKS)
        out.flush()

    def seal():
        ref = repository.seal(described(root, "early", number=900, size=len(BLOCKS) * BLOCK))
        vault.held[ref] = BLOCKS

    return seal


@pytest.mark.parametrize("others", ["alone", "after another prune", "before another prune"])
def test_a_backup_that_began_before_a_prune_seals_at_any_call_of_it(worn, others):
    sealed = stale = 0
    for at in range(1000):
        vault = Vault(_twin(worn.store), dict(worn.held), worn.count)
        seal = begun(vault)
        outcome = []

        def happens(vault=vault, seal=seal, outcome=outcome):
            if others == "after another prune":
                vault.prune()
            try:
                seal()
                outcome.append("sealed")
            except StaleError:
                outcome.append("stale")
            if others == "before another prune":
                vault.prune()

        store = Interrupted(vault.store, at, happens)
        vault.prune(store=store)

        vault.assert_whole()
        if not outcome:
            break
        sealed += outcome == ["sealed"]
        stale += outcome == ["stale"]
        vault.prune()
        vault.assert_whole()
    assert stale > 5
    assert sealed > 5 or others == "after another prune"  # which has deleted what it counts on


def test_a_prune_at_any_call_of_a_seal_leaves_what_is_sealed(worn):
    sealed = stale = 0
    for at in range(1000):
        vault = Vault(_twin(worn.store), dict(worn.held), worn.count)
        repository = vault.open()
        with repository.open_writer(run="early") as out:
            root = write(repository, out, BLOCKS)
            out.flush()
        store = Interrupted(vault.store, at, vault.prune)
        point = described(root, "early", number=900, size=len(BLOCKS) * BLOCK)
        try:
            vault.held[vault.open(store).seal(point)] = BLOCKS
            sealed += 1
        except StaleError:
            stale += 1
        vault.assert_whole()
        with suppress(StaleError):
            vault.held[vault.open().seal(point)] = BLOCKS
        vault.prune()
        vault.assert_whole()
        if store.calls <= at:
            break
    assert sealed > 5
    assert stale


class Paused(Interrupted):
    """A store that stops before it puts a manifest, until it is told to go on."""

    def __init__(self, inner):
        super().__init__(inner, -1, lambda: None)
        self.reached, self.go_on = threading.Event(), threading.Event()

    def put(self, key, data):
        if key.startswith("points/"):
            self.reached.set()
            assert self.go_on.wait(HANG)
        return self._inner.put(key, data)


def test_a_seal_that_saw_no_sweep_ends_at_any_call_of_a_prune(worn):
    """The intent stands and no sweep had begun; the manifest comes, and the intent goes, somewhere within a prune."""
    for at in range(1000):
        vault = Vault(_twin(worn.store), dict(worn.held), worn.count)
        repository = vault.open()
        with repository.open_writer(run="early") as out:
            root = write(repository, out, BLOCKS)
            out.flush()
        vault.open().sweep_records.condemn(vault.packs)  # by a plan that the writer could not know of
        paused = Paused(vault.store)
        point = described(root, "early", number=900, size=len(BLOCKS) * BLOCK)
        with ThreadPoolExecutor(max_workers=1) as threads:
            sealing = threads.submit(vault.open(paused).seal, point)
            assert paused.reached.wait(HANG)

            def end(paused=paused, sealing=sealing):
                paused.go_on.set()
                sealing.result(timeout=HANG)

            store = Interrupted(vault.store, at, end)
            vault.prune(store=store)
            paused.go_on.set()
            vault.held[sealing.result(timeout=HANG)] = BLOCKS
        vault.assert_whole()
        if store.calls <= at:
            break
    assert at > 50
