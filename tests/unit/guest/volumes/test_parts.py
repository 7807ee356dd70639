"""Disks that are made of parts of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.nbd_parts import HugeDisk, MemoryDisk
from tests.unit.guest.volumes.disks import UNIT, assert_reads_as, content_of, disks, hole_bytes, ranges_of
from vmkeep.errors import CorruptError
from vmkeep.guest.volumes.parts import JoinedDisk, Part, StripedDisk, part_of
from vmkeep.model.extents import Extent


@given(st.data())
def test_joined_parts_read_as_their_bytes_one_after_the_other(data):
    below = data.draw(st.lists(disks(6), min_size=1, max_size=3))
    parts, model = [], b""
    for _ in range(data.draw(st.integers(0, 5))):
        disk = data.draw(st.sampled_from([None, *below]))
        start, stop = data.draw(st.tuples(st.integers(0, 6 * UNIT), st.integers(0, 6 * UNIT)).map(sorted))
        parts.append(Part(disk, start, stop - start))
        model += bytes(stop - start) if disk is None else bytes(disk.content[start:stop])

    assert_reads_as(JoinedDisk(parts, what="joined"), model, data.draw(ranges_of(len(model))))


@given(st.data())
def test_stripes_read_as_a_walk_round_their_disks(data):
    stripe = data.draw(st.sampled_from([100, UNIT, 3 * UNIT]))
    rows, count = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    below = [data.draw(disks(rows, unit=stripe)) for _ in range(count)]
    model = b"".join(bytes(disk.content[row * stripe : (row + 1) * stripe]) for row in range(rows) for disk in below)

    striped = StripedDisk(below, stripe=stripe, what="striped")

    assert_reads_as(striped, model, data.draw(ranges_of(len(model))))


def test_a_read_longer_than_what_is_gathered_at_once_is_whole(monkeypatch):
    monkeypatch.setattr("vmkeep.guest.volumes.parts._AT_ONCE", 4 * UNIT)
    below = [MemoryDisk(bytes([number + 1]) * 16 * UNIT) for number in range(3)]
    model = b"".join(bytes([number + 1]) * UNIT for _ in range(16) for number in range(3))
    striped = StripedDisk(below, stripe=UNIT, what="striped")

    assert_reads_as(striped, model, [(UNIT // 2, len(model) - 7), (5 * UNIT, 31 * UNIT)])


def test_a_huge_empty_disk_of_stripes_is_one_hole():
    striped = StripedDisk([HugeDisk(31 << 40), HugeDisk(31 << 40)], stripe=64 << 10, what="striped")

    found = list(striped.extents(0, striped.capacity))

    assert len(found) < 10
    assert hole_bytes(striped) > 61 << 40


def test_a_damaged_block_below_is_damage_above():
    good, bad = MemoryDisk(b"a" * 4 * UNIT), MemoryDisk(b"b" * 4 * UNIT, damaged=[Extent(UNIT, 2 * UNIT)])
    striped = StripedDisk([good, bad], stripe=UNIT, what="striped")

    with pytest.raises(CorruptError):
        content_of(striped)
    assert content_of(striped, 0, 3 * UNIT) == b"a" * UNIT + b"b" * UNIT + b"a" * UNIT


@pytest.mark.parametrize(("start", "length"), [(0, 5 * UNIT), (4 * UNIT + 1, 0), (-1, 1)])
def test_a_part_beyond_its_disk_is_refused(start, length):
    with pytest.raises(ValueError, match="are not on a disk"):
        part_of(MemoryDisk(bytes(4 * UNIT)), start, length, what="part")


def test_disks_of_different_sizes_are_no_stripes():
    with pytest.raises(ValueError, match="no stripes"):
        StripedDisk([MemoryDisk(bytes(UNIT)), MemoryDisk(bytes(2 * UNIT))], stripe=UNIT, what="striped")
