"""Neighbouring blocks are one write, and no block is lost, moved or written twice by that."""

from __future__ import annotations

import random

import pytest

from tests.unit.transfer.conftest import BLOCK
from vmkeep.transfer.writing import restore_disk

SIZE = 40 * BLOCK + 512


@pytest.fixture
def write(repository, disk, back_up):
    content = bytearray(random.Random(0).randbytes(SIZE))
    content[10 * BLOCK : 12 * BLOCK] = bytes(2 * BLOCK)
    content[20 * BLOCK : 21 * BLOCK] = content[:BLOCK]
    root = back_up(disk(content), repository).root

    def run(at_most):
        target = disk(bytes(SIZE))
        done = restore_disk(
            repository, root, target, fresh=True, at_most=at_most, on_progress=lambda _: None, check=lambda: None
        )
        assert target.content == content
        assert done == (39 * BLOCK - BLOCK + 512, 0)
        covered = sorted(block for start, length in target.writes for block in range(start, start + length, BLOCK))
        assert covered == sorted(set(covered)), "a block was written twice"
        return target.writes

    return run


def test_neighbours_are_written_at_once_up_to_the_best_size(write):
    alone, joined = write(None), write(4 * BLOCK)

    assert len(alone) == 39
    assert len(joined) < 25
    assert max(length for _, length in joined) == 4 * BLOCK


@pytest.mark.parametrize("at_most", [1, BLOCK])
def test_a_write_that_holds_less_than_two_blocks_is_one_block(write, at_most):
    assert len(write(at_most)) == 39
