"""A VM of one small disk, backed up again and again into a store that may lose its power."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.sealed import CHEAP, PASSPHRASE, opened
from vmkeep.images.diskfiles import LocalFileSource
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.extents import Extent, coalesce
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity
from vmkeep.repository import point_id
from vmkeep.repository.blocks import writer
from vmkeep.repository.opening import create_encrypted_in
from vmkeep.repository.unlock import descriptor, slots
from vmkeep.testing import MemoryStore
from vmkeep.transfer.storing import back_up_disk
from vmkeep.transfer.writing import restore_disk

BLOCK = 65536
_START = datetime(2026, 5, 4, tzinfo=UTC)


class PowerCut(BaseException):
    """The process dies here: not an ``Exception``, so no handler may tidy up after it."""


class Target:
    """A disk in memory to restore to."""

    transport = "memory"

    def __init__(self, capacity, content=None):
        self.capacity = capacity
        self.content = bytearray(capacity) if content is None else bytearray(content)

    def allocated(self):
        return None

    def write(self, start, data):
        self.content[start : start + len(data)] = data

    def write_zeroes(self, start, length):
        self.content[start : start + length] = bytes(length)

    def flush(self):
        pass


@dataclass
class Vm:
    """A disk's file, what it held at each seal, and how to back it up."""

    path: Path
    held: dict[str, bytes] = field(default_factory=dict)
    """Ref → content."""

    def write(self, at, data):
        with self.path.open("r+b") as file:
            file.seek(at)
            file.write(data)

    def back_up(self, store, run, *, extents=None, parent=None, check=lambda: None):
        repository = opened(store)
        content = self.path.read_bytes()
        with LocalFileSource(self.path) as source:
            stored = back_up_disk(
                source, repository, run=run, extents=extents, parent_root=parent, cursor=None, snapshot=run,
                piece_size=BLOCK, depth=2, on_progress=lambda _: None, check=check,
            )  # fmt: skip
        disk = Disk(
            key=2000, label="Hard disk 1", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController",
            bus=0, unit=0, capacity=len(content), backing="FlatVer2", file_name="x.vmdk",
        )  # fmt: skip
        kind = BackupKind.INCREMENTAL if parent else BackupKind.FULL
        point = RestorePoint(
            id=point_id(run, "vm"), vm=VmIdentity(name="web", key="vm"),
            taken_at=_START + timedelta(hours=int(run.rpartition("-")[2])), run=run,
            mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE,
            consistency=Consistency.CRASH,
            images=(DiskImage(disk=disk, root=stored.root, kind=kind, reason="test"),),
            attachments={"extents/2000": stored.extents_root},
        )  # fmt: skip
        ref = repository.seal(point)
        self.held[ref] = content
        return point

    def assert_every_sealed_point_is_readable(self, store, *, at_least=()):
        repository = opened(store)
        refs = []
        for point in repository.points():
            refs.append(point.ref)
            image = point.images[0]
            target = Target(image.disk.capacity)
            restore_disk(repository, image.root, target, fresh=True, on_progress=lambda _: None, check=lambda: None)
            assert target.content == self.held.get(point.ref, target.content)
            repository.load_attachment(point, "extents/2000")
        assert set(at_least) <= set(refs)
        assert repository.check(read_data=True) == []


@pytest.fixture
def vm(tmp_path):
    path = tmp_path / "disk.raw"
    chance = random.Random(1)
    path.write_bytes(chance.randbytes(6 * BLOCK) + bytes(70 * BLOCK) + b"text" * BLOCK + chance.randbytes(512))
    return Vm(path)


@pytest.fixture
def changes():
    """Change a VM's disk; return extents that cover it, and a little more."""

    def change(vm, seed):
        chance = random.Random(seed)
        capacity = vm.path.stat().st_size
        extents = []
        for _ in range(4):
            at = chance.randrange(capacity // 512 - 300) * 512
            vm.write(at, chance.randbytes(chance.randrange(1, 200) * 512))
            extents.append(Extent(at, min(capacity, at + 300 * 512)))
        return coalesce(extents)

    return change


@pytest.fixture(params=["plain", "encrypted"])
def store(request, monkeypatch):
    store = MemoryStore()
    made = descriptor.new_descriptor(block_size=BLOCK, compression="zstd")
    if request.param == "plain":
        descriptor.create(store, made)
    else:
        monkeypatch.setattr(slots, "COST", CHEAP)
        create_encrypted_in(store, made, passphrase=PASSPHRASE)
    return store


@pytest.fixture(autouse=True)
def small_packs(monkeypatch):
    monkeypatch.setattr(writer, "PACK_SIZE", 3 * BLOCK)
    monkeypatch.setattr(writer, "PAGE_PACK_SIZE", 8192)


@pytest.fixture
def power_cut():
    return PowerCut


@pytest.fixture
def target():
    return Target
