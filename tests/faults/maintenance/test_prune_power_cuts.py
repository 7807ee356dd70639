"""The power fails after every single write of a prune: points stay whole, and the next prune finishes the job."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.unit.maintenance.conftest import BLOCK, Vault, block, small_packs, vault
from vmkeep.errors import StoreError
from vmkeep.repository.notes import tries
from vmkeep.repository.notes.announcements import Announcements
from vmkeep.repository.sealing import handshake
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
    return Vault(vault.store.twin(), dict(vault.held), vault.count)


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


RECORDS = ("forgettings/", "runs/", "storing/", "sweeps/", "uses/")


@pytest.fixture
def littered(worn):
    """The same, with a record of every kind that a prune removes once its process has been dead for long."""
    pruned(worn, worn.store)  # leaves the record of a sweep that is over
    worn.back_up([block(30), block(1)])
    dying = FaultyStore(worn.store)
    dying.fail("delete", times=10**6, with_=PowerCut)
    repository = worn.open(dying)
    with suppress(PowerCut), repository.run("dead").open_lease("copy", removed=True):
        repository.run("dead").store("note", b"left")
        Announcements(dying, repository.framer).announce(bytes(16), frozenset([b"12345678"]))
        tries.begin(dying, repository.framer, "dead")
        with handshake.intent(dying, repository.framer, "dead", "vm", ["00" * 32]):
            raise PowerCut
    records = repository.forgettings
    records.decide(records.begin(worn.held), [])
    with suppress(PowerCut), repository.uses.open(next(iter(worn.held)), doing="reading"):
        pass
    worn.store.pass_time(9 * 24)
    assert all(any(worn.store.list(folder)) for folder in RECORDS)
    return worn


def test_a_power_cut_between_any_two_writes_of_a_prune_that_tidies_harms_no_point_and_the_next_one_tidies(littered):
    cuts = 0
    for after in range(1000):
        vault = twin_of(littered)
        faulty = FaultyStore(vault.store)
        faulty.fail("write", after=after, times=10**6, with_=PowerCut)
        try:
            pruned(vault, faulty)
            break
        except PowerCut:
            cuts += 1
        vault.assert_whole()
        pruned(vault, vault.store)
        vault.assert_whole()
        for _ in range(2):  # because the first of them may leave the record of a sweep of its own
            vault.store.pass_time(9 * 24)
            pruned(vault, vault.store)
        assert [blob.key for folder in RECORDS for blob in vault.store.list(folder)] == []

    assert cuts > 20
