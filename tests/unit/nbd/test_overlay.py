"""A disk that takes writes and keeps none."""

from __future__ import annotations

import errno
import os
import tempfile
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nbd_parts import HugeDisk, MemoryDisk
from vmkeep.model.extents import Extent
from vmkeep.nbd import open_overlay
from vmkeep.nbd.overlay import CELL, Overlay

SIZE = 40 * CELL + 512
BASE = bytes(1 + n % 251 for n in range(SIZE))


def everything(disk) -> bytes:
    data = bytearray(disk.capacity)
    disk.read_into(0, memoryview(data))
    return bytes(data)


@st.composite
def changes(draw):
    start = draw(st.integers(0, SIZE - 1))
    length = draw(st.integers(1, SIZE - start))
    return draw(st.sampled_from(["write", "zero", "discard"])), start, length, draw(st.integers(1, 255))


@settings(max_examples=120, deadline=None)
@given(st.lists(changes(), max_size=8), st.integers(0, SIZE - 1), st.integers(0, SIZE))
def test_an_overlay_reads_as_a_disk_that_was_written(made, start, length):
    model = bytearray(BASE)
    with open_overlay(MemoryDisk(BASE)) as overlay:
        for what, at, count, byte in made:
            if what == "write":
                overlay.write(at, memoryview(bytes([byte]) * count))
                model[at : at + count] = bytes([byte]) * count
            elif what == "zero":
                overlay.write_zeroes(at, count)
                model[at : at + count] = bytes(count)
            else:
                before = everything(overlay)
                overlay.discard(at, count)
                after = everything(overlay)
                model[at : at + count] = after[at : at + count]  # what is discarded may read as anything
                assert before[:at] == after[:at]
                assert before[at + count :] == after[at + count :]
        assert everything(overlay) == model
        stop = min(SIZE, start + length)
        part = bytearray(stop - start)
        overlay.read_into(start, memoryview(part))
        assert part == model[start:stop]
        at = start
        for extent, data in overlay.extents(start, stop):
            assert extent.start == at
            assert data or not any(model[extent.start : extent.stop])
            at = extent.stop
        assert at == stop


def test_zeros_and_discarded_parts_are_holes():
    with open_overlay(MemoryDisk(BASE)) as overlay:
        overlay.write_zeroes(0, 4 * CELL)
        overlay.write(CELL, memoryview(b"x"))
        assert list(overlay.extents(0, 5 * CELL)) == [
            (Extent(0, CELL), False), (Extent(CELL, 2 * CELL), True), (Extent(2 * CELL, 4 * CELL), False),
            (Extent(4 * CELL, 5 * CELL), True),
        ]  # fmt: skip
        overlay.discard(0, SIZE)
        assert not any(data for extent, data in overlay.extents(0, 4 * CELL))


def test_the_overlay_of_a_huge_disk_takes_the_room_of_what_is_written():
    disk = HugeDisk(62 << 40)
    with tempfile.TemporaryFile() as file:
        overlay = Overlay(disk, file.fileno())
        for start in (0, 7 << 40, disk.capacity - 1000):
            overlay.write(start, memoryview(b"\x77" * 1000))
        overlay.write_zeroes(3 << 40, 4 << 30)
        assert os.fstat(file.fileno()).st_blocks * 512 <= 6 * CELL
        last = bytearray(1024)
        overlay.read_into(disk.capacity - 1024, memoryview(last))
        assert last == bytes(24) + b"\x77" * 1000 or last[24:] == b"\x77" * 1000


def test_a_full_folder_is_no_room_and_spoils_nothing(monkeypatch):
    with open_overlay(MemoryDisk(BASE)) as overlay:
        overlay.write(0, memoryview(b"kept"))
        monkeypatch.setattr("vmkeep.nbd.overlay._ROOM", 1 << 62)
        with pytest.raises(OSError, match="nearly full") as caught:
            overlay.write(CELL, memoryview(b"lost"))
        assert caught.value.errno == errno.ENOSPC
        assert everything(overlay) == b"kept" + BASE[4:]


def test_the_file_of_an_overlay_has_no_name_and_no_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_overlay(MemoryDisk(BASE)) as overlay:
        overlay.write(0, memoryview(b"secret"))
        assert not list(tmp_path.iterdir())


def test_neighbours_written_at_once_in_one_cell_are_both_kept():
    with open_overlay(MemoryDisk(BASE)) as overlay:

        def fill(number: int) -> None:
            for cell in range(40):
                overlay.write(cell * CELL + number * 512, memoryview(bytes([number + 1]) * 512))

        threads = [Thread(target=fill, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert everything(overlay)[: 40 * CELL] == b"".join(bytes([n + 1]) * 512 for n in range(8)) * 40
