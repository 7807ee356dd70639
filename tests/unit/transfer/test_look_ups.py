"""The blocks of a disk are looked up before any content is read, and no more often than memory demands."""

from __future__ import annotations

import random

import pytest

from vmkeep.transfer.reading import DiskReading
from vmkeep.transfer.stored_blocks import StoredBlocks

BLOCK = 65536


class Counted:
    """Blocks to read, and how often somebody began to go through them."""

    def __init__(self, blocks):
        self._blocks = blocks
        self.times = 0

    def __iter__(self):
        self.times += 1
        return iter(self._blocks)


@pytest.fixture
def stored(repository, disk, back_up):
    """Store a disk of eight blocks, of which two are alike, and return its map."""
    content = random.Random(7).randbytes(7 * BLOCK)
    return repository.open_map(back_up(disk(content + content[:BLOCK]), repository).root)


def test_a_disk_whose_blocks_fit_into_one_window_is_looked_up_once(repository, stored):
    chosen = Counted(list(stored.blocks()))
    found = set()
    reading = DiskReading(
        stored,
        repository.open_blocks(),
        what="disk",
        phase="restore",
        on_progress=lambda _: None,
        check=lambda: None,
        chosen=chosen,
    )
    reading.run(lambda block, _content: found.add(block))

    assert found == set(range(8))
    assert chosen.times == 1


@pytest.mark.parametrize("window", [1, 3, 8])
def test_a_count_changes_nothing_about_the_frames_of_any_window(repository, stored, window):
    def frames(keep):
        blocks = StoredBlocks(stored, repository.open_blocks(), what="disk")
        counted = blocks.count(window, keep=keep)
        return counted, list(blocks.frames(window)), list(blocks.frames(window))

    assert frames(keep=True) == frames(keep=False)
    assert frames(keep=True)[1] == frames(keep=True)[2], "a second look finds the same"
