"""Memory of a copy does not grow with its disk, nor with how scattered the disk is: rule 8 of docs/format.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vmkeep.repository import Kind, Repository
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore
from vmkeep.transfer import mapcopy
from vmkeep.transfer.mapcopy import MapCopy

BOUND_MIB = 40


@pytest.mark.parametrize("case", ["sparse", "fragments", "cleared", "restored"])
def test_memory_is_bounded_for_huge_and_scattered_disks(case):
    command = [sys.executable, str(Path(__file__).with_name("huge_disks.py")), case]

    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert grown < BOUND_MIB


def test_a_copy_remembers_only_what_it_stored_since_its_last_flush(repository, disk, back_up, monkeypatch):
    monkeypatch.setattr(mapcopy, "_AT_ONCE", 4)
    monkeypatch.setattr(mapcopy, "_FLUSHED_AT", 8)
    blocks = [number.to_bytes(2, "big") * (repository.block_size // 2) for number in range(1, 41)]
    root = back_up(disk(b"".join(blocks)), repository).root
    store = MemoryStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=repository.block_size, compression="zstd"))
    target = Repository(store, descriptor.load(store))

    with target.open_writer(run="copy") as out:
        MapCopy(repository, target, root).run(out)
        findable = Repository(store, descriptor.load(store)).index
        digests = [repository.framer.digester.of(Kind.BLOCK, block) for block in blocks]
        assert all(findable.known(digest) for digest in digests)
