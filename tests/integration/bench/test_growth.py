"""The calls of single steps stay the same, however much is there already."""

from __future__ import annotations

from bench.growth.increments import store_change, stored_changes
from bench.growth.points import one_point
from bench.growth.stock import new_disk

MOST = 40
"""Calls of an increment of one changed block, without a cache: 33, and one for each segment of the index."""
MEAN = 41
"""Calls of an increment, on average, with those of the runs that merge."""
MERGING = 70
"""Calls of an increment that merges the segments that have gathered."""


def test_an_increment_takes_as_many_calls_whatever_was_stored_before_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VMKEEP_CACHE", str(tmp_path / "cache"))
    disk, spent = new_disk(tmp_path), []
    last = stored_changes(tmp_path, disk, 10)
    for number in range(10, 24):
        last = store_change(tmp_path, disk, number, since=last.point, cache=tmp_path / f"cold-{number}")
        spent.append(last.calls)

    assert sorted(spent)[len(spent) * 3 // 4] <= MOST
    assert sum(spent) / len(spent) <= MEAN
    assert max(spent) <= MERGING


def test_a_point_is_verified_exported_and_copied_with_the_same_calls_however_many_others_there_are(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("VMKEEP_CACHE", str(tmp_path / "cache"))
    few, many = tmp_path / "few", tmp_path / "many"
    for folder in (few, many):
        folder.mkdir()

    assert one_point(few, 8) == one_point(many, 64)
