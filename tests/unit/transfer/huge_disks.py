"""Handles one huge disk in a process of its own, and prints by how many MiB its memory has grown.

    python tests/unit/transfer/huge_disks.py sparse|fragments|cleared|restored

The disks hold nothing but what the case is about, and the repository is in memory: what grows is what a copy itself
remembers of the disk.
"""

from __future__ import annotations

import resource
import sys
import threading
from contextlib import contextmanager

from vmkeep.model.extents import Extent, gather, split
from vmkeep.repository import ZERO, Kind, Repository
from vmkeep.repository.maps.maps import FAN_OUT, Shape, encode_root
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore
from vmkeep.transfer.storing import back_up_disk
from vmkeep.transfer.writing import restore_disk

BLOCK = 65536
TIB = 1 << 40
FRAGMENTS = 300_000
CLEARED = 40_000
STRIPES = 1 << 19
DATA = b"x" * BLOCK


class Reached(Exception):
    """Planning is over."""


class Piece:
    def __init__(self, start, data):
        self.start = start
        self.data = data

    def release(self):
        """The bytes are nobody else's."""


class Reader:
    def __init__(self, extents, piece_size):
        self._pieces = split(extents, piece_size)
        self._lock = threading.Lock()

    def next_piece(self):
        with self._lock:
            extent = next(self._pieces, None)
        if extent is None:
            return None
        return Piece(extent.start, memoryview(DATA * (extent.length // BLOCK)))


class HugeDisk:
    """A disk whose every block is the same."""

    transport = "none"

    def __init__(self, capacity, allocated=()):
        self.capacity = capacity
        self._allocated = allocated

    def allocated(self):
        return gather(self._allocated)

    @contextmanager
    def open_reader(self, extents, *, piece_size, depth):
        yield Reader(extents, piece_size)

    def write(self, start, data):
        """Forget it."""

    def write_zeroes(self, start, length):
        """Forget it."""

    def flush(self):
        """Nothing is held."""


class Planned(HugeDisk):
    """A disk of which nothing is read any more once it is known what would be."""

    @contextmanager
    def open_reader(self, extents, *, piece_size, depth):
        raise Reached
        yield


def make_repository():
    store = MemoryStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    return Repository(store, descriptor.load(store))


def back_up(repository, disk, *, run, extents=None, parent=None):
    return back_up_disk(
        disk, repository, run=run, extents=extents, parent_root=parent, cursor=None, snapshot=None,
        piece_size=1 << 20, depth=4, on_progress=lambda _: None, check=lambda: None,
    ).root  # fmt: skip


def striped(repository, blocks):
    """Store the map of a disk on which every other block holds data; all its pages of one level are the same."""
    shape = Shape(capacity=blocks * BLOCK, block_size=BLOCK)
    digester = repository.framer.digester
    with repository.open_writer(run="striped") as out:
        digest = digester.of(Kind.BLOCK, DATA)
        out.add(Kind.BLOCK, digest, DATA)
        page = (digest + ZERO) * (FAN_OUT // 2)
        for level in range(1, shape.levels + 1):
            digest = digester.of(Kind.PAGE, page)
            out.add(Kind.PAGE, digest, page)
            page = digest * min(FAN_OUT, blocks >> (6 * level))
            page += bytes(FAN_OUT * 32 - len(page))
        root = encode_root(shape, digest)
        digest = digester.of(Kind.PAGE, root)
        out.add(Kind.PAGE, digest, root)
        out.flush()
    return digest.hex()


def sparse(repository):
    """Everything of 62 TiB may have changed, and all of it is a hole now."""
    disk = HugeDisk(62 * TIB, [(0, BLOCK)])
    parent = back_up(repository, disk, run="parent")
    yield
    back_up(repository, HugeDisk(62 * TIB), run="sparse", extents=[Extent(0, 62 * TIB)], parent=parent)


def fragments(repository):
    """Very many small areas are allocated."""
    yield
    areas = ((at * 4 * BLOCK, at * 4 * BLOCK + 4096) for at in range(FRAGMENTS))
    try:
        back_up(repository, Planned(FRAGMENTS * 4 * BLOCK, areas), run="fragments")
    except Reached:
        return
    raise AssertionError("nothing was to be read")


def cleared(repository):
    """Very many small areas were discarded since the parent, each below a page of its own."""
    capacity = CLEARED * FAN_OUT * BLOCK
    parent = back_up(repository, HugeDisk(capacity, [(0, BLOCK)]), run="parent")
    changed = gather((at * FAN_OUT * BLOCK + BLOCK, at * FAN_OUT * BLOCK + 2 * BLOCK) for at in range(CLEARED))
    yield
    back_up(repository, HugeDisk(capacity, [(0, BLOCK)]), run="cleared", extents=changed, parent=parent)


def restored(repository):
    """Very many holes have to be zeros on the target."""
    root = striped(repository, STRIPES)
    yield
    target = HugeDisk(STRIPES * BLOCK, [(0, STRIPES * BLOCK)])
    restore_disk(repository, root, target, fresh=False, on_progress=lambda _: None, check=lambda: None)


def main(case):
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10  # noqa: E731
    back_up(make_repository(), HugeDisk(1 << 30, [(0, 64 << 20)]), run="everything is loaded")
    steps = globals()[case](make_repository())
    next(steps)
    before = peak()
    for _ in steps:
        pass
    print(peak() - before)


if __name__ == "__main__":
    main(sys.argv[1])
