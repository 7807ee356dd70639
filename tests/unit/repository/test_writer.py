"""One writer, many threads: nothing is findable before it is durable, nothing counts as stored that failed."""

from __future__ import annotations

import threading

import pytest

from tests.patience import HANG
from vmkeep.errors import StoreError
from vmkeep.repository import Kind
from vmkeep.repository.blocks.writer import BlockWriter
from vmkeep.repository.frames.frames import Framer
from vmkeep.testing import MemoryStore


class GatedStore(MemoryStore):
    """Stores packs only when it is told to."""

    def __init__(self):
        super().__init__()
        self.asked, self.gate = threading.Event(), threading.Event()

    def put(self, key, data):
        if key.startswith("packs/"):
            self.asked.set()
            assert self.gate.wait(HANG)
        return super().put(key, data)


@pytest.fixture
def gated(make):
    store = GatedStore()
    made = make(store)
    yield made
    store.gate.set()


def add(writer: BlockWriter, framer: Framer, content: bytes) -> int:
    return writer.add(Kind.BLOCK, framer.digester.of(Kind.BLOCK, content), content)


def test_after_a_block_that_could_not_be_stored_nothing_is_flushed(repository, monkeypatch):
    """Another thread may have been told meanwhile that the block is there already."""
    pack = Framer.pack

    def refuse(framer, kind, digest, raw):
        if raw == b"bad":
            raise MemoryError
        return pack(framer, kind, digest, raw)

    monkeypatch.setattr(Framer, "pack", refuse)
    with repository.open_writer(run="r") as writer:
        add(writer, repository.framer, b"good")
        with pytest.raises(MemoryError):
            add(writer, repository.framer, b"bad")
        assert add(writer, repository.framer, b"bad") == 0

        with pytest.raises(StoreError, match="start the copy again"):
            writer.flush()

    assert list(repository.blobs.list("index/")) == []


def test_a_block_whose_pack_is_on_its_way_is_neither_stored_again_nor_named_yet(gated):
    store = gated.blobs
    with gated.open_writer(run="r") as writer:
        assert add(writer, gated.framer, b"block") > 0
        flushing = threading.Thread(target=writer.flush, daemon=True)
        flushing.start()
        assert store.asked.wait(HANG)

        assert add(writer, gated.framer, b"block") == 0
        assert list(store.list("index/")) == []
        store.gate.set()
        flushing.join(HANG)

        assert len(list(store.list("index/"))) == 1
        assert add(writer, gated.framer, b"block") == 0
        writer.flush()
    assert len(list(store.list("packs/"))) == 1


def test_what_is_added_while_a_flush_waits_for_the_store_is_flushed_by_the_next_one(gated):
    store = gated.blobs
    with gated.open_writer(run="r") as writer:
        add(writer, gated.framer, b"one")
        flushing = threading.Thread(target=writer.flush, daemon=True)
        flushing.start()
        assert store.asked.wait(HANG)
        add(writer, gated.framer, b"two")
        store.gate.set()
        flushing.join(HANG)
        digests = [gated.framer.digester.of(Kind.BLOCK, content) for content in (b"one", b"two")]
        assert [writer.knows(digest) for digest in digests] == [True, False]

        writer.flush()

        assert [writer.knows(digest) for digest in digests] == [True, True]
    assert gated.check(read_data=True) == []


def test_a_flush_waits_for_blocks_that_others_already_rely_on(repository, monkeypatch):
    """A second thread was told "known": its map may be sealed right after the flush."""
    pack = Framer.pack
    packing, go_on = threading.Event(), threading.Event()

    def slow(framer, kind, digest, raw):
        packing.set()
        assert go_on.wait(HANG)
        return pack(framer, kind, digest, raw)

    monkeypatch.setattr(Framer, "pack", slow)
    with repository.open_writer(run="r") as writer:
        adding = threading.Thread(target=add, args=(writer, repository.framer, b"block"), daemon=True)
        adding.start()
        assert packing.wait(HANG)
        assert add(writer, repository.framer, b"block") == 0
        flushing = threading.Thread(target=writer.flush, daemon=True)
        flushing.start()
        flushing.join(0.2)
        assert flushing.is_alive()
        go_on.set()
        flushing.join(HANG)

        assert writer.knows(repository.framer.digester.of(Kind.BLOCK, b"block"))


def test_a_flush_of_nothing_new_writes_nothing(repository):
    with repository.open_writer(run="r") as writer:
        add(writer, repository.framer, b"block")
        writer.flush()
        stored = writer.bytes_stored
        writer.flush()

        assert writer.bytes_stored == stored
    assert len(list(repository.blobs.list("index/"))) == 1
