"""The promises of every blob store, as a class of tests for pytest.

A backend inherits the class and says how to make an empty store::

    class TestMyStore(BlobStoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(tmp_path)
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from vmkeep.blobs import BlobStore
from vmkeep.errors import BlobNotFoundError, ConflictError, UsageError


class BlobStoreContract:
    """Inherit this class as ``Test…``, with a fixture ``store`` that gives an empty store to each test."""

    @pytest.fixture
    def store(self) -> BlobStore:
        """Return an empty store. Every subclass overrides this."""
        raise NotImplementedError("give the class a fixture 'store' that returns an empty store")

    def test_what_was_put_is_got_back(self, store: BlobStore) -> None:
        assert store.put("packs/ab/one", b"content") is True

        assert store.get("packs/ab/one") == b"content"
        assert store.size("packs/ab/one") == 7

    def test_the_same_bytes_may_be_put_twice(self, store: BlobStore) -> None:
        store.put("a/b", b"content")

        assert store.put("a/b", bytearray(b"content")) is False
        assert store.put("a/b", memoryview(b"content")) is False

    @pytest.mark.parametrize("other", [b"other!!", b"content and more", b"cont", b""])
    def test_other_bytes_under_the_same_key_are_refused_and_change_nothing(
        self, store: BlobStore, other: bytes
    ) -> None:
        store.put("a/b", b"content")

        with pytest.raises(ConflictError, match="a/b"):
            store.put("a/b", other)

        assert store.get("a/b") == b"content"

    def test_of_many_creators_of_one_key_exactly_one_wins(self, store: BlobStore) -> None:
        won: list[int] = []
        start = threading.Barrier(8)

        def create(number: int) -> None:
            start.wait()
            try:
                if store.put("race/key", b"%d" % number):
                    won.append(number)
            except ConflictError:
                pass

        threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(won) == 1
        assert store.get("race/key") == b"%d" % won[0]

    def test_replace_creates_and_overwrites(self, store: BlobStore) -> None:
        store.replace("runs/x/lease", b"one")
        store.replace("runs/x/lease", b"and two")

        assert store.get("runs/x/lease") == b"and two"

    def test_ranges_end_with_the_blob(self, store: BlobStore) -> None:
        store.put("a/b", b"0123456789")
        buffer = memoryview(bytearray(4))

        assert store.get_range("a/b", 3, 4) == b"3456"
        assert store.get_range("a/b", 8, 100) == b"89"
        assert store.get_range("a/b", 10, 1) == b""
        assert store.get_range("a/b", 99, 1) == b""
        assert (store.get_into("a/b", 2, buffer), bytes(buffer)) == (4, b"2345")
        assert store.get_into("a/b", 8, buffer) == 2
        assert store.get_into("a/b", 99, buffer) == 0

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.get("no/such"),
            lambda store: store.size("no/such"),
            lambda store: store.get_range("no/such", 0, 1),
            lambda store: store.get_into("no/such", 0, memoryview(bytearray(1))),
        ],
    )
    def test_a_missing_blob_is_named(self, store: BlobStore, call: Callable[[BlobStore], object]) -> None:
        with pytest.raises(BlobNotFoundError, match="no/such"):
            call(store)

    def test_a_listing_is_complete_and_sorted_by_key(self, store: BlobStore) -> None:
        keys = ["a-b/c", "a/b/c", "a/b", "a0/x", "b", "a/ba/x"]
        for key in keys:
            if key != "a/b":  # a folder in some backends
                store.put(key, key.encode())

        listed = [(info.key, info.size) for info in store.list("")]
        assert listed == sorted((key, len(key)) for key in keys if key != "a/b")
        assert [info.key for info in store.list("a/")] == ["a/b/c", "a/ba/x"]
        assert list(store.list("nothing/")) == []
        assert next(store.list("b/"), None) is None
        assert all(info.modified.tzinfo is not None for info in store.list(""))

    def test_deleting_what_is_gone_is_success(self, store: BlobStore) -> None:
        store.put("a/b/c", b"1")

        store.delete("a/b/c")
        store.delete("a/b/c")

        assert list(store.list("")) == []
        assert store.put("a/b/c", b"2") is True

    @pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "..", "a/../b", ".tmp/x", "a b", "a\nb", "ü", "x" * 201])
    def test_keys_that_some_backend_could_not_hold_are_refused(self, store: BlobStore, key: str) -> None:
        with pytest.raises(UsageError):
            store.put(key, b"")

    def test_an_empty_blob_is_a_blob(self, store: BlobStore) -> None:
        store.put("a/empty", b"")

        assert store.get("a/empty") == b""
        assert store.size("a/empty") == 0

    def test_looking_whether_it_can_be_written_changes_nothing(self, store: BlobStore) -> None:
        store.check_writable()

        assert list(store.list("")) == []
