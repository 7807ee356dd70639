"""The power fails after every single write of a prune: points stay whole, and the next prune finishes the job."""

from __future__ import annotations

import pytest

from tests.unit.maintenance.conftest import BLOCK, AgingStore, Vault, block, small_packs, vault
from vmkeep.errors import StoreError
from vmkeep.retention import RetentionRule
from vmkeep.testing import FaultyStore

__all__ = ["small_packs", "vault"]


class PowerCut(BaseException):
    """The process dies here: not an ``Exception``, so no handler may tidy up after it."""


@pytest.fixture
def worn(vault):
    """A repository in which everything is to be done: a point to forget, packs to rewrite, garbage, an old plan."""
    first = vault.back_up([block(1), block(2), block(3), block(4)])
    vault.back_up([block(1), block(5)])
    vault.forget(first)
    vault.forget(vault.back_up([block(6), block(7)]))
    records = vault.open().sweep_records
    records.condemn({bytes.fromhex(pack) for pack in list(vault.plan().condemned)[:1]})
    vault.back_up([block(8)])
    vault.back_up([block(9), block(1)])
    return vault


def twin_of(vault):
    store = AgingStore()
    store._blobs, store._stamps = dict(vault.store._blobs), dict(vault.store._stamps)
    return Vault(store, dict(vault.held), vault.count)


def pruned(vault, store):
    """Prune; what of the points to forget is gone goes from the model too."""
    refs = set(vault.held)
    try:
        report = vault.prune(rule=RetentionRule(keep_last=2), store=store)
    finally:
        gone = refs - set(vault.open().point_refs())
        assert gone <= set(sorted(refs)[:-2])
        for ref in gone:
            del vault.held[ref]
    return report


def test_a_power_cut_between_any_two_writes_of_a_prune_harms_no_point(worn):
    whole = twin_of(worn)
    report = pruned(whole, whole.store)
    assert report.packs_rewritten
    assert report.packs_deleted > report.packs_rewritten
    assert len(report.points_forgotten) == 1
    size = sum(blob.size for blob in whole.store.list("packs/"))

    cuts = 0
    for after in range(1000):
        vault = twin_of(worn)
        faulty = FaultyStore(vault.store)
        faulty.fail("write", after=after, times=10**6, with_=PowerCut)
        try:
            pruned(vault, faulty)
            break
        except PowerCut:
            cuts += 1
        vault.assert_whole()
        vault.back_up([block(6), block(20 + after)])  # counts on nothing that is about to go
        pruned(vault, vault.store)
        vault.assert_whole()
        pruned(vault, vault.store)
        assert sum(blob.size for blob in vault.store.list("packs/")) < size + 3 * BLOCK
        assert vault.plan().empty

    assert cuts > 20


def test_a_prune_that_a_failing_store_stops_harms_no_point(worn):
    for after in range(1000):
        vault = twin_of(worn)
        faulty = FaultyStore(vault.store)
        faulty.fail("write", after=after, with_=StoreError("reset"))
        try:
            pruned(vault, faulty)
            break
        except StoreError:
            vault.assert_whole()
            assert not [
                sweep for sweep in vault.open().sweep_records.sweeps() if sweep.over and vault.packs & sweep.off_limits
            ]
    assert after > 20
