"""A stream-optimised VMDK is made from a disk's bytes in their order, and QEMU reads the disk from it."""

import os
import random
import struct
import threading
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.formats.qemu import faults, qemu_img
from tests.unit.formats.written import write_raw
from vmkeep.errors import UsageError
from vmkeep.formats import StreamVmdk, VmdkFacts

MIB = 1 << 20
GRAIN = 1 << 16
SECTOR = 512


def random_bytes(seed, length):
    return random.Random(seed).randbytes(length)


DISKS = {
    "one sector": (512, {0: random_bytes(1, 512)}),
    "holes only": (100 * MIB, {}),
    "odd size": (70 * MIB + 512 * 7, {0: b"boot" * 1024, 33 * MIB - 512: random_bytes(2, MIB), 70 * MIB: b"e" * 3584}),
    "much data": (40 * MIB, {0: random_bytes(3, 3 * MIB) + b"x" * 37 * MIB}),
    "over 2 TiB": ((3 << 40) + 512, {3 << 40: b"tail" * 128}),
}


def pieces(parts, size=300 * 1024):
    for start, data in sorted(parts.items()):
        for at in range(0, len(data), size):
            yield start + at, memoryview(data)[at : at + size]


def write_stream(path, capacity, parts):
    stream = StreamVmdk(VmdkFacts(name="vm"), capacity=capacity)
    with path.open("wb") as file:
        for part in stream.parts(pieces(parts)):
            file.write(part)
    return stream


@pytest.mark.parametrize("disk", DISKS)
def test_qemu_reads_the_disk_from_the_stream(disk, tmp_path):
    capacity, parts = DISKS[disk]
    raw = write_raw(tmp_path / "raw", capacity, parts)
    path = tmp_path / "vm.vmdk"

    stream = write_stream(path, capacity, parts)

    assert stream.size == path.stat().st_size
    if capacity < 1 << 40:  # because QEMU looks at every grain of the disk
        assert faults(path) == (0, 0, 0)
        assert "identical" in qemu_img("compare", "-f", "vmdk", "-F", "raw", path, raw)
    else:
        window = f"driver=raw,offset={capacity - 1024},size=1024,file.driver=vmdk,file.file.filename={path}"
        qemu_img("convert", "--image-opts", window, "-O", "raw", f"{raw}2")
        assert (tmp_path / "raw2").read_bytes() == bytes(512) + b"tail" * 128


def markers(data):
    """Yield kind and content of each part of a stream, as a program does that reads it without going back."""
    at = GRAIN
    while at < len(data):
        value, size, kind = struct.unpack_from("<QII", data, at)
        if size:
            yield "grain", (value, zlib.decompress(data[at + 12 : at + 12 + size]))
            at += -(-(12 + size) // SECTOR) * SECTOR
        else:
            yield ("end", "table", "directory", "footer")[kind], at // SECTOR + 1
            at += SECTOR * (1 + value)
    assert at == len(data)


def test_the_stream_can_be_read_forwards_and_its_sizes_are_exact(tmp_path):
    capacity, parts = DISKS["odd size"]
    raw = write_raw(tmp_path / "raw", capacity, parts).read_bytes().ljust(71 * MIB, b"\0")

    stream = write_stream(tmp_path / "vm.vmdk", capacity, parts)

    data = (tmp_path / "vm.vmdk").read_bytes()
    assert struct.unpack_from("<4sIIQQ", data) == (b"KDMV", 3, 0x30001, capacity // SECTOR, 128)
    found = list(markers(data))
    grains = [content for kind, content in found if kind == "grain"]
    assert [place for place, _ in grains] == sorted(place for place, _ in grains)
    stored = [at for at in range(0, capacity, GRAIN) if any(raw[at : at + GRAIN])]
    assert [place * SECTOR for place, _ in grains] == stored
    assert all(raw[place * SECTOR : place * SECTOR + GRAIN] == grain for place, grain in grains)
    assert [kind for kind, _ in found if kind != "grain"] == ["table"] * 3 + ["directory", "footer", "end"]
    assert stream.populated == sum(min(GRAIN, capacity - at) for at in stored)


def test_zeros_that_the_map_holds_as_data_are_not_sent(tmp_path):
    stream = write_stream(tmp_path / "vm.vmdk", 4 * MIB, {0: bytes(3 * MIB) + b"a" * 512})

    assert stream.populated == GRAIN


@settings(max_examples=40, deadline=None)
@given(sectors=st.lists(st.integers(0, 4000), max_size=20, unique=True), size=st.integers(1, 700))
def test_pieces_of_any_size_make_the_same_stream(sectors, size):
    parts = {at * SECTOR: bytes([at % 255 + 1]) * SECTOR for at in sectors}
    facts = VmdkFacts(name="vm", content_id=1)
    capacity = 4001 * SECTOR

    whole = b"".join(StreamVmdk(facts, capacity=capacity).parts(pieces(parts)))

    disk = bytearray(capacity)
    for start, data in parts.items():
        disk[start : start + SECTOR] = data
    assert b"".join(StreamVmdk(facts, capacity=capacity).parts(pieces({0: bytes(disk)}, size * SECTOR))) == whole


def test_an_error_of_the_disk_ends_the_stream_before_its_end_is_written():
    def failing():
        yield 0, memoryview(b"x" * MIB)
        raise OSError("the disk is gone")

    parts = []
    with pytest.raises(OSError, match="is gone"):
        parts.extend(StreamVmdk(VmdkFacts(name="vm"), capacity=8 * MIB).parts(failing()))

    assert sum(map(len, parts)) <= GRAIN + MIB
    assert not any(thread.name.startswith("deflate") for thread in threading.enumerate())


def test_a_stream_asks_for_no_more_of_the_disk_than_its_threads_need():
    asked = []

    def disk():
        for at in range(0, 200 * MIB, MIB):
            asked.append(at)
            yield at, memoryview(b"x" * MIB)

    parts = StreamVmdk(VmdkFacts(name="vm"), capacity=200 * MIB).parts(disk())
    taken = [next(parts) for _ in range(3)]
    parts.close()

    assert len(taken) == 3
    assert len(asked) <= 2 * (os.cpu_count() or 1) + 5


@pytest.mark.parametrize("wrong", [[(512, b"a" * 512), (0, b"a" * 512)], [(MIB, b"a" * 512)]])
def test_pieces_out_of_order_or_beyond_the_disk_are_refused(wrong):
    with pytest.raises(ValueError, match="out of order"):
        list(StreamVmdk(VmdkFacts(name="vm"), capacity=MIB).parts((at, memoryview(data)) for at, data in wrong))


def test_a_disk_that_is_no_whole_number_of_sectors_is_refused():
    with pytest.raises(UsageError, match="sectors"):
        StreamVmdk(VmdkFacts(name="vm"), capacity=1000)
