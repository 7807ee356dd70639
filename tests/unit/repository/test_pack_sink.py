"""Packs are stored behind the copy's back; who waits for some of them does not wait for those that come later."""

from __future__ import annotations

import threading

import pytest

from tests.patience import HANG, eventually
from vmkeep.errors import StoreError
from vmkeep.repository.blocks.sink import PackSink
from vmkeep.repository.frames.codecs import Codec
from vmkeep.repository.frames.digests import Kind
from vmkeep.repository.frames.frames import Framer
from vmkeep.repository.frames.packs import OpenPack, pack_key
from vmkeep.testing import MemoryStore

FRAMER = Framer(codec=Codec.NONE)


class GatedStore(MemoryStore):
    """Lets a put through only when it is told to."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.asked = threading.Event()

    def put(self, key, data):
        self.asked.set()
        assert self.gate.acquire(timeout=HANG)
        return super().put(key, data)


@pytest.fixture
def make_sink():
    sinks = []

    def make(store, **fields):
        given = {"threads": 1, "buffers": 3, "size": 4096, "landed": lambda _contents: None}
        sinks.append(PackSink(store, **(given | fields)))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def submit(sink, number):
    pack = OpenPack(Kind.BLOCK, sink.room(), FRAMER)
    content = b"block %d" % number
    pack.append(FRAMER.pack(Kind.BLOCK, FRAMER.digester.of(Kind.BLOCK, content), content))
    sink.submit(pack)
    return pack_key(pack.id)


def test_a_drain_does_not_wait_for_packs_that_come_later(make_sink):
    store = GatedStore()
    sink = make_sink(store)
    first = submit(sink, 1)
    looking = threading.Event()
    drained = threading.Event()

    def drain():
        looking.set()
        sink.drain()
        drained.set()

    waiting = threading.Thread(target=drain, daemon=True)
    waiting.start()
    looking.wait(HANG)
    waiting.join(0.2)  # by now it waits for the first pack only
    submit(sink, 2)
    store.gate.release()

    assert drained.wait(HANG), "a copy that is faster than its store would never get to a checkpoint"
    assert [blob.key for blob in store.list("packs/")] == [first]
    store.gate.release(2)


def test_a_drain_waits_for_every_pack_before_it(make_sink):
    store = GatedStore()
    landed = []

    def durable(contents):
        store.size(pack_key(contents.pack_id))  # raises if the index could name a pack before it is there
        landed.append(contents)

    sink = make_sink(store, threads=2, landed=durable)
    keys = {submit(sink, number) for number in range(3)}
    store.gate.release(3)

    sink.drain()

    assert {blob.key for blob in store.list("packs/")} == keys
    assert {pack_key(contents.pack_id) for contents in landed} == keys


def test_who_waits_for_a_buffer_is_told_that_storing_failed(make_sink):
    class Broken(MemoryStore):
        def put(self, key, data):
            raise StoreError("gone")

    sink = make_sink(Broken(), buffers=2)
    submit(sink, 1)

    def submit_more():  # than there are buffers, of which none comes back
        for number in (2, 3):
            submit(sink, number)

    with pytest.raises(StoreError, match="gone"):
        submit_more()
    with pytest.raises(StoreError, match="gone"):
        sink.drain()


def test_a_closed_sink_stores_nothing_that_still_waits_and_wakes_who_waits(make_sink):
    store = GatedStore()
    sink = make_sink(store, buffers=2)
    submit(sink, 1)
    submit(sink, 2)
    assert store.asked.wait(HANG)
    errors = []

    def want_buffer():
        try:
            sink.room()
        except RuntimeError as error:
            errors.append(str(error))

    waiting = threading.Thread(target=want_buffer, daemon=True)
    waiting.start()
    closing = threading.Thread(target=sink.close, daemon=True)
    closing.start()
    waiting.join(HANG)
    store.gate.release(2)
    closing.join(HANG)

    assert errors == ["the writer is closed"]
    assert len(list(store.list("packs/"))) == 1


def test_a_pack_that_others_have_stored_in_part_is_filled_again_unless_somebody_waits(make_sink):
    store = MemoryStore()
    reviewing, go_on = threading.Event(), threading.Event()
    told = []

    def review(pack, to_fill):
        told.append(to_fill)
        reviewing.set()
        assert go_on.wait(HANG)
        return not to_fill

    sink = make_sink(store, review=review)
    go_on.set()
    first = submit(sink, 1)
    again = eventually(lambda: _handed_back(sink))
    assert pack_key(again.id) == first

    go_on.clear()
    reviewing.clear()
    sink.submit(again)
    assert reviewing.wait(HANG)
    sink.take_back()  # while the review still believes that the pack may be filled
    go_on.set()
    sink.drain()

    assert [blob.key for blob in store.list("packs/")] == [first]
    assert told == [True, True, False]


def _handed_back(sink):
    room = sink.room()
    return room if isinstance(room, OpenPack) else None


def test_a_pack_of_which_nothing_is_left_is_not_stored(make_sink):
    store = MemoryStore()

    def review(pack, _to_fill):
        pack.drop({pack.digests})
        return False

    sink = make_sink(store, review=review, buffers=1)
    submit(sink, 1)
    sink.drain()

    assert list(store.list("packs/")) == []
    submit(sink, 2)  # whose buffer came back
