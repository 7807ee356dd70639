"""A pack without a footer gives back every good frame, whatever a guest's data looks like."""

from __future__ import annotations

import random

import pytest

from tests.unit.maintenance.conftest import BLOCK, Vault, small_packs
from vmkeep.maintenance.repair import repair_index
from vmkeep.repository import Kind, ReadBuffers, Wanted
from vmkeep.repository.frames.packs import PACK_HEADER_SIZE, pack_key
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore

__all__ = ["small_packs"]


@pytest.fixture
def vault():
    store = MemoryStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="none"))
    return Vault(store)


def holding_frames(vault, kind, count):
    """Return a guest's block that looks like the inside of a repository on its disk."""
    framer = vault.open().framer
    box, inner = framer.box("any name"), b""
    for number in range(count):
        content = random.Random(number).randbytes(2048)
        inner += box.wrap(kind, content)
    return random.Random(99).randbytes(500) + inner.ljust(BLOCK - 500, b"\0")


def lose_index_and_footer(vault, pack):
    for blob in list(vault.store.list("index/")):
        vault.store.delete(blob.key)
    vault.store.replace(pack_key(pack), vault.store.get(pack_key(pack))[:-1])


@pytest.mark.parametrize("hit", ["its content", "its header"])
@pytest.mark.parametrize("head", ["good", "damaged"])
@pytest.mark.parametrize("kind", [Kind.PAGE, Kind.BLOCK, Kind.MANIFEST])
def test_a_damaged_block_that_holds_frames_costs_no_other_block(vault, kind, head, hit):
    blocks = [random.Random(number).randbytes(BLOCK) for number in (1, 2)]
    blocks.insert(1, holding_frames(vault, kind, 20))
    vault.back_up(blocks)
    repository = vault.open()
    place = repository.open_blocks().locate(Kind.BLOCK, repository.framer.digester.of(Kind.BLOCK, blocks[1]))
    lose_index_and_footer(vault, place.pack)
    raw = bytearray(vault.store.get(pack_key(place.pack)))
    raw[place.offset + (100 if hit == "its content" else 1)] ^= 1
    if head == "damaged":
        raw[PACK_HEADER_SIZE - 1] ^= 1
    vault.store.replace(pack_key(place.pack), bytes(raw))

    report = repair_index(vault.open())

    assert place.pack.hex() in report.packs_listed
    found = vault.open()
    for number in (0, 2):
        digest = found.framer.digester.of(Kind.BLOCK, blocks[number])
        assert found.index.known(digest)
        location = found.open_blocks().locate(Kind.BLOCK, digest)
        assert location.pack == place.pack
        wanted = Wanted(digest, location, BLOCK, (number,))
        (batch,) = found.open_blocks().plan([wanted])
        assert [bytes(content) for _, content in found.open_blocks().read(batch, ReadBuffers())] == [blocks[number]]
