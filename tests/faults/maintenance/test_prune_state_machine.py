"""Backups, open for as long as they like, beside prunes with no margins at all, crashes anywhere: points stay whole.

The model is a dict: ref → blocks. After every step each point reads as the model says and a check finds nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.unit.maintenance.conftest import BLOCK, NONE, NOW, AgingStore, Vault, described, read
from tests.unit.maintenance.test_gathered_merge import few_are_many
from vmkeep.errors import CorruptError, StaleError
from vmkeep.maintenance.gathered_merge import merge_gathered
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.merge import execute_merge, plan_merge
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository import ZERO, BlockWriter, Kind, MapBuilder, Repository, point_id
from vmkeep.repository.blocks import writer
from vmkeep.repository.unlock import descriptor
from vmkeep.retention import RetentionRule
from vmkeep.testing import FaultyStore

CONTENT = {number: (b"%04d" % number) * (BLOCK // 4) for number in range(1, 9)} | {0: bytes(BLOCK)}
SIZE = 5
numbers = st.integers(0, 8)
which = st.integers(0, 1000)


AT_ONCE = replace(NONE, left_for=timedelta())


class PowerCut(BaseException):
    """The process dies here."""


@dataclass
class Run:
    """A backup that is open."""

    name: str
    begun: str
    number: int
    repository: Repository
    out: BlockWriter
    builder: MapBuilder
    blocks: list[int]
    todo: list[int]
    """Blocks that are still to be written, by their place."""
    root: str | None = None
    flushed: bool = field(default=False)


class Backups(RuleBasedStateMachine):
    """One disk of a few blocks, and everything that can happen to its repository."""

    @initialize()
    def begin(self):
        self.sizes = writer.PACK_SIZE, writer.PAGE_PACK_SIZE
        writer.PACK_SIZE, writer.PAGE_PACK_SIZE = 8 * BLOCK, 16384
        self.vault = Vault(AgingStore())
        descriptor.create(self.vault.store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
        self.disk = [1, 2, 3, 0, 0]
        self.runs: list[Run] = []
        self.plans = []

    def start(self, store=None, *, parent=None, name=None) -> Run:
        """Begin a try of a run: of a new one, or of one that others may be at work for."""
        self.vault.count += 1
        name = name or f"run-{self.vault.count}"
        repository = self.vault.open(store)
        begun = repository.begin_run(name)
        base = None if parent is None else repository.open_map(repository.load_point(parent).images[0].root)
        out = repository.open_writer(run=name, begun=begun)
        builder = repository.build_map(out, capacity=SIZE * BLOCK, base=base)
        old = [None] * SIZE if parent is None else self.vault.held[parent]
        todo = [at for at in range(SIZE) if old[at] != CONTENT[self.disk[at]]]
        return Run(name, begun, self.vault.count, repository, out, builder, list(self.disk), todo)

    def write(self, run: Run, count: int):
        for at in run.todo[:count]:
            block = CONTENT[run.blocks[at]]
            digest = run.repository.framer.digester.of(Kind.BLOCK, block)
            if any(block):
                run.out.add(Kind.BLOCK, digest, block)
                run.builder.set(at, [digest])
            else:
                run.builder.set(at, [ZERO])
        del run.todo[:count]

    def finish(self, run: Run):
        self.write(run, SIZE)
        run.root = run.builder.store()
        run.out.flush()

    def seal(self, run: Run):
        point = described(run.root, run.name, number=run.number, size=SIZE * BLOCK)
        point = replace(point, id=point_id(f"{run.name} {run.number}", "vm"))
        ref = run.repository.seal(point, begun=run.begun)
        self.vault.held[ref] = [CONTENT[number] for number in run.blocks]

    def drop(self, run: Run):
        died = PowerCut()
        run.out.__exit__(PowerCut, died, None)
        if run in self.runs:
            self.runs.remove(run)

    @rule(at=which, number=numbers)
    def guest_writes(self, at, number):
        self.disk[at % SIZE] = number

    @rule()
    def full_backup(self):
        run = self.start()
        self.finish(run)
        self.seal(run)
        self.drop(run)

    @precondition(lambda self: self.vault.held)
    @rule()
    def incremental_backup(self):
        run = self.start(parent=max(self.vault.held))
        self.finish(run)
        self.seal(run)
        self.drop(run)

    @precondition(lambda self: len(self.runs) < 3)
    @rule(incremental=st.booleans())
    def a_backup_begins(self, incremental):
        parent = max(self.vault.held) if incremental and self.vault.held else None
        self.runs.append(self.start(parent=parent))

    @precondition(lambda self: 0 < len(self.runs) < 3)
    @rule(number=which, incremental=st.booleans())
    def another_try_of_a_run_begins(self, number, incremental):
        parent = max(self.vault.held) if incremental and self.vault.held else None
        self.runs.append(self.start(parent=parent, name=self.runs[number % len(self.runs)].name))

    def of(self, number, stage):
        fitting = [run for run in self.runs if (run.root is not None) == stage]
        return fitting[number % len(fitting)] if fitting else None

    @precondition(lambda self: self.runs)
    @rule(number=which, flush=st.booleans())
    def it_writes_a_block(self, number, flush):
        if run := self.of(number, stage=False):
            try:
                self.write(run, 1)
                if flush:
                    run.out.flush()
            except (CorruptError, StaleError):  # its parent was forgotten, and swept; or it was taken for dead
                self.drop(run)

    @precondition(lambda self: self.runs)
    @rule(number=which)
    def it_has_written_all(self, number):
        if run := self.of(number, stage=False):
            try:
                self.finish(run)
            except (CorruptError, StaleError):  # its parent was forgotten, and swept; or it was taken for dead
                self.drop(run)

    @precondition(lambda self: self.runs)
    @rule(number=which)
    def it_seals_or_has_to_start_again(self, number):
        if run := self.of(number, stage=True):
            with suppress(StaleError):
                self.seal(run)
            self.drop(run)

    @precondition(lambda self: self.runs)
    @rule(number=which)
    def it_is_killed(self, number):
        self.drop(self.runs[number % len(self.runs)])

    @precondition(lambda self: self.vault.held)
    @rule(number=which)
    def a_point_is_deleted(self, number):
        refs = sorted(self.vault.held)
        self.vault.forget(refs[number % len(refs)])

    @rule(keep=st.sampled_from([None, 1, 2]), margins=st.sampled_from([NONE, NONE, AT_ONCE, Margins()]))
    def prune(self, keep, margins):
        self.execute(self.plan(keep, margins))

    @rule(keep=st.sampled_from([None, 2]))
    def a_prune_is_planned(self, keep):
        self.plans.append(self.plan(keep, NONE))

    @precondition(lambda self: self.plans)
    @rule(number=which)
    def an_old_plan_is_carried_out(self, number):
        self.execute(self.plans.pop(number % len(self.plans)))

    def plan(self, keep, margins, store=None):
        kept = None if keep is None else RetentionRule(keep_last=keep)
        return plan_prune(self.vault.open(store), kept, margins=margins, now=NOW)

    def execute(self, plan, store=None):
        try:
            report = execute(self.vault.open(store), plan)
            assert not report.lost_blocks
            assert not report.packs_damaged
        finally:
            there = {name.ref for name in self.vault.open().manifests.names()}
            planned = {verdict.point.ref for verdict in plan.forgotten}
            assert set(self.vault.held) - there <= planned
            self.vault.held = {ref: blocks for ref, blocks in self.vault.held.items() if ref in there}

    @rule(after=st.integers(0, 25), keep=st.sampled_from([None, 1]))
    def a_prune_dies(self, after, keep):
        faulty = FaultyStore(self.vault.store)
        faulty.fail("write", after=after, times=10**6, with_=PowerCut)
        with suppress(PowerCut):
            self.execute(self.plan(keep, NONE, faulty), faulty)

    @rule(after=st.integers(0, 8))
    def a_backup_dies(self, after):
        faulty = FaultyStore(self.vault.store)
        faulty.fail("write", after=after, times=10**6, with_=PowerCut)
        run = None
        try:
            run = self.start(faulty)
            self.finish(run)
            self.seal(run)
        except PowerCut:
            for point in self.vault.open().points():
                if run is not None and point.taken_at == described("", "", number=run.number, size=0).taken_at:
                    self.vault.held[point.ref] = [CONTENT[number] for number in run.blocks]
        finally:
            if run is not None:
                self.drop(run)

    @rule(after=st.none() | st.integers(0, 4), gathered=st.booleans())
    def the_index_is_merged(self, after, gathered):
        faulty = FaultyStore(self.vault.store)
        if after is not None:
            faulty.fail("write", after=after, times=10**6, with_=PowerCut)
        repository = self.vault.open(faulty)
        with suppress(PowerCut):
            if gathered:
                with few_are_many():
                    merge_gathered(repository)
            else:
                execute_merge(repository, plan_merge(repository))

    @rule()
    def days_pass(self):
        """Longer than ``Margins.left_for``: a run that goes on then finds that it was taken for dead."""
        self.vault.store.pass_time(hours=8 * 24)

    @invariant()
    def every_point_is_whole(self):
        if not hasattr(self, "vault"):
            return
        repository = self.vault.open()
        assert {point.ref for point in repository.points()} == set(self.vault.held)
        for ref, blocks in self.vault.held.items():
            assert read(repository, repository.load_point(ref).images[0].root) == blocks
        assert repository.check() == []

    def teardown(self):
        if not hasattr(self, "vault"):
            return
        for run in list(self.runs):
            self.drop(run)
        for _ in range(
            4
        ):  # dead runs go, then what only their intents kept is condemned, swept, and the sweep forgotten
            self.vault.store.pass_time(hours=8 * 24)
            self.vault.prune(margins=Margins())
        self.vault.assert_whole()
        # Nothing of all that happened is left, but for what points need.
        kinds = {blob.key.split("/")[0] for blob in self.vault.store.list("")}
        assert kinds <= {"vmkeep.json", "packs", "index", "points", "sealed"}
        assert {blob.key.removeprefix("sealed/") for blob in self.vault.store.list("sealed/")} == set(self.vault.held)
        assert self.vault.plan(margins=NONE).empty
        writer.PACK_SIZE, writer.PAGE_PACK_SIZE = self.sizes


def run(examples, steps):
    run_state_machine_as_test(
        Backups,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


def test_points_stay_whole_whatever_happens():
    run(examples=30, steps=20)


@pytest.mark.soak
def test_points_stay_whole_whatever_happens_for_long():
    run(examples=1000, steps=50)
