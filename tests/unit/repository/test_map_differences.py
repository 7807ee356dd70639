"""Two maps compared: what differs is what a block-by-block comparison finds, and equal pages are not read."""

import hypothesis.strategies as st
from hypothesis import given, settings

from tests.unit.repository.conftest import make_repository
from vmkeep.repository import ZERO

BLOCK = 65536


def stored(repository, writer, blocks, capacity_blocks, base=None):
    builder = repository.build_map(writer, capacity=capacity_blocks * BLOCK, base=base)
    for block, value in sorted(blocks.items()):
        builder.set(block, [bytes([value]) * 32])
    return builder.store()


disks = st.dictionaries(st.integers(0, 4999), st.integers(0, 3), max_size=30)


@settings(max_examples=60, deadline=None)
@given(disks, disks, st.sampled_from([1, 2, 64, 65, 200, 4096, 5000]), st.sampled_from([1, 64, 65, 4097, 5000]))
def test_differences_are_those_that_a_comparison_of_all_blocks_finds(old, new, old_size, new_size):
    old_size = min(old_size, new_size)
    repository = make_repository()
    old = {block: value for block, value in old.items() if block < old_size}
    new = {block: value for block, value in new.items() if block < new_size}
    with repository.open_writer(run="r") as writer:
        roots = [stored(repository, writer, old, old_size), stored(repository, writer, new, new_size)]
        writer.flush()
    before, after = (repository.open_map(root) for root in roots)

    expected = [
        (block, after.lookup(block))
        for block in range(new_size)
        if after.lookup(block) != (before.lookup(block) if block < old_size else ZERO)
    ]

    assert list(after.differences(before)) == expected
    assert list(after.differences(None)) == list(after.blocks())
    assert list(after.differences(repository.open_map(roots[1]))) == []


def test_pages_that_both_have_in_one_place_are_not_read():
    repository = make_repository()
    with repository.open_writer(run="r") as writer:
        first = stored(repository, writer, {block: block % 5 for block in range(0, 5000, 3)}, 5000)
        writer.flush()
        second = stored(repository, writer, {4321: 9}, 5000, base=repository.open_map(first))
        writer.flush()
    before, after = repository.open_map(first), repository.open_map(second)
    fetched = []
    for opened in (before, after):
        inner = opened._fetch
        opened._fetch = lambda digests, size, inner=inner: fetched.extend(digests) or inner(digests, size)

    assert [block for block, _ in after.differences(before)] == [4321]
    assert len(fetched) == 2 * after.shape.levels
