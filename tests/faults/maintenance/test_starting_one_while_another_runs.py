"""Starting X while Y runs, for every pair: Y runs up to one of its calls to the store, X from end to end, Y goes on.

docs/architecture/maintenance.md has the table; each of its cells is one case of the test in this file. Prunes have no
margins here: with those of real life hardly anything would meet.
"""

from __future__ import annotations

import functools
import threading
from copy import deepcopy
from dataclasses import dataclass

import pytest

from tests.unit.maintenance.conftest import BLOCK, NONE, NOW, AgingStore, Vault, block, described, read, write
from vmkeep.errors import StaleError
from vmkeep.flows.copy_values import CopyState, Verify
from vmkeep.flows.pointcopy import copy_points
from vmkeep.maintenance.merge import execute_merge, plan_merge
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository.unlock import descriptor
from vmkeep.retention import RetentionRule
from vmkeep.transfer.verify import verify_disk

POSITIONS = 4
"""Calls of Y at which X is started, spread evenly; more of them where X changes something, and all in a soak."""
CHANGING = ("backup", "prune", "merge", "copy")


class Interrupted:
    """A store that lets something else happen right before one of its calls."""

    def __init__(self, inner, at, happens):
        self._inner = inner
        self._at = at
        self._happens = happens
        self._lock = threading.Lock()
        self.calls = 0

    def __getattr__(self, name):
        verb = getattr(self._inner, name)
        if not callable(verb):
            return verb

        def call(*arguments):
            with self._lock:
                due = self.calls == self._at
                self.calls += 1
            if due:
                self._happens()
            return verb(*arguments)

        return call


@dataclass
class World:
    """A repository with points, waste and garbage, and a second one that has a copy of one of them."""

    here: Vault
    there: Vault
    runs: int = 0


@functools.cache
def made_once():
    """Return the world that all cases begin with a copy of. It is made by the first, because its packs are small."""
    vaults = []
    for _ in range(2):
        store = AgingStore()
        descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
        vaults.append(Vault(store))
    here, there = vaults
    old = here.back_up([block(1), block(2), block(3), block(4)])
    here.back_up([block(1), block(5)])
    here.back_up([block(6), block(7)])
    here.forget(old)  # its first block is still needed: its pack is mostly waste
    here.forget(here.back_up([block(8), block(9)], vm="other"))  # and these are garbage
    copy_points(here.open(), there.open(), sorted(here.held)[:1])
    there.held = {ref: here.held[ref] for ref in sorted(here.held)[:1]}
    there.forget(there.back_up([block(6), block(8)], vm="other"))
    return World(here, there)


@pytest.fixture
def world():
    return begun_again(made_once())


def backup(world, store):
    """Store blocks of which some are known, some garbage, some new; start again if maintenance says so."""
    world.runs += 1
    vault, blocks = world.here, [block(1), block(8), block(6), block(100 + world.runs)]
    for attempt in range(5):
        run = f"table-{world.runs}-{attempt}"
        repository = vault.open(store)
        repository.begin_run(run)
        with repository.open_writer(run=run) as out:
            root = write(repository, out, blocks)
            out.flush()
        try:
            ref = repository.seal(described(root, run, number=500 + world.runs, size=len(blocks) * BLOCK))
        except StaleError:
            store = vault.store
            continue
        vault.held[ref] = blocks
        return
    raise AssertionError("never sealed")


def restore(world, store):
    """Read all of the oldest point."""
    ref = min(world.here.held)
    repository = world.here.open(store)
    assert read(repository, repository.load_point(ref).images[0].root) == world.here.held[ref]


def prune(world, store):
    """Forget nothing, delete everything that nothing needs; in both repositories."""
    prune_one(world.here, store)
    prune_one(world.there, world.there.store)


def prune_one(vault, store):
    repository = vault.open(store)
    rule = RetentionRule(keep_last=100)
    report = execute(repository, plan_prune(repository, rule, margins=NONE, now=NOW))
    assert not report.lost_blocks
    assert not report.packs_damaged
    assert not report.points_forgotten


def merge(world, store):
    """Put the index's segments together."""
    repository = world.here.open(store)
    execute_merge(repository, plan_merge(repository))


def check(world, store):
    """Find nothing."""
    assert world.here.open(store).check(read_data=True) == []


def copy(world, store):
    """Bring every point to the second repository."""
    refs = sorted(world.here.held)
    report = copy_points(world.here.open(store), world.there.open(), refs, verify=Verify.ALL)
    assert [point.problem for point in report.points if point.state is CopyState.FAILED] == []
    world.there.held |= {ref: world.here.held[ref] for ref in refs}


def verify(world, store):
    """Check every block of the oldest point."""
    repository = world.here.open(store)
    root = repository.load_point(min(world.here.held)).images[0].root
    assert verify_disk(repository, root, on_progress=lambda _: None)[0]


OPERATIONS = {
    "backup": backup,
    "restore": restore,
    "prune": prune,
    "merge": merge,
    "check": check,
    "copy": copy,
    "verify": verify,
}


@functools.cache
def calls_of(running):
    world = begun_again(made_once())
    counted = Interrupted(world.here.store, -1, lambda: None)
    OPERATIONS[running](world, counted)
    return counted.calls


def begun_again(world):
    """Return the same world as it was, for the next try."""
    return World(*(Vault(_twin(vault.store), deepcopy(vault.held), vault.count) for vault in (world.here, world.there)))


def _twin(store):
    twin = AgingStore()
    twin._blobs, twin._stamps = dict(store._blobs), dict(store._stamps)
    return twin


def meet(world, started, running, positions):
    total = calls_of(running)
    step = max(1, -(-total // positions))
    for at in range(0, total, step):
        twin = begun_again(world)
        met = []

        def happens(twin=twin, met=met):
            met.append(started)
            OPERATIONS[started](twin, twin.here.store)

        OPERATIONS[running](twin, Interrupted(twin.here.store, at, happens))

        assert met or at, f"{running} makes no call"
        twin.here.assert_whole()
        twin.there.assert_whole()
        for vault in (twin.here, twin.there) if "copy" in (started, running) else (twin.here,):
            prune_one(vault, vault.store)
        twin.here.assert_whole()


def test_each_operation_has_something_to_do(world):
    repository = world.here.open()
    assert plan_merge(repository).sources
    plan = plan_prune(repository, None, margins=NONE, now=NOW)
    assert plan.condemned
    assert plan.rewritten


@pytest.mark.parametrize("running", OPERATIONS)
@pytest.mark.parametrize("started", OPERATIONS)
def test_starting_one_while_another_runs(world, started, running):
    meet(world, started, running, 3 * POSITIONS if started in CHANGING else POSITIONS)


@pytest.mark.soak
@pytest.mark.parametrize("running", OPERATIONS)
@pytest.mark.parametrize("started", CHANGING)
def test_starting_one_at_every_call_of_another(world, started, running):
    meet(world, started, running, 10_000)
