"""Any sequence of backups, copies, crashes, prunes, rot and healing: both repositories hold what the model says."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.sealed import CHEAP, PASSPHRASE, opened
from tests.unit.maintenance.conftest import BLOCK, AgingStore, Vault, block, read
from vmkeep.flows.copy_values import CopyState
from vmkeep.flows.pointcopy import copy_points
from vmkeep.maintenance.healing import heal
from vmkeep.maintenance.repair import repair_index, repair_points
from vmkeep.repository.blocks import writer
from vmkeep.repository.opening import create_encrypted_in
from vmkeep.repository.unlock import descriptor, slots
from vmkeep.testing import FaultyStore

blocks = st.lists(st.integers(0, 12), min_size=1, max_size=8)


class PowerCut(BaseException):
    """The process dies here."""


class Copying(RuleBasedStateMachine):
    """Two repositories; the model is what each of their points holds."""

    @initialize(encrypted=st.tuples(st.booleans(), st.booleans()))
    def create(self, encrypted):
        self.vaults = []
        for number, sealed in enumerate(encrypted):
            store = AgingStore()
            made = descriptor.new_descriptor(block_size=BLOCK, compression="none")
            if sealed:
                create_encrypted_in(store, made, passphrase=PASSPHRASE)
            else:
                descriptor.create(store, made)
            self.vaults.append(Vault(store, count=1000 * number))
        for seed in (0, 3):
            self.vaults[0].back_up([block(seed + number) for number in range(6)])

    @rule(which=st.integers(0, 1), disk=blocks)
    def back_up(self, which, disk):
        self.vaults[which].back_up([block(seed) for seed in disk])

    @rule(which=st.integers(0, 1), dies=st.one_of(st.none(), st.integers(0, 8)))
    def copy(self, which, dies):
        source, target = self.vaults[which], self.vaults[1 - which]
        store = FaultyStore(target.store)
        if dies is not None:
            store.fail("write", after=dies, with_=PowerCut)
        try:
            report = copy_points(source.open(), opened(store), sorted(source.held))
        except PowerCut:
            sealed = set(opened(target.store).point_refs())
            target.held |= {ref: disk for ref, disk in source.held.items() if ref in sealed}
        else:
            assert {point.state for point in report.points} <= {CopyState.COPIED, CopyState.PRESENT}
            target.held |= source.held

    @precondition(lambda self: any(vault.held for vault in self.vaults))
    @rule(which=st.integers(0, 1), seed=st.integers(0, 1 << 20))
    def forget_and_prune(self, which, seed):
        chance = random.Random(seed)
        vault = self.vaults[which]
        if vault.held:
            vault.forget(chance.choice(sorted(vault.held)))
        vault.store.pass_time(1)
        vault.prune()

    @precondition(lambda self: set(self.vaults[0].held) & set(self.vaults[1].held))
    @rule(which=st.integers(0, 1), seed=st.integers(0, 1 << 20))
    def rot_and_heal(self, which, seed):
        """Whatever happens to one pack, all that the other repository has a copy of comes back."""
        chance = random.Random(seed)
        vault, other = self.vaults[which], self.vaults[1 - which]
        key = chance.choice(sorted(blob.key for blob in vault.store.list("packs/")))
        rotten = bytearray(vault.store.get(key))
        if chance.random() < 0.3:
            vault.store.delete(key)
        else:
            rotten[chance.randrange(len(rotten))] ^= 1 << chance.randrange(8)
            vault.store.replace(key, rotten)
        vault.open().check(read_data=True)
        repair_index(vault.open())
        heal(vault.open(), other.open())
        damaged = {point.ref for point in repair_points(vault.open()).damaged}
        assert not damaged & set(other.held)
        for ref in damaged:  # held by nobody else: nothing could bring it back
            vault.forget(ref)
            vault.open().marks.forget(ref)
        heal(vault.open(), other.open())

    @rule()
    def all_is_whole(self):
        for vault in self.vaults:
            repository = vault.open()
            assert set(repository.point_refs()) == set(vault.held)
            for ref, disk in vault.held.items():
                assert read(repository, repository.load_point(ref).images[0].root) == disk
            assert repository.check(read_data=True) == []

    def teardown(self):
        if hasattr(self, "vaults"):
            self.all_is_whole()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(writer, "PACK_SIZE", 4 * BLOCK)
    monkeypatch.setattr(writer, "PAGE_PACK_SIZE", 16384)
    monkeypatch.setattr(slots, "COST", CHEAP)


@pytest.mark.usefixtures("small")
class TestCopying(Copying.TestCase):
    settings = settings(max_examples=10, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck))
