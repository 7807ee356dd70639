"""Every restore point is what a chain of a full and its increments gives, applied forward or backward.

Products that keep chains build a disk in one of two ways. Forward, the full is written, and each increment over it.
Backward, the newest increment is written first, and a map of what is written keeps older ones from writing it again.
Here every point is already a synthetic full. The chain is what each point says of itself: the extents that it has read.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.transfer.conftest import BLOCK, MemoryDisk, open_memory
from vmkeep.model.extents import Extent, Extents, coalesce, complement, subtract, unite
from vmkeep.repository import decode_extents
from vmkeep.repository.maps import read_content
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore
from vmkeep.transfer.storing import back_up_disk
from vmkeep.transfer.writing import restore_disk

SECTOR = 512
SIZE = 7 * BLOCK + 3 * SECTOR
SECTORS = SIZE // SECTOR


@dataclass(frozen=True)
class Change:
    """A guest's write, its zeros or its trim."""

    extent: Extent
    kind: str


@dataclass(frozen=True)
class Step:
    """The changes between two points."""

    changes: tuple[Change, ...]
    full: bool
    """The disk is read in full, as after a reset of change tracking."""


@dataclass(frozen=True)
class Point:
    root: str
    extents: Extents
    full: bool
    content: bytes


changes = st.builds(
    Change,
    extent=st.tuples(st.integers(0, SECTORS - 1), st.integers(1, 3 * BLOCK // SECTOR)).map(
        lambda pair: Extent(pair[0] * SECTOR, min(pair[0] + pair[1], SECTORS) * SECTOR)
    ),
    kind=st.sampled_from(["data", "data", "zeros", "trim"]),
)
steps = st.builds(Step, changes=st.lists(changes, max_size=4).map(tuple), full=st.sampled_from([False] * 5 + [True]))


def take(repository, disk, *, number, parent, extents):
    return back_up_disk(
        disk, repository, run=f"run-{number}", extents=extents, parent_root=parent, cursor=None, snapshot=f"s-{number}",
        piece_size=4 * BLOCK, depth=2, on_progress=lambda _: None, check=lambda: None,
    )  # fmt: skip


def make_chain(repository, chain):
    """Back up a disk after each step, and return the points."""
    content, allocated, points = bytearray(SIZE), Extents(), []
    for number, step in enumerate(chain):
        for change in step.changes:
            extent = change.extent
            fill = random.Random(number).randbytes(extent.length) if change.kind == "data" else bytes(extent.length)
            content[extent.start : extent.stop] = fill
            allocated = subtract(allocated, [extent]) if change.kind == "trim" else unite(allocated, [extent])
        full = step.full or not points
        stored = take(
            repository,
            MemoryDisk(content, allocated=allocated),
            number=number,
            parent=None if full else points[-1].root,
            extents=None if full else coalesce(change.extent for change in step.changes),
        )
        listed = decode_extents(read_content(repository.open_map(stored.extents_root), repository.open_blocks()))
        points.append(Point(stored.root, listed, full, bytes(content)))
    return points


def write(repository, point, target, extents):
    """Write a part of a point as every restore does."""
    restore_disk(
        repository, point.root, target, fresh=False, only=extents, on_progress=lambda _: None, check=lambda: None
    )


def forward(repository, points):
    target = MemoryDisk(bytes(SIZE))
    for point in points:
        if point.full:
            target.write_zeroes(0, SIZE)
        write(repository, point, target, point.extents)
    return bytes(target.content)


def backward(repository, points):
    """Return the disk, and how often each block was written."""
    target, written = MemoryDisk(b"\xff" * SIZE), Extents()
    for point in reversed(points):
        write(repository, point, target, subtract(point.extents, written))
        written = unite(written, point.extents)
        if point.full:
            break
    for rest in complement(written, SIZE):
        target.write_zeroes(rest.start, rest.length)
    spans = [(start, start + length) for start, length in target.writes + target.zeroed]
    counts = Counter(block for start, stop in spans for block in range(start // BLOCK, -(-stop // BLOCK)))
    return bytes(target.content), counts


def whole(repository, point):
    target = MemoryDisk(bytes(SIZE))
    restore_disk(repository, point.root, target, fresh=True, on_progress=lambda _: None, check=lambda: None)
    return bytes(target.content)


@settings(max_examples=25)
@given(st.lists(steps, min_size=1, max_size=5))
def test_a_chain_applied_forward_and_backward_is_the_synthetic_full(chain):
    store = MemoryStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    repository = open_memory(store)
    points = make_chain(repository, chain)

    for count in range(1, len(points) + 1):
        part = points[:count]
        content, counts = backward(repository, part)
        assert whole(repository, part[-1]) == part[-1].content
        assert forward(repository, part) == part[-1].content
        assert content == part[-1].content
        assert max(counts.values()) == 1, "a block was written twice"
