"""Many small segments are opened once on a machine, and the file that holds them merged is never needed or trusted."""

from __future__ import annotations

import shutil

import pytest

from tests.unit.repository.test_segment_cache import ENCRYPTED, PLAIN, fetched, filled, opened
from vmkeep.blobs.local import LocalStore
from vmkeep.repository.index import index as index_module
from vmkeep.testing import FaultyStore, MemoryStore

MANY = 10
"""Segments that are merged, because they are more than are opened at once."""


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch):
    monkeypatch.setattr(index_module, "_LOADED", 8)
    monkeypatch.setattr(index_module, "_KEPT", 8)


@pytest.fixture
def framer():
    return PLAIN


@pytest.fixture
def store(tmp_path):
    """A store on this machine, whose small segments are not cached one by one."""
    (tmp_path / "store").mkdir()
    return FaultyStore(LocalStore(tmp_path / "store"))


def keys(store):
    return sorted(blob.key for blob in store.list("index/"))


def places(index, digests):
    return [index.find(digest) for digest in digests]


@pytest.mark.parametrize("framer", [PLAIN, ENCRYPTED], ids=["plain", "encrypted"])
def test_later_processes_open_only_the_segments_that_are_new(store, framer, tmp_path):
    digests = filled(store, framer, segments=MANY)
    first = opened(store, framer, tmp_path / "c")
    assert len(fetched(store)) == MANY
    digests += filled(store, framer, segments=5)
    store.calls.clear()

    second = opened(store, framer, tmp_path / "c")

    assert len(fetched(store)) == 5
    assert None not in places(second, digests)
    assert places(second, digests[: 20 * MANY]) == places(first, digests[: 20 * MANY])
    assert second.entries == 20 * (MANY + 5)


def test_new_segments_are_added_when_many_have_gathered(store, framer, tmp_path):
    digests = []
    for segments in (MANY, MANY + 1):
        digests += filled(store, framer, segments=segments)
        opened(store, framer, tmp_path / "c")
    store.calls.clear()

    index = opened(store, framer, tmp_path / "c")

    assert not fetched(store)
    assert None not in places(index, digests)


def test_few_segments_are_read_without_a_file(store, framer, tmp_path):
    filled(store, framer, segments=MANY - 3)
    opened(store, framer, tmp_path / "c")
    assert not (tmp_path / "merged").exists()


def test_entries_of_a_segment_that_maintenance_has_removed_are_not_found(store, framer, tmp_path):
    digests = filled(store, framer, segments=MANY)
    opened(store, framer, tmp_path / "c")
    store.delete(keys(store)[0])

    index = opened(store, framer, tmp_path / "c")

    assert places(index, digests).count(None) == 20


def test_a_segment_that_a_check_found_damaged_is_not_used_and_the_others_are(store, framer, tmp_path):
    digests = filled(store, framer, segments=MANY)
    opened(store, framer, tmp_path / "c")
    index = index_module.Index(store, framer, cache=tmp_path / "c")
    index.distrust({keys(store)[0]: "damaged"})

    index.refresh()

    assert places(index, digests).count(None) == 20


@pytest.mark.parametrize("harm", ["cut", "empty", "flip", "another", "folder", "open"])
def test_a_file_that_is_not_whole_is_not_believed_and_harms_nothing(store, framer, tmp_path, harm):
    digests = filled(store, framer, segments=MANY)
    opened(store, framer, tmp_path / "c")
    (file,) = (tmp_path / "merged").iterdir()
    content = file.read_bytes()
    if harm == "folder":
        file.unlink()
        file.mkdir()
    elif harm == "open":
        (tmp_path / "merged").chmod(0o777)
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        file.write_bytes({"cut": content[:-1], "empty": b"", "flip": flipped, "another": b"x" * 99}[harm])
    store.calls.clear()

    index = opened(store, framer, tmp_path / "c")

    assert len(fetched(store)) == MANY
    assert None not in places(index, digests)
    assert not index.damaged


def test_a_file_of_a_copied_repository_is_used_for_what_the_copy_has(tmp_path, framer):
    """Both have the same id, and so the same cache."""
    original, copied = (tmp_path / name for name in ("original", "copied"))
    original.mkdir()
    digests = filled(LocalStore(original), framer, segments=MANY)
    shutil.copytree(original, copied)
    more = filled(LocalStore(original), framer, segments=MANY + 1)
    opened(LocalStore(original), framer, tmp_path / "c")

    index = opened(LocalStore(copied), framer, tmp_path / "c")

    assert None not in places(index, digests)
    assert set(places(index, more)) == {None}


def test_as_many_segments_are_merged_as_fit_into_memory_and_the_rest_is_opened(store, framer, tmp_path, monkeypatch):
    monkeypatch.setattr(index_module, "_IN_MEMORY", 20 * 15)
    digests = filled(store, framer, segments=MANY)
    opened(store, framer, tmp_path / "c")
    digests += filled(store, framer, segments=MANY - 1)
    opened(store, framer, tmp_path / "c")
    store.calls.clear()

    index = opened(store, framer, tmp_path / "c")

    assert len(fetched(store)) == MANY - 1, "the merged file of the first ones is kept"
    assert None not in places(index, digests)


def test_without_a_cache_all_segments_are_opened(framer):
    store = FaultyStore(MemoryStore())
    digests = filled(store, framer, segments=MANY)
    opened(store, framer, None)
    store.calls.clear()
    assert None not in places(opened(store, framer, None), digests)
    assert len(fetched(store)) == MANY


def test_nothing_is_merged_if_every_segment_is_damaged(store, framer, tmp_path):
    filled(store, framer, segments=MANY)
    for key in keys(store):
        store.replace(key, b"damaged")

    index = opened(store, framer, tmp_path / "c")

    assert index.damaged.keys() == set(keys(store))
    assert not (tmp_path / "merged").exists()
