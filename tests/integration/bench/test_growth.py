"""The calls of single steps stay the same, however much is there already."""

from __future__ import annotations

import pytest

from bench.growth import points, upkeep
from bench.growth.checks import checks
from bench.growth.increments import store_change, stored_changes
from bench.growth.locks import locks
from bench.growth.stock import new_disk
from bench.growth.vms import whole_vm

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


LOOKING = 8
"""Calls of the vCenter by which two runs may differ, because one has looked more often whether something has ended."""
WAITING = 2
"""Calls of the store by which they may differ, because one has waited for the other side of a hold."""


def figures(row, size, folder, monkeypatch):
    """Return the figures of a row at one size."""
    folder.mkdir()
    monkeypatch.setenv("VMKEEP_CACHE", str(folder / "cache"))
    return row(folder, size)


def at_two_sizes(row, few, many, folder, monkeypatch):
    """Return the figures of a row with few things there, and with many."""
    return tuple(figures(row, size, folder / str(size), monkeypatch) for size in (few, many))


@pytest.mark.parametrize("row", [points.one_point, upkeep.capacity], ids=lambda row: row.__name__)
def test_a_step_takes_the_same_calls_however_many_points_there_are(row, tmp_path, monkeypatch):
    few, many = at_two_sizes(row, 8, 64, tmp_path, monkeypatch)

    assert few == many


def test_the_checks_of_one_point_take_the_same_calls_and_those_of_all_vms_no_more_for_each(tmp_path, monkeypatch):
    few, many = at_two_sizes(checks, 8, 64, tmp_path, monkeypatch)

    each = "the same of all VMs, for each"
    assert many.pop(each) < few.pop(each)
    assert few == many


def test_a_merge_reads_each_segment_twice_and_deletes_it(tmp_path, monkeypatch):
    few, many = at_two_sizes(upkeep.merge, 8, 40, tmp_path, monkeypatch)

    each = "calls of a merge, for each segment"
    assert round(40 * many.pop(each) - 8 * few.pop(each)) == 3 * (40 - 8)
    assert few == many


def test_a_deleted_point_takes_nine_calls_and_the_command_the_rest(tmp_path, monkeypatch):
    few, many = at_two_sizes(upkeep.deletion, 32, 128, tmp_path, monkeypatch)

    each = "calls for a deleted point"
    assert (96 * many[each] - 24 * few[each]) / (96 - 24) <= 10


def test_a_look_at_locks_takes_the_same_calls_and_their_extension_one_for_each_point(tmp_path, monkeypatch):
    few, many = at_two_sizes(locks, 2, 12, tmp_path, monkeypatch)

    assert few["calls of a look"] == many["calls of a look"]
    assert many["calls of an extension"] - few["calls of an extension"] == 10


def test_a_backup_and_a_restore_of_a_vm_take_the_same_calls_however_many_points_there_are(tmp_path, monkeypatch):
    few, many = at_two_sizes(whole_vm, 2, 20, tmp_path, monkeypatch)

    for figure, calls in few.items():
        assert abs(many[figure] - calls) <= (LOOKING if "vCenter" in figure else WAITING), figure
