"""Local files and devices as disks."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path

import pytest

from tests.patience import HANG
from vmkeep.errors import ConflictError, NotFoundError, StoreFullError, TransferError, UsageError
from vmkeep.images.diskfiles import LocalFileSource, LocalFileTarget
from vmkeep.model.extents import Extent, split

MIB = 1 << 20


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(8 * MIB + 512)
        for at in (0, 3 * MIB):
            file.seek(at)
            file.write(random.Random(at).randbytes(MIB))
    return path


def read_all(source, extents, *, piece_size=256 << 10, threads=3):
    found = {}
    with source.open_reader(extents, piece_size=piece_size, depth=2) as reader:

        def work():
            while (piece := reader.next_piece()) is not None:
                found[piece.start] = bytes(piece.data)
                piece.release()

        crew = [threading.Thread(target=work) for _ in range(threads)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
    return found


def test_all_pieces_are_read_once_and_never_cross_a_boundary(image):
    content = image.read_bytes()
    extents = (Extent(512, 700_032), Extent(3 * MIB, 8 * MIB + 512))
    with LocalFileSource(image) as source:
        found = read_all(source, extents)

    assert sorted(found) == [piece.start for piece in split(extents, 256 << 10)]
    assert all(content[start : start + len(data)] == data for start, data in found.items())


def test_holes_are_not_allocated(image):
    with LocalFileSource(image) as source:
        assert source.allocated() == (Extent(0, MIB), Extent(3 * MIB, 4 * MIB))
        assert source.capacity == 8 * MIB + 512


def test_a_file_of_one_hole_has_nothing_allocated(tmp_path):
    (tmp_path / "x").touch()
    os.truncate(tmp_path / "x", MIB)
    with LocalFileSource(tmp_path / "x") as source:
        assert source.allocated() == ()


def test_closing_a_reader_lets_everyone_go_who_waits_for_a_piece(image):
    results = []
    with LocalFileSource(image) as source, source.open_reader([Extent(0, 8 * MIB)], piece_size=MIB, depth=0) as reader:
        held = []
        while len(held) < (os.cpu_count() or 1):
            held.append(reader.next_piece())
        waiting = threading.Thread(target=lambda: results.append(reader.next_piece()))
        waiting.start()
        reader.close()
        waiting.join(HANG)

    assert results == [None]


def test_a_piece_is_read_into_the_buffer_that_was_used_last(image):
    """A core has that buffer in its cache. The others are memory that nobody has to touch."""
    used = []
    with LocalFileSource(image) as source, source.open_reader([Extent(0, 8 * MIB)], piece_size=MIB, depth=4) as reader:
        while (piece := reader.next_piece()) is not None:
            used.append(piece.data.obj)
            piece.release()

    assert len(used) == 8
    assert all(buffer is used[0] for buffer in used)


def test_a_file_that_shrinks_under_the_copy_is_told(image):
    with LocalFileSource(image) as source:
        os.truncate(image, 4 * MIB)
        with (
            pytest.raises(TransferError, match="became shorter"),
            source.open_reader([Extent(5 * MIB, 6 * MIB)], piece_size=MIB, depth=1) as reader,
        ):
            reader.next_piece()


@pytest.mark.parametrize("size", [0, 100, 513])
def test_what_is_no_whole_number_of_sectors_is_no_disk(tmp_path, size):
    (tmp_path / "x").write_bytes(bytes(size))

    with pytest.raises(UsageError, match="512-byte sectors"):
        LocalFileSource(tmp_path / "x")


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_what_cannot_be_read_is_named(tmp_path, what):
    (tmp_path / "folder").mkdir()

    with pytest.raises(NotFoundError, match=what):
        LocalFileSource(tmp_path / what)


def test_a_created_target_is_sparse_and_reads_as_zeros(tmp_path):
    with LocalFileTarget(tmp_path / "x", capacity=64 * MIB, create=True) as target:
        target.write(5 * MIB, memoryview(b"data" * 128))
        target.flush()
        allocated = target.allocated()

    assert (tmp_path / "x").stat().st_size == 64 * MIB
    assert (tmp_path / "x").stat().st_blocks * 512 < MIB
    assert sum(extent.length for extent in allocated) <= 65536


def test_an_existing_file_is_never_taken_for_a_new_one(image):
    with pytest.raises(ConflictError, match="exists already"):
        LocalFileTarget(image, capacity=MIB, create=True)


def test_an_existing_target_of_another_size_is_refused(image):
    with pytest.raises(ConflictError, match=f"has {8 * MIB + 512} bytes, the disk has {MIB}"):
        LocalFileTarget(image, capacity=MIB, create=False)


def test_zeroing_writes_zeros(image):
    with LocalFileTarget(image, capacity=8 * MIB + 512, create=False) as target:
        target.write_zeroes(512, 3 * MIB + 1024)

    assert image.read_bytes()[512 : 3 * MIB + 1536] == bytes(3 * MIB + 1024)
    assert image.read_bytes()[3 * MIB + 1536 : 3 * MIB + 2048] != bytes(512)


def test_a_full_file_system_is_told(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with LocalFileTarget(tmp_path / "x", capacity=MIB, create=True) as target:
        monkeypatch.setattr(os, "pwrite", refuse)
        with pytest.raises(StoreFullError, match="512 bytes more"):
            target.write(0, memoryview(bytes(512)))


def test_what_the_system_reads_and_writes_in_parts_is_whole(image, tmp_path, monkeypatch):
    preadv, pwrite = os.preadv, os.pwrite
    monkeypatch.setattr(os, "preadv", lambda file, buffers, at: preadv(file, [buffers[0][:70_001]], at))
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, data[:70_001], at))
    content = image.read_bytes()
    with (
        LocalFileSource(image) as source,
        LocalFileTarget(tmp_path / "copy.raw", capacity=source.capacity, create=True) as target,
    ):
        for start, data in read_all(source, [Extent(0, source.capacity)]).items():
            target.write(start, memoryview(data))

    assert (tmp_path / "copy.raw").read_bytes() == content


def test_flushing_a_target_syncs_it(tmp_path, monkeypatch):
    synced = []
    with LocalFileTarget(tmp_path / "copy.raw", capacity=MIB, create=True) as target:
        monkeypatch.setattr(os, "fsync", lambda file: synced.append(Path(f"/proc/self/fd/{file}").readlink()))
        target.flush()

    assert synced == [tmp_path / "copy.raw"]


def test_closing_a_reader_lets_everyone_go_who_waits_for_a_buffer(image):
    with LocalFileSource(image) as source:
        with source.open_reader([Extent(0, source.capacity)], piece_size=64 << 10, depth=1) as reader:
            taken = [reader.next_piece() for _ in range(1 + (os.cpu_count() or 1))]
            assert None not in taken
            waiting = [threading.Thread(target=reader.next_piece, daemon=True) for _ in range(3)]
            for thread in waiting:
                thread.start()
        for thread in waiting:
            thread.join(HANG)
        assert not any(thread.is_alive() for thread in waiting)


def test_a_file_system_that_fails_to_tell_what_is_allocated_means_reading_all(image, monkeypatch):
    lseek = os.lseek
    asked = []

    def failing(file, at, whence):
        if whence == os.SEEK_DATA:
            asked.append(at)
            if len(asked) > 1:
                raise OSError(errno.EIO, "Input/output error")
        return lseek(file, at, whence)

    with LocalFileSource(image) as source:
        monkeypatch.setattr(os, "lseek", failing)
        assert source.allocated() is None
    assert len(asked) == 2
