"""Disks in memory, and repositories with small packs, so that few bytes make many of everything."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from vmkeep.model.extents import split
from vmkeep.repository import Repository
from vmkeep.repository.blocks import writer
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore
from vmkeep.transfer.storing import back_up_disk
from vmkeep.transfer.writing import restore_disk

BLOCK = 65536


class MemoryPiece:
    def __init__(self, start, data, given_back):
        self.start = start
        self.data = data
        self._given_back = given_back

    def release(self):
        self._given_back()
        self.data.release()


class MemoryReader:
    def __init__(self, disk, extents, piece_size):
        self._pieces = split(extents, piece_size)
        self._disk = disk
        self._lock = threading.Lock()
        self.out = 0

    def next_piece(self):
        with self._lock:
            extent = next(self._pieces, None)
            if extent is None:
                return None
            self.out += 1
        self._disk.before_piece(extent)
        data = memoryview(bytearray(self._disk.content[extent.start : extent.stop]))
        return MemoryPiece(extent.start, data, self._back)

    def _back(self):
        with self._lock:
            self.out -= 1


class MemoryDisk:
    """A disk to read from and to write to."""

    transport = "memory"

    def __init__(self, content, *, allocated=None):
        self.content = bytearray(content)
        self.capacity = len(content)
        self.allocated_extents = allocated
        self.writes = []
        self.zeroed = []
        self.before_piece = lambda extent: None
        self.flushed = 0

    def allocated(self):
        return self.allocated_extents

    @contextmanager
    def open_reader(self, extents, *, piece_size, depth):
        reader = MemoryReader(self, extents, piece_size)
        yield reader
        assert reader.out == 0, "a piece was not given back"

    def write(self, start, data):
        self.writes.append((start, len(data)))
        self.content[start : start + len(data)] = data

    def write_zeroes(self, start, length):
        self.zeroed.append((start, length))
        self.content[start : start + length] = bytes(length)

    def flush(self):
        self.flushed += 1


def open_memory(store) -> Repository:
    return Repository(store, descriptor.load(store))


@pytest.fixture
def store():
    store = MemoryStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    return store


@pytest.fixture
def repository(store):
    return open_memory(store)


@pytest.fixture
def small_packs(monkeypatch):
    monkeypatch.setattr(writer, "PACK_SIZE", 4 * BLOCK)
    monkeypatch.setattr(writer, "PAGE_PACK_SIZE", 16384)


@pytest.fixture
def disk():
    return MemoryDisk


@pytest.fixture
def reopen():
    return open_memory


@pytest.fixture
def back_up():
    def run(source, repository, **fields):
        given = {
            "run": "run-1",
            "extents": None,
            "parent_root": None,
            "cursor": None,
            "snapshot": "snapshot-1",
            "piece_size": 4 * BLOCK,
            "depth": 2,
            "on_progress": lambda _progress: None,
            "check": lambda: None,
        }
        return back_up_disk(source, repository, **(given | fields))

    return run


@pytest.fixture
def restored():
    """Return what a map root restores to on a fresh disk."""

    def run(repository, root):
        target = MemoryDisk(bytes(repository.open_map(root).capacity))
        restore_disk(repository, root, target, fresh=True, on_progress=lambda _: None, check=lambda: None)
        return bytes(target.content)

    return run
