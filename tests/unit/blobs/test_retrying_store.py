"""Calls that are tried again, with their number of tries, and calls that are not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vmkeep.blobs.wrappers import retrying
from vmkeep.blobs.wrappers.retrying import RetryingStore
from vmkeep.blobs.wrappers.settling import SettlingStore
from vmkeep.errors import AuthenticationError, BlobNotFoundError, ConflictError, StoreError, StoreFullError
from vmkeep.testing import FaultyStore, MemoryStore


@pytest.fixture
def faulty():
    return FaultyStore(MemoryStore())


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def store(faulty, pauses):
    return RetryingStore(SettlingStore(faulty), sleep=pauses.append)


@pytest.mark.parametrize(
    ("call", "ask"),
    [
        ("get", lambda store: store.get("a/b")),
        ("get_range", lambda store: store.get_range("a/b", 0, 9)),
        ("get_into", lambda store: store.get_into("a/b", 0, memoryview(bytearray(9)))),
        ("size", lambda store: store.size("a/b")),
        ("list", lambda store: list(store.list("a/"))),
        ("delete", lambda store: store.delete("a/b")),
        ("check_writable", lambda store: store.check_writable()),
        ("put", lambda store: store.put("a/new", b"1")),
    ],
)
def test_a_call_that_failed_is_made_again(faulty, store, pauses, call, ask):
    store.put("a/b", b"content")
    faulty.fail(call, with_=StoreError("connection reset"), times=3)

    ask(store)

    assert len(pauses) == 3
    assert all(0 <= pause <= 0.25 * 2**number for number, pause in enumerate(pauses))


def test_a_create_whose_reply_was_lost_is_not_made_again(faulty, store, pauses):
    faulty.fail("put", with_=StoreError("connection reset"), reply_lost=True)

    assert store.put("points/a", b"write id 1") is True
    assert pauses == []
    with pytest.raises(ConflictError):
        store.put("points/a", b"write id 2")


@pytest.mark.parametrize("error", [StoreFullError("full"), AuthenticationError("no"), BlobNotFoundError("none")])
def test_what_cannot_pass_is_not_tried_again(faulty, store, pauses, error):
    faulty.fail("get", with_=error)

    with pytest.raises(type(error)):
        store.get("a/b")
    assert pauses == []


def test_replacing_is_not_tried_again(faulty, store, pauses):
    faulty.fail("replace", with_=StoreError("connection reset"))

    with pytest.raises(StoreError, match="connection reset"):
        store.replace("runs/x/lease", b"1")
    assert pauses == []


def test_the_last_error_is_raised_when_the_budget_is_spent(faulty):
    faulty.fail("get", with_=StoreError("connection reset"), times=1000)

    with pytest.raises(StoreError, match="connection reset"):
        RetryingStore(faulty, budget=0.3).get("a/b")
    assert 1 < len(faulty.calls) < 1000


def test_without_a_budget_nothing_is_tried_again(faulty):
    faulty.fail("get", with_=StoreError("connection reset"))

    with pytest.raises(StoreError):
        RetryingStore(faulty, budget=0).get("a/b")
    assert len(faulty.calls) == 1


def test_the_budget_counts_from_the_first_failure_and_no_pause_is_long(faulty, monkeypatch):
    clock, pauses = [1000.0], []

    def sleep(seconds):
        pauses.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(retrying, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    faulty.fail("get", with_=StoreError("connection reset"), times=1000)

    with pytest.raises(StoreError, match="connection reset"):
        RetryingStore(faulty, sleep=sleep).get("a/b")

    assert 52 <= sum(pauses) <= 60
    assert max(pauses) <= 8


def test_a_listing_that_fails_in_the_middle_is_begun_anew(pauses):
    class Breaking(MemoryStore):
        broken = False

        def list(self, prefix):
            for blob in super().list(prefix):
                yield blob
                if not self.broken:
                    self.broken = True
                    raise StoreError("connection reset")

    disk = Breaking()
    for key in ("a/1", "a/2", "a/3"):
        disk.put(key, b"")

    assert [blob.key for blob in RetryingStore(disk, sleep=pauses.append).list("a/")] == ["a/1", "a/2", "a/3"]
