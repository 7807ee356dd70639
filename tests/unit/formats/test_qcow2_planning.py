"""qcow2 images that are planned from a disk's map: what QEMU thinks of them, and that no byte has two places."""

import json
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.formats.qemu import faults, qemu_img
from tests.unit.formats.written import write_layout, write_raw
from vmkeep.errors import UnsupportedError
from vmkeep.formats import plan_qcow2
from vmkeep.model.extents import Extent, Extents, total

CLUSTER = 1 << 16
MIB = 1 << 20
TIB = 1 << 40


@pytest.mark.parametrize(
    ("capacity", "stored"),
    [
        (512, [(0, 512)]),
        (3 * CLUSTER + 512, [(CLUSTER, 3 * CLUSTER + 512)]),
        (5 * MIB, []),
        (1100 * MIB, [(0, 512), (511 * MIB, 513 * MIB), (1099 * MIB + 7 * 512, 1100 * MIB)]),
    ],
    ids=["one sector", "odd size", "holes only", "three L2 tables"],
)
def test_qemu_reads_the_planned_disk_and_finds_no_fault(capacity, stored, tmp_path):
    parts = {start: random.Random(start).randbytes(stop - start) for start, stop in stored}
    raw = write_raw(tmp_path / "a.raw", capacity, parts)
    layout = plan_qcow2("a.qcow2", capacity, [Extent(*pair) for pair in stored])

    image = write_layout(layout, tmp_path, raw)

    assert faults(image) == (0, 0, 0)
    qemu_img("compare", "-f", "qcow2", "-F", "raw", image, raw)
    assert image.stat().st_size == layout.files[0].size


def test_the_last_byte_of_62_tib_is_found_by_qemu_and_holes_stay_holes(tmp_path):
    capacity = 62 * TIB
    stored = [Extent(0, 4 * MIB), Extent(capacity - 512, capacity)]
    layout = plan_qcow2("a.qcow2", capacity, stored)
    with (tmp_path / "a.qcow2").open("wb") as file:
        file.truncate(layout.files[0].size)
        for run in layout.runs():
            file.seek(run.offset)
            file.write(b"d" * run.length if run.data is None else run.data)

    assert faults(tmp_path / "a.qcow2") == (0, 0, 0)
    told = json.loads(qemu_img("map", "--output=json", tmp_path / "a.qcow2"))
    data = [(part["start"], part["length"]) for part in told if part["data"]]
    assert data == [(0, 4 * MIB), (capacity - CLUSTER, CLUSTER)]


def test_a_full_disk_of_62_tib_needs_no_memory_to_be_planned():
    layout = plan_qcow2("a.qcow2", 62 * TIB, [Extent(0, 62 * TIB)])

    assert layout.files[0].size > 62 * TIB
    assert list(layout.place(40 * TIB, 256 << 10)) == [next(layout.place(40 * TIB, 256 << 10))]


def test_a_disk_that_qemu_could_not_open_is_refused():
    with pytest.raises(UnsupportedError, match="2 PiB at most"):
        plan_qcow2("a.qcow2", (2 << 50) + 512, [])


def sectors(pair):
    start, length = pair
    return Extent(start * 512, (start + length) * 512)


@given(st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 4000)).map(sectors), max_size=12), st.integers(0, 900))
def test_every_stored_byte_has_one_place_and_no_run_overlaps(stored, odd):
    capacity = 40_000 * 512 + odd * 512
    layout = plan_qcow2("a.qcow2", capacity, stored)

    runs = list(layout.runs())

    for left, right in pairwise(runs):
        assert left.offset + left.length <= right.offset
    assert all(run.offset + run.length <= layout.files[0].size for run in runs)
    normal = Extents(sorted(stored))
    copied = Extents(Extent(run.start, run.start + run.length) for run in runs if run.data is None)
    assert total(copied) == sum(run.length for run in runs if run.data is None)
    for extent in normal:
        at = extent.start
        for run in layout.place(extent.start, extent.length):
            assert run.start == at
            assert any(
                whole.data is None
                and whole.start <= run.start
                and run.start + run.length <= whole.start + whole.length
                and run.offset - whole.offset == run.start - whole.start
                for whole in runs
            )
            at += run.length
        assert at == extent.stop


def test_a_part_that_was_not_planned_has_no_place():
    layout = plan_qcow2("a.qcow2", MIB, [Extent(0, CLUSTER)])

    with pytest.raises(ValueError, match=f"byte {CLUSTER} of the disk has no place"):
        list(layout.place(0, 2 * CLUSTER))
