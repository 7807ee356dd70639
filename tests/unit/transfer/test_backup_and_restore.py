"""Copies: what was on the disk is what comes back, and no more is read, stored or written than has to be."""

from __future__ import annotations

import random
import threading

import pytest

from tests.patience import HANG
from vmkeep.errors import ConflictError, CorruptError, FencedError, TransferError, UsageError
from vmkeep.model.extents import Extent
from vmkeep.model.job import Cursor
from vmkeep.repository import Kind, ReadBuffers, Wanted, decode_extents
from vmkeep.repository.maps.attachments import read_content
from vmkeep.transfer import reading, storing
from vmkeep.transfer.verify import verify_disk
from vmkeep.transfer.writing import restore_disk

BLOCK = 65536


def noise(blocks, *, seed=0, tail=0):
    return random.Random(seed).randbytes(blocks * BLOCK + tail)


@pytest.mark.parametrize("tail", [0, 512, BLOCK - 512])
@pytest.mark.parametrize("blocks", [0, 1, 5, 64, 70])
def test_a_disk_comes_back_byte_for_byte(repository, disk, back_up, restored, blocks, tail):
    content = noise(blocks, tail=tail) or bytes(512)

    stored = back_up(disk(content), repository)

    assert restored(repository, stored.root) == content
    assert stored.bytes_read == len(content)


def test_zeros_are_not_stored(repository, disk, back_up, restored):
    content = bytes(50 * BLOCK) + noise(1) + bytes(50 * BLOCK + 512)

    stored = back_up(disk(content), repository)

    assert stored.bytes_stored < 1.3 * BLOCK
    assert restored(repository, stored.root) == content


def test_equal_blocks_are_stored_once(repository, disk, back_up, restored):
    content = noise(1) * 40

    stored = back_up(disk(content), repository)

    assert stored.bytes_stored < 1.5 * BLOCK
    assert restored(repository, stored.root) == content


def test_an_unchanged_disk_stores_no_data(repository, disk, back_up):
    content = noise(30)
    first = back_up(disk(content), repository)
    again = back_up(disk(content), repository)

    assert again.root == first.root
    assert again.bytes_stored == 0


def test_only_what_is_allocated_is_read(repository, disk, back_up, restored):
    content = noise(3) + bytes(60 * BLOCK) + noise(2, seed=1)
    source = disk(content, allocated=(Extent(0, 3 * BLOCK), Extent(63 * BLOCK + 512, 65 * BLOCK)))

    stored = back_up(source, repository)

    assert stored.bytes_read == 5 * BLOCK
    assert restored(repository, stored.root) == content


def test_an_incremental_reads_whole_blocks_around_what_changed(repository, disk, back_up, restored):
    content = bytearray(noise(20))
    parent = back_up(disk(content), repository)
    content[5 * BLOCK + 100 : 5 * BLOCK + 200] = b"x" * 100
    extents = (Extent(5 * BLOCK, 5 * BLOCK + 512), Extent(8 * BLOCK - 512, 8 * BLOCK + 512))

    stored = back_up(disk(content), repository, extents=extents, parent_root=parent.root)

    assert stored.bytes_read == 3 * BLOCK
    assert restored(repository, stored.root) == content
    assert restored(repository, parent.root) == noise(20)
    read = read_content(repository.open_map(stored.extents_root), repository.open_blocks())
    assert decode_extents(read) == (Extent(5 * BLOCK, 6 * BLOCK), Extent(7 * BLOCK, 9 * BLOCK))
    assert len(read) == stored.extents_size


def test_no_changes_at_all_give_the_parents_root(repository, disk, back_up):
    parent = back_up(disk(noise(20)), repository)

    stored = back_up(disk(noise(20)), repository, extents=(), parent_root=parent.root)

    assert (stored.root, stored.bytes_read) == (parent.root, 0)


def test_a_full_read_forgets_what_is_no_longer_allocated(repository, disk, back_up, restored):
    parent = back_up(disk(noise(4)), repository)
    source = disk(noise(2) + bytes(2 * BLOCK), allocated=(Extent(0, 2 * BLOCK),))

    stored = back_up(source, repository, parent_root=parent.root)

    assert restored(repository, stored.root) == noise(2) + bytes(2 * BLOCK)


@pytest.mark.parametrize(("old", "new"), [(5, 9), (64, 65), (1, 70), (70, 5000)])
@pytest.mark.parametrize("tail", [0, 512])
def test_a_grown_disk_needs_only_its_changes_and_what_is_new(repository, disk, back_up, restored, old, new, tail):
    content = noise(old, tail=tail)
    parent = back_up(disk(content), repository)
    grown = content[: -BLOCK // 2] + noise(1, seed=1) + bytes((new - old) * BLOCK)
    grown = bytearray(grown[: new * BLOCK])
    grown[-512:] = b"e" * 512

    changed = (Extent(len(content) - BLOCK // 2, len(content)),)
    stored = back_up(disk(grown), repository, extents=changed, parent_root=parent.root)

    assert restored(repository, stored.root) == grown


def test_a_shrunken_disk_has_to_be_read_in_full(repository, disk, back_up):
    parent = back_up(disk(noise(5)), repository)

    with pytest.raises(UsageError, match="in full"):
        back_up(disk(noise(4)), repository, extents=(), parent_root=parent.root)


def test_many_packs_and_segments_hold_one_disk(store, repository, small_packs, disk, back_up, restored):
    content = noise(100, tail=512)

    stored = back_up(disk(content), repository)

    assert len(list(store.list("packs/"))) > 30
    assert restored(repository, stored.root) == content
    assert repository.check(read_data=True) == []


def paused(source, pieces):
    """Make a source stand still after some pieces, until told to go on."""
    go, reached = threading.Event(), threading.Semaphore(0)
    seen = []
    lock = threading.Lock()

    def before(extent):
        with lock:
            seen.append(extent)
            wait = len(seen) > pieces
        if wait:
            reached.release()
            assert go.wait(HANG)

    source.before_piece = before
    return go


def interrupted(monkeypatch, back_up, source, repository, *, pieces, **fields):
    """Back up until the first checkpoint after some pieces, then fence; return the cursor."""
    monkeypatch.setattr(storing, "_CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(storing, "_CHECK_SECONDS", 0)
    go = paused(source, pieces)
    cursors = []

    def on_progress(progress):
        if progress.cursor is not None and progress.cursor.offset > 0 < progress.cursor.bytes_read:
            cursors.append(progress.cursor)
            go.set()

    def check():
        if cursors:
            raise FencedError("stop")

    with pytest.raises(FencedError):
        back_up(source, repository, on_progress=on_progress, check=check, **fields)
    source.before_piece = lambda extent: None
    return cursors[-1]


def test_a_retry_goes_on_where_the_cursor_stood(store, reopen, disk, back_up, restored, monkeypatch):
    content = noise(40, tail=512)
    source = disk(content)
    cursor = interrupted(monkeypatch, back_up, source, reopen(store), pieces=4)

    assert 0 < cursor.offset < source.capacity
    assert cursor.snapshot == "snapshot-1"
    stored = back_up(source, reopen(store), cursor=cursor)
    assert stored.resumed_at == cursor.offset
    assert restored(reopen(store), stored.root) == content
    assert stored.root == back_up(disk(content), reopen(store)).root
    assert len(content) <= stored.bytes_read


def test_a_retry_of_an_incremental_keeps_the_parents_blocks(store, reopen, disk, back_up, restored, monkeypatch):
    content = bytearray(noise(60))
    parent = back_up(disk(content), reopen(store))
    extents = [Extent(n * BLOCK, n * BLOCK + 512) for n in range(1, 60, 2)]
    for extent in extents:
        content[extent.start] ^= 1
    source = disk(content)
    monkeypatch.setattr(storing, "_CHECKPOINT_SECONDS", 0)
    cursor = interrupted(
        monkeypatch, back_up, source, reopen(store), pieces=1, extents=extents, parent_root=parent.root,
        piece_size=BLOCK,
    )  # fmt: skip

    stored = back_up(source, reopen(store), extents=extents, parent_root=parent.root, cursor=cursor)

    assert restored(reopen(store), stored.root) == content


def test_a_cursor_of_another_snapshot_is_never_used(store, reopen, disk, back_up, restored, monkeypatch):
    source = disk(noise(40))
    cursor = interrupted(monkeypatch, back_up, source, reopen(store), pieces=4)
    later = disk(noise(40, seed=1))

    stored = back_up(later, reopen(store), cursor=cursor, snapshot="snapshot-2")

    assert stored.resumed_at == 0
    assert restored(reopen(store), stored.root) == later.content


def test_a_cursor_whose_map_is_gone_means_starting_over(repository, disk, back_up, restored):
    cursor = Cursor(snapshot="snapshot-1", offset=2 * BLOCK, root="ab" * 32)

    stored = back_up(disk(noise(4)), repository, cursor=cursor)

    assert stored.resumed_at == 0
    assert restored(repository, stored.root) == noise(4)


def test_progress_ends_with_all_bytes_done(repository, disk, back_up):
    events = []
    back_up(disk(noise(10)), repository, on_progress=events.append)

    assert (events[-1].phase, events[-1].bytes_done, events[-1].bytes_total) == ("backup", 10 * BLOCK, 10 * BLOCK)
    assert events[-1].bytes_stored > 10 * BLOCK


def test_a_source_that_gives_half_a_block_is_refused(repository, disk, back_up):
    class Odd(disk):
        def open_reader(self, extents, *, piece_size, depth):
            return super().open_reader([Extent(512, 1024)], piece_size=piece_size, depth=depth)

    with pytest.raises(TransferError, match="not whole blocks"):
        back_up(Odd(noise(2)), repository)


def test_a_fresh_target_is_written_only_where_there_is_data(repository, disk, back_up):
    content = bytes(10 * BLOCK) + noise(3) + bytes(10 * BLOCK)
    root = back_up(disk(content), repository).root
    target = disk(bytes(len(content) + BLOCK))

    written, zeroed = restore_disk(repository, root, target, fresh=True, on_progress=lambda _: None, check=lambda: None)

    assert (written, zeroed, target.zeroed, target.flushed) == (3 * BLOCK, 0, [], 1)
    assert sorted(target.writes) == [(n * BLOCK, BLOCK) for n in (10, 11, 12)]


@pytest.mark.parametrize("allocated", [None, (Extent(0, 2 * BLOCK), Extent(12 * BLOCK, 23 * BLOCK))])
def test_a_used_target_is_zeroed_where_it_may_hold_data(repository, disk, back_up, allocated):
    content = bytes(10 * BLOCK) + noise(3) + bytes(10 * BLOCK)
    root = back_up(disk(content), repository).root
    target = disk(noise(23, seed=5), allocated=allocated)
    for extent in () if allocated is None else (Extent(2 * BLOCK, 12 * BLOCK),):
        target.content[extent.start : extent.stop] = bytes(extent.length)

    _, zeroed = restore_disk(repository, root, target, fresh=False, on_progress=lambda _: None, check=lambda: None)

    assert target.content == content
    assert zeroed == (20 * BLOCK if allocated is None else 12 * BLOCK)


@pytest.mark.parametrize("tail", [0, 512])
def test_a_used_target_that_is_larger_is_zeroed_beyond_the_disk_too(repository, disk, back_up, tail):
    content = noise(2, tail=tail)
    root = back_up(disk(content), repository).root
    target = disk(noise(5, seed=5))

    _, zeroed = restore_disk(repository, root, target, fresh=False, on_progress=lambda _: None, check=lambda: None)

    assert target.content == content + bytes(3 * BLOCK - tail)
    assert zeroed == 3 * BLOCK - tail


def test_each_block_is_written_once_however_many_windows_a_disk_is_read_in(repository, disk, back_up, monkeypatch):
    monkeypatch.setattr(reading, "WINDOW", 7)
    content = noise(20) + noise(3) + noise(5, seed=1)  # some of it twice, in one window and in two
    root = back_up(disk(content), repository).root
    target = disk(bytes(len(content)))

    written, _ = restore_disk(repository, root, target, fresh=True, on_progress=lambda _: None, check=lambda: None)

    assert target.content == content
    assert sorted(target.writes) == [(n * BLOCK, BLOCK) for n in range(28)]
    assert written == len(content)


def test_a_target_that_is_too_small_is_refused(repository, disk, back_up):
    root = back_up(disk(noise(2)), repository).root
    target = disk(bytes(BLOCK))

    with pytest.raises(ConflictError, match=f"needs {2 * BLOCK} bytes"):
        restore_disk(repository, root, target, fresh=True, on_progress=lambda _: None, check=lambda: None)
    assert target.writes == []


def test_a_lost_pack_is_named_with_disk_offset_and_point(store, repository, small_packs, disk, back_up, reopen):
    root = back_up(disk(noise(20)), repository).root
    lost = repository.open_blocks()._index.find(repository.open_map(root).lookup(7)).pack.hex()
    store.delete(f"packs/{lost[:2]}/{lost}")

    with pytest.raises(CorruptError, match=rf"point a/b: scsi0:0, byte \d+: pack {lost}: .* is lost"):
        restore_disk(
            reopen(store), root, disk(bytes(20 * BLOCK)), fresh=True, on_progress=lambda _: None,
            check=lambda: None, what="point a/b: scsi0:0",
        )  # fmt: skip


def test_blocks_that_maintenance_moves_during_a_restore_are_found_again(
    store, repository, small_packs, disk, back_up, reopen
):
    data = noise(20)
    root = back_up(disk(data), repository).root
    reader = reopen(store)
    plan = read_plan(reader, root)
    for blob in list(store.list("index/")):
        store.delete(blob.key)
    back_up(disk(data), reopen(store), run="run-2")  # stores all of it once more, in other packs
    for batch in plan:
        store.delete(batch.key)

    scratch = ReadBuffers()
    read = {
        frame.digest: bytes(content) for batch in plan for frame, content in reader.open_blocks().read(batch, scratch)
    }
    assert {digest for _, digest in reader.open_map(root).blocks()} == set(read)
    assert set(read.values()) == {data[at : at + BLOCK] for at in range(0, len(data), BLOCK)}


def read_plan(repository, root):
    blocks = repository.open_blocks()
    return blocks.plan(
        Wanted(digest, blocks.locate(Kind.BLOCK, digest), BLOCK, (block,))
        for block, digest in repository.open_map(root).blocks()
    )


def test_a_block_that_no_index_knows_shows_before_anything_is_written(store, repository, disk, back_up, reopen):
    first = back_up(disk(noise(1)), repository)
    segments = {blob.key for blob in store.list("index/")}
    whole = back_up(disk(noise(1) + noise(1, seed=3)), repository)
    for key in segments:
        store.delete(key)
    target = disk(bytes(2 * BLOCK))

    with pytest.raises(CorruptError, match=r"disk, byte 0: block .* is not in the index"):
        restore_disk(reopen(store), whole.root, target, fresh=True, on_progress=lambda _: None, check=lambda: None)
    assert target.writes == []
    assert first.root != whole.root


def test_verifying_reads_all_or_the_same_sample(repository, disk, back_up):
    root = back_up(disk(noise(64) + bytes(BLOCK)), repository).root
    quiet = {"on_progress": lambda _: None}

    assert verify_disk(repository, root, **quiet) == (64, 64 * BLOCK)
    some = verify_disk(repository, root, sample=0.5, **quiet)
    assert 10 < some[0] < 54
    assert verify_disk(repository, root, sample=0.5, **quiet) == some
    assert verify_disk(repository, root, sample=0.0, **quiet) == (0, 0)
    with pytest.raises(UsageError):
        verify_disk(repository, root, sample=2, **quiet)


def test_verifying_finds_a_damaged_block(store, repository, disk, back_up, reopen):
    root = back_up(disk(noise(8)), repository).root
    key = max(store.list("packs/"), key=lambda blob: blob.size).key
    blob = bytearray(store.get(key))
    blob[3 * BLOCK] ^= 1
    store.replace(key, blob)

    with pytest.raises(CorruptError, match=r"disk, byte \d+: pack .*does not match its digest"):
        verify_disk(reopen(store), root, on_progress=lambda _: None)
