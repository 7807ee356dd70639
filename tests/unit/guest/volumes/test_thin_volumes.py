"""Thin volumes, out of pools whose metadata the real tools have written."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.guest_prints import BLOCK, Printed
from tests.nbd_parts import HugeDisk, MemoryDisk
from tests.unit.guest.volumes.disks import assert_reads_as, content_of
from tests.unit.guest.volumes.thinpools import CHUNK, make_metadata, make_pool
from vmkeep.errors import CorruptError
from vmkeep.guest.crc32c import crc32c
from vmkeep.guest.volumes.thin import ThinDisk, ThinPool
from vmkeep.model.extents import Extent

_MANY = 50_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Metadata of a volume with every second block, whose tree has three floors."""
    mapped = {2 * block: _MANY - 1 - block for block in range(_MANY)}
    return make_metadata(tmp_path_factory.mktemp("wide"), {1: mapped}, blocks=_MANY, size=4 << 20)


def _pool(made):
    return ThinPool(made.metadata, made.data, what="vg/pool")


@pytest.mark.parametrize("device", [1, 2, 7, 9])
def test_a_thin_volume_and_its_snapshot_read_as_their_own_blocks(made, device):
    disk = ThinDisk(_pool(made), device, capacity=40 * CHUNK - 1000, what="vg/thin")

    model = made.model(device, 40)[: 40 * CHUNK - 1000]

    assert_reads_as(disk, model, [(CHUNK - 5, 9 * CHUNK + 5), (8 * CHUNK, 20 * CHUNK), (39 * CHUNK + 1, len(model))])


def test_blocks_that_were_never_written_are_those_of_the_external_origin(made):
    origin = MemoryDisk(b"o" * (25 * CHUNK), holes=[Extent(9 * CHUNK, 10 * CHUNK)])
    disk = ThinDisk(_pool(made), 1, capacity=40 * CHUNK, what="vg/thin", origin=origin)
    model = bytearray(made.model(1, 40))
    for block in range(25):
        if block not in made.volumes[1]:
            model[block * CHUNK : (block + 1) * CHUNK] = origin.content[block * CHUNK : (block + 1) * CHUNK]

    assert_reads_as(disk, bytes(model), [(24 * CHUNK + 9, 26 * CHUNK)])


def test_a_thin_volume_tells_the_prints_of_the_bytes_that_it_reads(made):
    origin = MemoryDisk(b"o" * (25 * CHUNK))
    pool = ThinPool(made.metadata, Printed(made.data), what="vg/pool")
    disk = ThinDisk(pool, 1, capacity=40 * CHUNK - 1000, what="vg/thin", origin=Printed(origin))
    known = {hashlib.sha256(each).digest(): each for of in (made.data, origin) for each in blocks_of(of.content)}

    for start, stop in ((0, disk.capacity), (CHUNK - 5, 9 * CHUNK + 5), (24 * CHUNK + 9, 26 * CHUNK)):
        told = b""
        for extent, each in disk.prints(start, stop):
            assert extent.start == start + len(told)
            block = known[each.digest][each.offset :] if each.digest else bytes(extent.length)
            assert len(block) >= extent.length
            told += block[: extent.length]
        read = bytearray(stop - start)
        disk.read_into(start, memoryview(read))
        assert told == read


def blocks_of(content):
    return [bytes(content[at : at + BLOCK]) for at in range(0, len(content), BLOCK)]


def test_holes_of_the_pool_are_holes_of_the_volume(made):
    place = made.volumes[1][0]
    data = MemoryDisk(bytes(made.data.content), holes=[Extent(place * CHUNK, (place + 1) * CHUNK)])
    disk = ThinDisk(ThinPool(made.metadata, data, what="vg/pool"), 1, capacity=CHUNK, what="vg/thin")

    assert list(disk.extents(0, CHUNK)) == [(Extent(0, CHUNK), False)]


def test_a_deep_tree_is_read_at_any_place(wide):
    pool = ThinPool(wide, HugeDisk(_MANY * CHUNK), what="vg/pool")
    root = pool.require(1)

    for block in (0, 2, 49_998, 2 * _MANY - 2):
        assert list(pool.runs(root, block, block + 1)) == [(block, _MANY - 1 - block // 2, 1)]
        assert list(pool.runs(root, block + 1, block + 2)) == []
    assert sum(count for _, _, count in pool.runs(root, 0, 2 * _MANY)) == _MANY


def test_a_volume_that_the_pool_does_not_know_is_refused(made):
    with pytest.raises(CorruptError, match="knows no thin volume of number 3"):
        ThinDisk(_pool(made), 3, capacity=CHUNK, what="vg/thin")


def test_a_block_beyond_the_pool_is_refused(made):
    short = MemoryDisk(bytes(2 * CHUNK))
    disk = ThinDisk(ThinPool(made.metadata, short, what="vg/pool"), 1, capacity=40 * CHUNK, what="vg/thin")

    with pytest.raises(CorruptError, match="beyond the pool's end"):
        content_of(disk)


@pytest.fixture(scope="module")
def second(made):
    """The bytes of the volume 2."""
    return made.model(2, 40)


def _used(metadata):
    """The blocks of the metadata that hold something."""
    blocks = (bytes(metadata.content[at : at + 4096]) for at in range(0, metadata.capacity, 4096))
    return [number for number, block in enumerate(blocks) if block.strip(b"\0")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_of_the_metadata_is_never_a_wrong_byte_of_a_volume(made, second, data):
    block = data.draw(st.sampled_from(_used(made.metadata)))
    content = bytearray(made.metadata.content)
    content[block * 4096 + data.draw(st.integers(0, 4095))] ^= data.draw(st.integers(1, 255))

    try:
        disk = ThinDisk(
            ThinPool(MemoryDisk(content), made.data, what="vg/pool"), 2, capacity=40 * CHUNK, what="vg/thin"
        )
        assert content_of(disk) == second
    except CorruptError:
        pass


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_hostile_tree_with_right_checksums_ends(made, data):
    content = bytearray(made.metadata.content)
    for _ in range(data.draw(st.integers(1, 3))):
        block = data.draw(st.sampled_from(_used(made.metadata)))
        at = block * 4096 + data.draw(st.integers(4, 400))
        content[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
        checksum = crc32c(content[block * 4096 + 4 : (block + 1) * 4096]) ^ (121107 if block else 160774)
        content[block * 4096 : block * 4096 + 4] = checksum.to_bytes(4, "little")

    try:
        pool = ThinPool(MemoryDisk(content), HugeDisk(1 << 50), what="vg/pool")
        disk = ThinDisk(pool, 1, capacity=40 * CHUNK, what="vg/thin")
        assert len(list(disk.extents(0, disk.capacity))) <= 81
    except CorruptError:
        pass


def test_a_changed_place_of_a_block_is_refused_by_the_checksum(made, second):
    refused = 0
    for block in _used(made.metadata)[1:]:
        content = bytearray(made.metadata.content)
        (room,) = struct.unpack_from("<I", content, block * 4096 + 20)
        at = block * 4096 + (32 + 8 * room) % 4096
        content[at + 3] ^= 1  # the lowest bit of the first value's place, above 24 bits of time
        try:
            pool = ThinPool(MemoryDisk(content), made.data, what="vg/pool")
            assert content_of(ThinDisk(pool, 2, capacity=40 * CHUNK, what="vg/thin")) == second
        except CorruptError as error:
            refused += "checksum" in str(error)
    assert refused


def test_cut_metadata_are_refused(made):
    for length in (0, 4095, 4096, 8192):
        with pytest.raises(CorruptError):
            content_of(
                ThinDisk(
                    ThinPool(MemoryDisk(bytes(made.metadata.content[:length])), made.data, what="vg/pool"),
                    1,
                    capacity=CHUNK,
                    what="vg/thin",
                )
            )


def test_the_checksum_is_that_of_the_standard():
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283
