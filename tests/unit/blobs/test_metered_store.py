"""Counts of a meter, and errors that it does not count as failures."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from vmkeep.blobs import Meter, open_store
from vmkeep.blobs.wrappers.metered import MeteredStore
from vmkeep.errors import BlobNotFoundError, ConflictError, StoreError
from vmkeep.repository import create_repository, open_repository
from vmkeep.testing import FaultyStore, MemoryStore


@pytest.fixture
def meter():
    return Meter()


def counts(meter):
    return {verb.verb: (verb.calls, verb.bytes_moved, verb.errors) for verb in meter.report()}


def test_every_verb_is_counted_with_the_bytes_that_moved(meter):
    store = MeteredStore(MemoryStore(), meter)

    store.put("a/b", b"12345")
    store.replace("a/c", b"123")
    store.get("a/b")
    store.get_range("a/b", 3, 100)
    store.get_into("a/b", 4, memoryview(bytearray(100)))
    store.size("a/b")
    assert len(list(store.list(""))) == 2
    store.delete("a/c")
    store.check_writable()

    assert counts(meter) == {
        "put": (1, 5, 0), "replace": (1, 3, 0), "get": (1, 5, 0), "get_range": (1, 2, 0), "get_into": (1, 1, 0),
        "size": (1, 0, 0), "list": (1, 0, 0), "delete": (1, 0, 0), "check_writable": (1, 0, 0),
    }  # fmt: skip


def test_failures_are_counted_but_answers_are_none(meter):
    faulty = FaultyStore(MemoryStore())
    faulty.fail("get", with_=StoreError("reset"))
    faulty.fail("list", with_=StoreError("reset"))
    store = MeteredStore(faulty, meter)
    store.put("a", b"1")

    for error, call in (
        (StoreError, lambda: store.get("a")),
        (BlobNotFoundError, lambda: store.get("b")),
        (ConflictError, lambda: store.put("a", b"2")),
    ):
        with pytest.raises(error):
            call()
    with pytest.raises(StoreError):
        list(store.list(""))

    assert counts(meter) == {"put": (2, 1, 0), "get": (2, 0, 1), "list": (1, 0, 1)}


def test_a_listing_that_the_caller_leaves_is_one_call_and_no_failure(meter):
    store = MeteredStore(MemoryStore(), meter)
    for key in ("a", "b", "c"):
        store.put(key, b"1")

    assert next(store.list("")).key == "a"

    assert counts(meter)["list"] == (1, 0, 0)


def test_a_meter_reads_as_one_line(meter):
    assert str(meter) == ""
    meter.count("put", bytes_moved=3 << 20, seconds=1.25)
    meter.count("put", bytes_moved=1 << 20, seconds=0.25, failed=True)
    meter.count("list", seconds=0.1)

    assert str(meter) == "put 2 (4.0 MiB, 1.5 s, 1 failed), list 1 (0.1 s)"


def test_threads_lose_no_count(meter):
    store = MeteredStore(MemoryStore(), meter)

    def work():
        for _ in range(500):
            with suppress(BlobNotFoundError):
                store.size("nothing")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts(meter) == {"size": (2000, 0, 0)}


def test_an_opened_repository_tells_what_it_asked_of_its_store(tmp_path):
    create_repository(str(tmp_path))

    with open_repository(str(tmp_path)) as repository:
        list(repository.points())

    assert {"list", "get_range"} <= set(counts(repository.meter))


def test_every_attempt_at_an_opened_store_is_counted(tmp_path, meter):
    store = open_store(str(tmp_path), meter=meter)

    store.put("a", b"content")
    assert store.get("a") == b"content"

    assert counts(meter) == {"put": (1, 7, 0), "get": (1, 7, 0)}
