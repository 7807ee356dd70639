"""Areas that changed and are not allocated any more become zeros: none is read, and none shows the parent's content."""

from __future__ import annotations

import os
import random
import threading
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmkeep.errors import CancelledError
from vmkeep.model.extents import Extent, coalesce
from vmkeep.repository import Repository, decode_extents
from vmkeep.repository.maps.attachments import read_content
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore
from vmkeep.transfer import pipeline, storing

BLOCK = 65536
LEAF = 256 * BLOCK
WORKERS = os.cpu_count() or 1


def test_a_trimmed_area_is_zeros_and_is_not_read(repository, disk, back_up, restored):
    before = random.Random(1).randbytes(20 * BLOCK)
    parent = back_up(disk(before), repository)
    after = bytearray(before)
    after[4 * BLOCK : 12 * BLOCK] = bytes(8 * BLOCK)
    trimmed = disk(after, allocated=(Extent(0, 4 * BLOCK), Extent(12 * BLOCK, 20 * BLOCK)))

    stored = back_up(trimmed, repository, extents=(Extent(4 * BLOCK, 12 * BLOCK),), parent_root=parent.root)

    assert stored.bytes_read == 0
    assert restored(repository, stored.root) == bytes(after)
    listed = read_content(repository.open_map(stored.extents_root), repository.open_blocks())
    assert decode_extents(listed) == (Extent(4 * BLOCK, 12 * BLOCK),)  # it did change, though nothing was read


def test_whole_pages_of_the_map_go_at_once(repository, disk, back_up, restored):
    before = bytearray(3 * LEAF)
    for block in range(0, 768, 50):
        before[block * BLOCK : block * BLOCK + 16] = b"some old content"
    parent = back_up(disk(before), repository)
    after = bytearray(before)
    after[BLOCK : 3 * LEAF - BLOCK] = bytes(3 * LEAF - 2 * BLOCK)
    changed = Extent(BLOCK, 3 * LEAF - BLOCK)

    stored = back_up(
        disk(after, allocated=(Extent(0, BLOCK),)), repository, extents=(changed,), parent_root=parent.root
    )

    assert restored(repository, stored.root) == bytes(after)


ranges = st.lists(
    st.tuples(st.integers(0, 299), st.integers(1, 299)).map(
        lambda pair: Extent(pair[0] * BLOCK, min(300, pair[0] + pair[1]) * BLOCK)
    ),
    max_size=5,
).map(coalesce)


# The fixtures used are plain functions, so that sharing them between examples is harmless.
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changed=ranges, allocated=ranges, seed=st.integers(0, 1000))
def test_the_result_is_the_disk_whatever_changed_and_whatever_is_allocated(
    disk, back_up, restored, changed, allocated, seed
):
    store = MemoryStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    repository = Repository(store, descriptor.load(store))
    chooser = random.Random(seed)
    before = bytearray(300 * BLOCK)
    for block in chooser.sample(range(300), 120):
        before[block * BLOCK : block * BLOCK + 8] = chooser.randbytes(8)
    parent = back_up(disk(before), repository)
    after = bytearray(before)
    for extent in changed:
        after[extent.start : extent.stop] = bytes(extent.length)
    for extent in allocated:  # the guest wrote again into a part of what it had trimmed
        for start in range(extent.start, extent.stop, BLOCK):
            if any(area.start <= start < area.stop for area in changed):
                after[start : start + 8] = chooser.randbytes(8)
    # What did not change may lie in areas that the source calls unallocated; nothing is asked of those.

    stored = back_up(disk(after, allocated=allocated), repository, extents=changed, parent_root=parent.root)

    assert restored(repository, stored.root) == bytes(after)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changed=ranges, allocated=ranges, stopped_at=st.integers(0, 40), seed=st.integers(0, 1000))
def test_a_copy_that_stopped_anywhere_among_cleared_areas_goes_on_to_the_same_disk(
    disk, back_up, restored, changed, allocated, stopped_at, seed
):
    store = MemoryStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    chooser = random.Random(seed)
    before = bytearray(300 * BLOCK)
    for block in range(300):
        before[block * BLOCK : block * BLOCK + 8] = chooser.randbytes(8)
    parent = back_up(disk(before), Repository(store, descriptor.load(store)))
    after = bytearray(before)
    for extent in changed:
        after[extent.start : extent.stop] = bytes(extent.length)
    for extent in allocated:
        for start in range(extent.start, extent.stop, BLOCK):
            if any(area.start <= start < area.stop for area in changed):
                after[start : start + 8] = chooser.randbytes(8)
    source = disk(after, allocated=allocated)
    cursors, pieces, checkpoint = [], [], threading.Event()

    def stop(_extent):
        pieces.append(1)
        if len(pieces) > stopped_at + WORKERS:  # so that some are done
            checkpoint.wait(10)
            raise CancelledError("enough")

    def note(event):
        if event.cursor is not None:
            cursors.append(event.cursor)
            checkpoint.set()

    source.before_piece = stop
    with pytest.MonkeyPatch.context() as patch, suppress(CancelledError):
        patch.setattr(pipeline, "TICK", 0.002)
        patch.setattr(storing, "_CHECK_SECONDS", 0)
        patch.setattr(storing, "_CHECKPOINT_SECONDS", 0)
        back_up(
            source, Repository(store, descriptor.load(store)), extents=changed, parent_root=parent.root,
            piece_size=BLOCK, on_progress=note,
        )  # fmt: skip
    source.before_piece = lambda _extent: None

    stored = back_up(
        source, Repository(store, descriptor.load(store)), extents=changed, parent_root=parent.root,
        cursor=cursors[-1] if cursors else None,
    )  # fmt: skip

    assert restored(Repository(store, descriptor.load(store)), stored.root) == bytes(after)
