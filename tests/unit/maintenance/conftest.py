"""Repositories in memory whose store has a clock that tests set, and whose packs are small."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.sealed import CHEAP, PASSPHRASE, opened, remove_on_purpose
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity
from vmkeep.repository import Kind, Repository, point_id
from vmkeep.repository.blocks import writer
from vmkeep.repository.checks.packcheck import pack_id_of
from vmkeep.repository.opening import create_encrypted_in
from vmkeep.repository.unlock import descriptor, slots
from vmkeep.testing import MemoryStore

BLOCK = 65536
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NONE = Margins(young_for=timedelta(), condemned_for=timedelta(), waste=0.25)
"""Margins by which unreached data goes at once; remains of dead processes stay, because nobody is dead here."""


class AgingStore(MemoryStore):
    """Memory with a clock of its own, which only tests move."""

    def __init__(self):
        super().__init__()
        self.time = datetime(2001, 1, 1, tzinfo=UTC)
        self._stamps = {}

    def put(self, key, data):
        created = super().put(key, data)
        if created:
            self._stamps[key] = self.time
        return created

    def replace(self, key, data):
        super().replace(key, data)
        self._stamps[key] = self.time

    def list(self, prefix):
        for blob in super().list(prefix):
            yield replace(blob, modified=self._stamps[blob.key])

    def pass_time(self, hours):
        self.time += timedelta(hours=hours)

    def twin(self):
        """Return another store with the same blobs."""
        other = AgingStore()
        other._blobs, other._stamps, other.time = dict(self._blobs), dict(self._stamps), self.time
        return other


@dataclass
class Vault:
    """A repository and what its points hold."""

    store: AgingStore
    held: dict[str, list[bytes]] = field(default_factory=dict)
    """Ref → blocks."""
    count: int = 0

    def open(self, store=None) -> Repository:
        return opened(store or self.store)

    def back_up(self, blocks, *, vm="vm", store=None, policy=None):
        """Store a disk of whole blocks and seal it; return its ref."""
        self.count += 1
        run = f"run-{self.count}"
        repository = self.open(store)
        with repository.open_writer(run=run) as out:
            root = write(repository, out, blocks)
            out.flush()
        point = described(root, run, number=self.count, size=len(blocks) * BLOCK, vm=vm)
        ref = repository.seal(replace(point, policy=policy))
        self.held[ref] = list(blocks)
        return ref

    def forget(self, ref):
        remove_on_purpose(self.store, ref)
        del self.held[ref]

    def prune(self, *, rule=None, margins=NONE, store=None):
        repository = self.open(store)
        return execute(repository, plan_prune(repository, rule, margins=margins, now=NOW))

    def plan(self, *, rule=None, margins=NONE):
        return plan_prune(self.open(), rule, margins=margins, now=NOW)

    @property
    def packs(self):
        return {pack_id_of(blob.key) for blob in self.store.list("packs/")}

    def assert_whole(self):
        """Every point reads as it was, and a check of all data finds nothing."""
        repository = self.open()
        assert {point.ref for point in repository.points()} == set(self.held)
        for ref, blocks in self.held.items():
            assert read(repository, repository.load_point(ref).images[0].root) == blocks
        assert repository.check(read_data=True) == []


def write(repository, out, blocks):
    """Add a disk to a writer and return its map's root."""
    builder = repository.build_map(out, capacity=len(blocks) * BLOCK)
    for number, block in enumerate(blocks):
        if any(block):
            digest = repository.framer.digester.of(Kind.BLOCK, block)
            out.add(Kind.BLOCK, digest, block)
            builder.set(number, [digest])
    return builder.store()


def read(repository, root):
    """Return the blocks of a disk."""
    from vmkeep.repository import ReadBuffers, Wanted

    disk = repository.open_map(root)
    blocks = [bytes(BLOCK)] * disk.shape.blocks
    reader = repository.open_blocks()
    wanted = [Wanted(digest, reader.locate(Kind.BLOCK, digest), BLOCK, (number,)) for number, digest in disk.blocks()]
    for batch in reader.plan(wanted):
        for frame, content in reader.read(batch, ReadBuffers()):
            blocks[frame.places[0]] = bytes(content)
    return blocks


def described(root, run, *, number, size, vm="vm"):
    """Return a restore point of one disk."""
    disk = Disk(
        key=2000, label="Hard disk 1", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController",
        bus=0, unit=0, capacity=size, backing="FlatVer2", file_name="x.vmdk",
    )  # fmt: skip
    return RestorePoint(
        id=point_id(run, vm), vm=VmIdentity(name=vm, key=vm), taken_at=NOW - timedelta(hours=1000 - number), run=run,
        mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE,
        consistency=Consistency.CRASH,
        images=(DiskImage(disk=disk, root=root, kind=BackupKind.FULL, reason="test"),),
    )  # fmt: skip


def block(seed):
    """Return a block that does not compress; 0 is zeros."""
    return random.Random(seed).randbytes(BLOCK) if seed else bytes(BLOCK)


@pytest.fixture(autouse=True)
def small_packs(monkeypatch):
    monkeypatch.setattr(writer, "PACK_SIZE", 16 * BLOCK)
    monkeypatch.setattr(writer, "PAGE_PACK_SIZE", 16384)


@pytest.fixture(params=["plain", "encrypted"])
def vault(request, monkeypatch):
    store = AgingStore()
    made = descriptor.new_descriptor(block_size=BLOCK, compression="zstd")
    if request.param == "plain":
        descriptor.create(store, made)
    else:
        monkeypatch.setattr(slots, "COST", CHEAP)
        create_encrypted_in(store, made, passphrase=PASSPHRASE)
    return Vault(store)
