"""Any sequence of writes, growth, backups and crashes against a dict model: every point restores to what was."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.sealed import opened
from vmkeep.model.extents import Extent, coalesce
from vmkeep.repository.blocks import writer
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import FaultyStore, MemoryStore
from vmkeep.transfer.storing import back_up_disk
from vmkeep.transfer.writing import restore_disk

BLOCK = 65536
SECTOR = 512


class PowerCut(BaseException):
    """The process dies here."""


class Disk:
    """A disk in memory; reading is done by one thread at a time."""

    transport = "memory"

    def __init__(self, content):
        self.content = content
        self.capacity = len(content)

    def allocated(self):
        return None

    def open_reader(self, extents, *, piece_size, depth):
        from contextlib import nullcontext
        from threading import Lock
        from types import SimpleNamespace

        from vmkeep.model.extents import split

        pieces, lock = split(extents, piece_size), Lock()

        def next_piece():
            with lock:
                extent = next(pieces, None)
            if extent is None:
                return None
            data = memoryview(bytes(self.content[extent.start : extent.stop]))
            return SimpleNamespace(start=extent.start, data=data, release=lambda: None)

        return nullcontext(SimpleNamespace(next_piece=next_piece))

    def write(self, start, data):
        self.content[start : start + len(data)] = data

    def write_zeroes(self, start, length):
        self.content[start : start + length] = bytes(length)

    def flush(self):
        pass


class Backups(RuleBasedStateMachine):
    """Points of one growing disk."""

    @initialize(sectors=st.integers(1, 40 * 128))
    def begin(self, sectors):
        writer.PACK_SIZE = 3 * BLOCK
        self.store = MemoryStore()
        descriptor.create(self.store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
        self.content = bytearray(sectors * SECTOR)
        self.changed: list[Extent] = []
        self.points: list[tuple[str, bytes]] = []

    def open(self, store=None):
        store = store or self.store
        return opened(store)

    @rule(at=st.integers(0, 1 << 30), length=st.integers(1, 300), value=st.integers(0, 3))
    def guest_writes(self, at, length, value):
        start = at % (len(self.content) // SECTOR) * SECTOR
        stop = min(len(self.content), start + length * SECTOR)
        self.content[start:stop] = bytes([value]) * (stop - start)
        self.changed.append(Extent(start, stop))

    @rule(sectors=st.sampled_from([1, 100, 128, 64 * 128]))
    def disk_grows(self, sectors):
        if len(self.content) < 150 * BLOCK:
            self.content += bytes(sectors * SECTOR)

    def take(self, store, extents, parent):
        return back_up_disk(
            Disk(self.content), self.open(store), run="r", extents=extents, parent_root=parent, cursor=None,
            snapshot=None, piece_size=2 * BLOCK, depth=2, on_progress=lambda _: None, check=lambda: None,
        )  # fmt: skip

    def sealed(self, stored):
        self.points.append((stored.root, bytes(self.content)))
        self.changed = []

    @rule()
    def full_backup(self):
        self.sealed(self.take(self.store, None, None))

    @precondition(lambda self: self.points)
    @rule(wider=st.integers(0, 3))
    def incremental_backup(self, wider):
        size = len(self.content)
        superset = coalesce(
            Extent(max(0, e.start - wider * SECTOR), min(size, e.stop + wider * SECTOR)) for e in self.changed
        )
        stored = self.take(self.store, superset, self.points[-1][0])
        self.sealed(stored)
        assert stored.root == self.take(self.store, None, None).root

    @rule(after=st.integers(0, 5))
    def backup_dies(self, after):
        faulty = FaultyStore(self.store)
        faulty.fail("write", after=after, times=10**6, with_=PowerCut)
        try:
            self.take(faulty, None, None)
        except PowerCut:
            pass

    @precondition(lambda self: self.points)
    @rule(number=st.integers(0, 1000), fresh=st.booleans())
    def restore(self, number, fresh):
        root, held = self.points[number % len(self.points)]
        target = Disk(bytearray(len(held)) if fresh else bytearray(b"x" * len(held)))
        restore_disk(self.open(), root, target, fresh=fresh, on_progress=lambda _: None, check=lambda: None)
        assert target.content == held

    @precondition(lambda self: len(self.points) > 1)
    @rule()
    def apply_the_chain_forward(self):
        """Going from point to point on one target gives each of them."""
        target = Disk(bytearray(len(self.points[-1][1])))
        for root, held in self.points:
            restore_disk(self.open(), root, target, fresh=False, on_progress=lambda _: None, check=lambda: None)
            assert target.content[: len(held)] == held
            assert not any(target.content[len(held) :])

    @invariant()
    def the_repository_is_healthy(self):
        if hasattr(self, "store"):
            assert self.open().check(read_data=False) == []

    def teardown(self):
        writer.PACK_SIZE = 64 << 20
        if hasattr(self, "store"):
            for root, held in self.points:
                target = Disk(bytearray(len(held)))
                restore_disk(self.open(), root, target, fresh=True, on_progress=lambda _: None, check=lambda: None)
                assert target.content == held
            assert self.open().check(read_data=True) == []


TestBackups = Backups.TestCase
TestBackups.settings = settings(
    max_examples=50, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
