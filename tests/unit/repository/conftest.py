"""Repositories in memory, and the pieces that repository tests are made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity
from vmkeep.repository import Repository
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore


def make_repository(store=None, *, block_size=65536, compression="zstd") -> Repository:
    store = MemoryStore() if store is None else store
    made = descriptor.new_descriptor(block_size=block_size, compression=compression)
    descriptor.create(store, made)
    return Repository(store, made)


@pytest.fixture
def repository() -> Repository:
    return make_repository()


@pytest.fixture
def make():
    return make_repository


DISK = Disk(
    key=2000,
    label="Hard disk 1",
    controller=ControllerKind.SCSI,
    controller_type="ParaVirtualSCSIController",
    bus=0,
    unit=0,
    capacity=1 << 20,
    backing="FlatVer2",
    file_name="[ds] vm/vm.vmdk",
)


@pytest.fixture
def point():
    """A restore point with no disk; give it images and what else matters."""

    def build(*roots: str, **fields) -> RestorePoint:
        images = tuple(
            DiskImage(
                disk=replace(DISK, key=2000 + number, unit=number), root=root, kind=BackupKind.FULL, reason="first"
            )
            for number, root in enumerate(roots)
        )
        given: dict[str, Any] = {
            "id": "0123456789abcdef",
            "vm": VmIdentity(name="web", key="5021-ab"),
            "taken_at": datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
            "run": "run/1",
            "mode_asked": BackupMode.ASIS,
            "mode_used": BackupMode.ASIS,
            "quiesce_asked": Quiesce.NONE,
            "consistency": Consistency.CRASH,
            "images": images,
        }
        return RestorePoint(**(given | fields))

    return build
