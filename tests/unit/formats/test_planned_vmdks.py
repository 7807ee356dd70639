"""A VMDK is planned from the disk's map alone, and QEMU reads the disk's bytes from it."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.formats.planned import check_plan
from tests.unit.formats.qemu import faults, qemu_img
from tests.unit.formats.written import write_layout, write_raw
from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.formats import VmdkAdapter, VmdkFacts, VmdkKind, plan_vmdk
from vmkeep.model.disk import ControllerKind
from vmkeep.model.extents import Extent, coalesce

MIB = 1 << 20
TIB = 1 << 40
DISKS = {
    "one sector": (512, [(0, 512)]),
    "holes only": (MIB, []),
    "odd size": (3 * MIB + 512 * 7, [(0, 4096), (MIB + 512, 200 * 1024), (3 * MIB, 512 * 7)]),
    "two pieces": (2047 * MIB + 512, [(65536, 65536), (2047 * MIB - 65536, 65536 + 512)]),
}


def facts(**more):
    return VmdkFacts(name="vm", **more)


def extents(parts):
    return [Extent(start, start + length) for start, length in parts]


def raw_disk(path, capacity, parts):
    return write_raw(path, capacity, {start: random.Random(start).randbytes(length) for start, length in parts})


@pytest.mark.parametrize("kind", VmdkKind)
@pytest.mark.parametrize("disk", DISKS)
def test_qemu_reads_the_disk_from_every_kind_and_holes_stay_holes(disk, kind, tmp_path):
    capacity, parts = DISKS[disk]
    raw = raw_disk(tmp_path / "raw", capacity, parts)
    layout = plan_vmdk(kind, facts(), capacity=capacity, stored=extents(parts))

    path = write_layout(layout, tmp_path, raw)

    assert "identical" in qemu_img("compare", "-f", "vmdk", "-F", "raw", path, raw)
    held = sum((tmp_path / file.name).stat().st_blocks * 512 for file in layout.files)
    assert held <= sum(length + 2 * 65536 for _, length in parts) + 2 * 65536 * len(layout.files)
    if kind is VmdkKind.FLAT:
        return  # QEMU does not look for holes in a flat file
    assert faults(path) == (0, 0, 0)
    mapped = json.loads(qemu_img("map", "--output=json", "-f", "vmdk", path))
    assert sum(each["length"] for each in mapped if each["data"]) <= sum(length + 2 * 65536 for _, length in parts)


def test_a_sparse_disk_beyond_2_tib_fits_into_one_file_if_its_data_does(tmp_path):
    capacity = 3 * TIB + 512
    parts = [(0, 65536), (2 * TIB - 4096, 8192), (3 * TIB, 512)]
    raw = raw_disk(tmp_path / "raw", capacity, parts)

    path = write_layout(plan_vmdk(VmdkKind.THIN, facts(), capacity=capacity, stored=extents(parts)), tmp_path, raw)

    assert json.loads(qemu_img("info", "--output=json", "-f", "vmdk", path))["virtual-size"] == capacity
    for start, length in parts:
        window = f"driver=raw,offset={start},size={length},file.driver=vmdk,file.file.filename={path}"
        qemu_img("convert", "--image-opts", window, "-O", "raw", f"{raw}2")
        with raw.open("rb") as file:
            file.seek(start)
            assert file.read(length) == (tmp_path / "raw2").read_bytes()


def test_the_plan_of_62_tib_needs_little_memory_and_no_table_without_grains():
    capacity = 62 * TIB
    stored = extents([(0, 65536), (61 * TIB, MIB)])

    layout = plan_vmdk(VmdkKind.THIN, facts(), capacity=capacity, stored=stored)

    check_plan(layout, stored)
    given = [run for run in layout.runs() if run.data is not None]
    assert sum(run.length for run in given) < 17 * MIB
    assert max(run.length for run in given) <= MIB


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(VmdkKind),
    size=st.integers(1, 400 * 128),
    parts=st.lists(st.tuples(st.integers(0, 400 * 128), st.integers(1, 999)), max_size=12),
)
def test_every_stored_byte_has_one_place_and_no_two_runs_overlap(kind, size, parts):
    stored = coalesce(Extent(start * 512, min(size, start + length) * 512) for start, length in parts if start < size)

    check_plan(plan_vmdk(kind, facts(), capacity=size * 512, stored=stored), stored)


def test_a_part_that_was_planned_as_zeros_has_no_place():
    layout = plan_vmdk(VmdkKind.THIN, facts(), capacity=MIB, stored=extents([(0, 65536)]))

    with pytest.raises(ValueError, match="byte 65536"):
        list(layout.place(0, 65537))


@pytest.mark.parametrize(
    ("kind", "capacity", "stored", "error"),
    [
        (VmdkKind.THIN, 62 * TIB, [(0, 2 * TIB)], UnsupportedError),
        (VmdkKind.SPLIT, 9 * TIB, [], UnsupportedError),
        (VmdkKind.FLAT, 0, [], UsageError),
        (VmdkKind.THIN, 1000, [], UsageError),
    ],
)
def test_a_disk_that_a_kind_cannot_hold_is_refused_before_anything_is_written(kind, capacity, stored, error):
    with pytest.raises(error, match="vm"):
        plan_vmdk(kind, facts(), capacity=capacity, stored=extents(stored))


@pytest.mark.parametrize("name", ["", 'a"b', "a/b", "a\nb", "a\\b", "x" * 201, "\ud800"])
def test_a_name_that_a_descriptor_cannot_hold_is_refused(name):
    with pytest.raises(UsageError, match="name"):
        plan_vmdk(VmdkKind.FLAT, VmdkFacts(name=name), capacity=512, stored=[])


def test_the_descriptor_tells_how_the_disk_was_attached():
    told = facts(
        adapter=VmdkAdapter.of(ControllerKind.IDE, "VirtualIDEController"),
        uuid="6000C29a-0011-2233-4455-66778899aabb",
        hardware_version=19,
        content_id=0xABC,
    )

    text = next(plan_vmdk(VmdkKind.FLAT, told, capacity=8 << 30, stored=[]).runs()).data.decode()

    assert "CID=00000abc\nparentCID=ffffffff\n" in text
    assert 'RW 16777216 FLAT "vm-flat.vmdk" 0\n' in text
    assert 'ddb.adapterType = "ide"\n' in text
    assert 'ddb.geometry.cylinders = "16383"\nddb.geometry.heads = "16"\nddb.geometry.sectors = "63"\n' in text
    assert 'ddb.uuid = "60 00 c2 9a 00 11 22 33-44 55 66 77 88 99 aa bb"\n' in text
    assert 'ddb.virtualHWVersion = "19"\n' in text
