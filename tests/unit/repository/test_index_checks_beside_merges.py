"""A check of the index beside merges: it takes no merged segment for a lost one, and reads none twice."""

from __future__ import annotations

import pytest

from tests.unit.maintenance.test_merge import fill, opened
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.errors import TransientError
from vmkeep.repository.checks.indexcheck import IndexCheck
from vmkeep.testing import MemoryStore

SEGMENTS = 4


class Merging(WrappingStore):
    """A store in which some listings of the segments are old at once: another process replaces one of them."""

    def __init__(self, inner, repository, times):
        super().__init__(inner)
        self._repository, self._left = repository, times

    def list(self, prefix):
        blobs = list(super().list(prefix))
        if prefix == "index/" and self._left:
            self._left -= 1
            key, _, segment = min(self._repository.index.stored(), key=lambda each: each[0])  # which is read first
            self._repository.index.put(segment.columns())
            self._repository.blobs.delete(key)
        yield from blobs


def checked(times):
    """Return the faults of an index that changes right after some listings, and the number of segments read."""
    store, read = MemoryStore(), []
    repository = opened(store)
    fill(repository, SEGMENTS, 5)
    check = IndexCheck(Merging(store, repository, times), repository.framer, read=read.append)
    return check.run({}), len(read)


@pytest.mark.parametrize("times", [1, 5, 10])
def test_a_check_takes_no_segment_that_was_merged_meanwhile_for_damage_and_reads_each_once(times):
    faults, read = checked(times)

    assert faults.damaged == {}
    assert len(faults.listed) == SEGMENTS
    assert read <= SEGMENTS + times


def test_a_check_says_that_it_could_not_finish_where_segments_are_merged_all_the_time():
    with pytest.raises(TransientError, match="check once more"):
        checked(times=1000)


def test_a_segment_that_the_store_lists_and_does_not_have_is_damage(monkeypatch):
    store = MemoryStore()
    repository = opened(store)
    fill(repository, SEGMENTS, 5)
    listed = list(store.list("index/"))
    gone = listed[0].key
    store.delete(gone)
    monkeypatch.setattr(store, "list", lambda _prefix: iter(listed))
    faults = IndexCheck(store, repository.framer, read=lambda _size: None).run({})

    assert faults.damaged == {gone: "is listed, but not there"}
