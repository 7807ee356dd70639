"""Writing into a qcow2 image in place: QEMU finds no fault, also when the power fails between two steps."""

import os
import random
import shutil
import struct
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.formats.qemu import faults, qemu_img
from tests.unit.formats.written import write_layout, write_raw
from vmkeep.errors import UnsupportedError
from vmkeep.formats import open_qcow2, open_qcow2_target, plan_qcow2
from vmkeep.model.extents import Extent

CLUSTER = 1 << 16
MIB = 1 << 20
PLACE = 0x00FF_FFFF_FFFF_FE00
SIZE = 3 * MIB + 512


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    stored = [Extent(0, 2 * CLUSTER), Extent(MIB, MIB + CLUSTER), Extent(SIZE - 512, SIZE)]
    raw = write_raw(folder / "a.raw", SIZE, {e.start: random.Random(e.start).randbytes(e.length) for e in stored})
    return write_layout(plan_qcow2("a.qcow2", SIZE, stored), folder, raw), raw.read_bytes()


def content(image):
    with open_qcow2(image) as source:
        disk = bytearray(source.capacity)
        source.read_into(0, memoryview(disk))
    return bytes(disk)


sectors = st.tuples(st.integers(0, SIZE // 512 - 1), st.integers(1, 600), st.booleans())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(sectors, max_size=6), flushed=st.integers(0, 6))
def test_any_writes_and_zeros_are_read_back_and_qemu_finds_no_fault(writes, flushed, written, tmp_path):
    image, disk = tmp_path / "a.qcow2", bytearray(written[1])
    shutil.copy(written[0], image)
    with open_qcow2_target(image) as target:
        for number, (start, length, zero) in enumerate(writes):
            at, stop = start * 512, min(SIZE, (start + length) * 512)
            new = bytes(stop - at) if zero else random.Random(number).randbytes(stop - at)
            disk[at:stop] = new
            if zero:
                target.write_zeroes(at, stop - at)
            else:
                target.write(at, memoryview(new))
            if number == flushed:
                target.flush()
        target.flush()

    assert content(image) == bytes(disk)
    assert faults(image) == (0, 0, 0)


def test_neighbours_on_the_disk_get_neighbouring_clusters_and_zeros_take_no_space(written, tmp_path):
    image = tmp_path / "a.qcow2"
    shutil.copy(written[0], image)
    before = image.stat().st_size
    with open_qcow2_target(image) as target:
        target.write_zeroes(2 * MIB, MIB)
        target.flush()
        assert image.stat().st_size == before
        target.write(2 * MIB, memoryview(b"n" * 4 * CLUSTER))
        target.flush()
        assert Extent(2 * MIB, 2 * MIB + 4 * CLUSTER) in list(target.allocated())
    assert image.stat().st_size == before + 4 * CLUSTER
    assert len([line for line in qemu_img("map", image).splitlines() if line.startswith("0x200000 ")]) == 1


class PowerCut(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("survives", range(5))
def test_a_power_cut_between_two_steps_leaves_an_image_without_corruption(survives, written, tmp_path, monkeypatch):
    """Each write of a table is lost, from one on: the disk has its old or its new bytes, and QEMU opens it."""
    image = tmp_path / "a.qcow2"
    raw = write_raw(tmp_path / "b.raw", 600 * MIB, {0: b"o" * CLUSTER})
    write_layout(plan_qcow2("a.qcow2", 600 * MIB, [Extent(0, CLUSTER)]), tmp_path, raw)
    target = open_qcow2_target(image)
    target.write(MIB, memoryview(b"n" * CLUSTER))
    target.write(599 * MIB, memoryview(b"m" * CLUSTER))
    real, left = os.pwrite, [survives]

    def dying(*arguments):
        if not left[0]:
            raise PowerCut
        left[0] -= 1
        return real(*arguments)

    with target, monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", dying)
        try:
            target.flush()
        except PowerCut:
            pass
        else:
            assert survives == 4  # one write of counts, two of L2 tables, and one of an L1 entry

    with open_qcow2(image) as source:
        for at, byte in ((MIB, b"n"), (599 * MIB, b"m"), (0, b"o")):
            found = bytearray(CLUSTER)
            source.read_into(at, memoryview(found))
            assert found in (byte * CLUSTER, bytes(CLUSTER) if at else b"o" * CLUSTER)
    assert faults_but_leaks(image) == (0, 0)


def faults_but_leaks(image):
    shutil.copy(image, image.with_suffix(".copy"))
    qemu_img("check", "-r", "leaks", image.with_suffix(".copy"))
    return faults(image.with_suffix(".copy"))[1:]


def test_whatever_a_table_points_to_is_durable_before_the_table_is_written(tmp_path, monkeypatch):
    image = write_layout(plan_qcow2("a.qcow2", 600 * MIB, []), tmp_path, write_raw(tmp_path / "b.raw", 600 * MIB, {}))
    volatile, counts, pointed = set(), set(), []
    write, sync = os.pwrite, os.fsync

    def noted(file, data, place):
        here = range(place // CLUSTER * CLUSTER, place + len(data), CLUSTER)
        if place // CLUSTER == l1 or len(data) == CLUSTER:  # an entry of the L1 table, or an L2 table
            places = {entry & PLACE for (entry,) in struct.iter_unpack(">Q", data)} - {0}
            assert not (places | counts) & volatile
            pointed.extend(places)
        else:
            counts.update(here)
        volatile.update(here)
        return write(file, data, place)

    def synced(file):
        sync(file)
        volatile.clear()

    with open_qcow2_target(image) as target, monkeypatch.context() as patch:
        l1 = target._header.l1_offset // CLUSTER
        target.write(MIB, memoryview(b"n" * CLUSTER))
        target.write(599 * MIB, memoryview(b"m" * CLUSTER))
        volatile |= {target._end * CLUSTER - 2 * CLUSTER, target._end * CLUSTER - CLUSTER}
        patch.setattr(os, "pwrite", noted)
        patch.setattr(os, "fsync", synced)
        target.flush()
    assert len(pointed) == 4  # two clusters, and two tables of clusters


def test_threads_may_write_parts_of_one_cluster_at_once(written, tmp_path):
    image = tmp_path / "a.qcow2"
    shutil.copy(written[0], image)
    with open_qcow2_target(image) as target:
        parts = [(2 * MIB + at, bytes([at // 4096 + 1]) * 4096) for at in range(0, CLUSTER, 4096)]
        threads = [threading.Thread(target=target.write, args=(at, memoryview(data))) for at, data in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        target.flush()

    assert content(image)[2 * MIB : 2 * MIB + CLUSTER] == b"".join(data for _, data in parts)
    assert faults(image) == (0, 0, 0)


def test_an_image_that_others_rely_on_is_not_written(written, tmp_path):
    shutil.copy(written[0], tmp_path / "a.qcow2")
    qemu_img("create", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", tmp_path / "over.qcow2")
    with pytest.raises(UnsupportedError, match="has a backing file"):
        open_qcow2_target(tmp_path / "over.qcow2")

    qemu_img("snapshot", "-c", "before", tmp_path / "a.qcow2")
    with pytest.raises(UnsupportedError, match="has internal snapshots"):
        open_qcow2_target(tmp_path / "a.qcow2")
