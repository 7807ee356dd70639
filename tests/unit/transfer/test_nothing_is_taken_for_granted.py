"""Claims that a copy must not believe: a source gave all, a disk is unchanged, a parent's block is there."""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager

import pytest

from tests.patience import HANG
from vmkeep.errors import CancelledError, TransferError
from vmkeep.model.extents import Extent
from vmkeep.model.job import Cursor
from vmkeep.repository import BlockWriter, MapBuilder
from vmkeep.testing import FaultyStore
from vmkeep.transfer import storing
from vmkeep.transfer.position import Position
from vmkeep.transfer.verify import verify_disk

BLOCK = 65536


def noise(blocks, *, seed=0):
    return random.Random(seed).randbytes(blocks * BLOCK)


@pytest.mark.parametrize("missing", [0, 3, 7])
def test_a_source_that_leaves_out_a_piece_is_no_success(repository, disk, back_up, missing):
    class Short(disk):
        @contextmanager
        def open_reader(self, extents, *, piece_size, depth):
            given = [Extent(n * BLOCK, (n + 1) * BLOCK) for n in range(8) if n != missing]
            with super().open_reader(given, piece_size=piece_size, depth=depth) as reader:
                yield reader

    with pytest.raises(TransferError, match=f"nothing from byte {missing * BLOCK} on"):
        back_up(Short(noise(8)), repository, piece_size=BLOCK)


def test_a_copy_without_a_snapshot_is_never_resumed_because_the_disk_may_have_changed(
    repository, disk, back_up, restored
):
    earlier = back_up(disk(noise(8)), repository, snapshot=None)
    now = disk(noise(8, seed=1))
    cursor = Cursor(snapshot=None, offset=4 * BLOCK, root=earlier.root)

    stored = back_up(now, repository, snapshot=None, cursor=cursor)

    assert stored.resumed_at == 0
    assert restored(repository, stored.root) == now.content


def test_a_lost_block_of_the_parent_is_stored_again_when_it_is_read_again(store, reopen, disk, back_up, small_packs):
    content = noise(12)
    parent = back_up(disk(content), reopen(store))
    repository = reopen(store)
    pack = repository.open_blocks()._index.find(repository.open_map(parent.root).lookup(5)).pack.hex()
    store.delete(f"packs/{pack[:2]}/{pack}")
    assert repository.check() != []  # and is written down as damage

    stored = back_up(disk(content), reopen(store), extents=(Extent(0, 12 * BLOCK),), parent_root=parent.root)

    assert stored.root == parent.root
    assert verify_disk(reopen(store), stored.root, on_progress=lambda _: None) == (12, 12 * BLOCK)


@pytest.mark.parametrize("blocks", [3, 9])
def test_a_cursor_of_a_disk_of_another_size_means_starting_over(repository, disk, back_up, restored, blocks):
    other = back_up(disk(noise(blocks)), repository)
    cursor = Cursor(snapshot="snapshot-1", offset=2 * BLOCK, root=other.root)
    now = disk(noise(6, seed=1))

    stored = back_up(now, repository, cursor=cursor)

    assert stored.resumed_at == 0
    assert restored(repository, stored.root) == now.content


def test_a_cursor_promises_nothing_that_was_done_after_its_map_was_taken(
    store, reopen, disk, back_up, restored, monkeypatch
):
    """The workers go on during a checkpoint; here they finish the disk between its map and its flush."""
    source = disk(noise(24))
    go_on, finished = threading.Event(), threading.Event()
    source.before_piece = lambda extent: extent.start < 4 * BLOCK or go_on.wait(HANG)
    taken = MapBuilder.store
    done = Position.done

    def noted(position, start, stop):
        done(position, start, stop)
        if position.low == source.capacity:
            finished.set()

    def then_all_is_done(builder):
        root = taken(builder)
        if builder.shape.capacity == source.capacity:  # and not the list of extents
            go_on.set()
            assert finished.wait(HANG)
        return root

    cursors = []

    def keep(progress):
        if progress.cursor is not None:
            cursors.append(progress.cursor)

    def check():
        if cursors:
            raise CancelledError("stop")

    monkeypatch.setattr(Position, "done", noted)
    monkeypatch.setattr(MapBuilder, "store", then_all_is_done)
    for name in ("_CHECK_SECONDS", "_CHECKPOINT_SECONDS"):
        monkeypatch.setattr(storing, name, 0)
    with pytest.raises(CancelledError):
        back_up(source, reopen(store), piece_size=BLOCK, check=check, on_progress=keep)

    stored = back_up(source, reopen(store), cursor=cursors[0])

    assert 0 <= stored.resumed_at <= 4 * BLOCK
    assert restored(reopen(store), stored.root) == source.content


def test_a_piece_counts_as_done_only_when_its_blocks_are_stored_and_in_the_map(repository, disk, back_up, monkeypatch):
    events = []

    def noted(owner, name):
        call = getattr(owner, name)

        def run(*args):
            result = call(*args)
            events.append(name)
            return result

        monkeypatch.setattr(owner, name, run)

    noted(BlockWriter, "add")
    noted(MapBuilder, "set")
    noted(Position, "done")
    back_up(disk(noise(1)), repository)

    assert events[:3] == ["add", "set", "done"]


def test_whoever_may_stop_a_copy_is_asked_while_it_runs(repository, disk, back_up, monkeypatch):
    monkeypatch.setattr(storing, "_CHECK_SECONDS", 0)
    source = disk(noise(2))
    asked = threading.Event()
    in_time = []
    source.before_piece = lambda extent: in_time.append(asked.wait(HANG))

    back_up(source, repository, check=asked.set)

    assert all(in_time)


def test_a_run_says_that_it_begins_before_it_relies_on_what_a_sweep_could_take(store, reopen, disk, back_up):
    parent = back_up(disk(noise(3)), reopen(store))
    watched = FaultyStore(store)

    back_up(disk(noise(3)), reopen(watched), run="run-2", extents=(Extent(0, BLOCK),), parent_root=parent.root)

    begun = next(at for at, (call, key) in enumerate(watched.calls) if call == "put" and key.endswith("/begun"))
    assert begun < min(at for at, (_, key) in enumerate(watched.calls) if key.startswith(("packs/", "index/")))
