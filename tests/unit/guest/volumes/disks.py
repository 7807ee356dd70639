"""Disks in memory, and the questions that each disk made of others has to answer rightly."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from tests.nbd_parts import MemoryDisk
from vmkeep.model.blockio import RandomDisk
from vmkeep.model.extents import Extent

UNIT = 512


@st.composite
def disks(draw, units: int, unit: int = UNIT) -> MemoryDisk:
    """A disk of some units, each of which holds bytes of its own, or is a hole."""
    seed = draw(st.integers(0, 255))
    content = b"".join(bytes([(seed + number) % 255 + 1]) * unit for number in range(units))
    holes = draw(st.sets(st.integers(0, units - 1)))
    return MemoryDisk(content, holes=[Extent(at * unit, (at + 1) * unit) for at in sorted(holes)])


def content_of(disk: RandomDisk, start: int = 0, stop: int | None = None) -> bytes:
    buffer = bytearray((disk.capacity if stop is None else stop) - start)
    disk.read_into(start, memoryview(buffer))
    return bytes(buffer)


def assert_reads_as(disk: RandomDisk, model: bytes, ranges: Sequence[tuple[int, int]]) -> None:
    """Compare a disk with the bytes that it should have: all of them, and some ranges; and its extents."""
    assert disk.capacity == len(model)
    assert content_of(disk) == model
    for start, stop in (*ranges, (0, len(model))):
        assert content_of(disk, start, stop) == model[start:stop]
        at, before = start, None
        for extent, is_data in disk.extents(start, stop):
            assert extent.start == at
            assert is_data is not before
            assert is_data or not any(model[extent.start : extent.stop])
            at, before = extent.stop, is_data
        assert at == stop


def ranges_of(size: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    place = st.integers(0, size)
    return st.lists(st.tuples(place, place).map(lambda pair: (min(pair), max(pair))), max_size=4)


def hole_bytes(disk: RandomDisk) -> int:
    return sum(extent.length for extent, is_data in disk.extents(0, disk.capacity) if not is_data)
