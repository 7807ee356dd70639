"""Maps: equal disks have equal roots, and a map holds exactly what was set."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stored_maps import page_digests
from vmkeep.errors import CorruptError, UsageError
from vmkeep.model.extents import Extent
from vmkeep.repository.frames.digests import ZERO, Digester, Kind
from vmkeep.repository.maps.mapbuilder import MapBuilder
from vmkeep.repository.maps.maps import FAN_OUT, ROOT_SIZE, DiskMap, Shape, encode_root, parse_root

BLOCK = 65536


class Pages:
    """A writer that keeps pages in a dict, and counts them."""

    def __init__(self):
        self.pages: dict[bytes, bytes] = {}
        self.added = 0

    def add(self, kind, digest, raw):
        assert kind is Kind.PAGE
        self.added += digest not in self.pages
        self.pages[digest] = bytes(raw)

    def fetch(self, wanted, size):
        found = {digest: self.pages[digest] for digest in wanted}
        assert all(len(page) == size for page in found.values())
        return found

    def open(self, root):
        shape, top = parse_root(self.pages[bytes.fromhex(root)])
        return DiskMap(root, shape, top, self.fetch)

    def build(self, blocks, capacity, base=None, *, close=()):
        builder = MapBuilder(Shape(capacity=capacity, block_size=BLOCK), self, Digester(), base=base)
        for block in sorted(blocks):
            for bound in close:
                if bound <= block:
                    builder.close_below(bound)
            builder.set(block, [blocks[block]])
        return builder.store()


def name(number):
    return number.to_bytes(32, "big")


sizes = st.sampled_from([1, 2, 63, 64, 65, 4095, 4096, 4097, 300_000])


@st.composite
def disks(draw, capacity_blocks=None):
    count = draw(sizes) if capacity_blocks is None else capacity_blocks
    keys = st.integers(0, count - 1)
    return count, draw(st.dictionaries(keys, st.integers(1, 5).map(name), max_size=12))


@given(disks(), st.integers(0, BLOCK - 512), st.data())
def test_a_map_gives_back_what_was_set(disk, short, data):
    count, blocks = disk
    capacity = count * BLOCK - short // 512 * 512
    pages = Pages()
    root = pages.build(blocks, capacity, close=data.draw(st.lists(st.integers(0, count), max_size=3)))
    opened = pages.open(root)

    assert dict(opened.blocks()) == blocks
    assert [block for block, _ in opened.blocks()] == sorted(blocks)
    asked = [*blocks, *data.draw(st.lists(st.integers(0, count - 1), max_size=5))]
    assert all(opened.lookup(block) == blocks.get(block, ZERO) for block in asked)
    first, stop = sorted((data.draw(st.integers(0, count)), data.draw(st.integers(0, count))))
    assert dict(opened.blocks(first, stop)) == {b: d for b, d in blocks.items() if first <= b < stop}
    covered = {b for e in opened.stored_extents() for b in range(e.start // BLOCK, -(-e.stop // BLOCK))}
    assert covered == set(blocks)


@given(disks(), st.data())
def test_equal_disks_have_equal_roots_however_they_were_made(disk, data):
    count, blocks = disk
    detour = data.draw(disks(count))[1]
    pages = Pages()
    capacity = count * BLOCK
    base = pages.open(pages.build(detour, capacity))
    undo = {block: blocks.get(block, ZERO) for block in {*detour, *blocks}}

    assert pages.build(undo, capacity, base) == pages.build(blocks, capacity)


@given(disks(), st.data())
def test_different_disks_have_different_roots(disk, data):
    count, blocks = disk
    other = data.draw(disks(count))[1]
    pages = Pages()

    same = pages.build(blocks, count * BLOCK) == pages.build(other, count * BLOCK)
    assert same == (blocks == other)
    assert pages.build(blocks, count * BLOCK) != pages.build(blocks, count * BLOCK - 512)


@settings(max_examples=60)
@given(disks(), sizes, st.data())
def test_a_grown_disk_shares_its_parents_tree(disk, more, data):
    count, blocks = disk
    pages = Pages()
    base = pages.open(pages.build(blocks, count * BLOCK))
    grown = count + more
    changed = data.draw(st.dictionaries(st.integers(0, grown - 1), st.integers(1, 5).map(name), max_size=5))

    root = pages.build(changed, grown * BLOCK, base)

    assert root == pages.build(blocks | changed, grown * BLOCK)


def test_a_change_writes_one_page_per_level_whatever_the_disks_size():
    pages = Pages()
    blocks = {number * 997: name(number + 1) for number in range(4000)}
    base = pages.open(pages.build(blocks, 4_000_000 * BLOCK))
    pages.added = 0
    pages.build({1_234_567: name(77)}, 4_000_000 * BLOCK, base)

    assert pages.added == base.shape.levels + 1


def test_an_unchanged_disk_writes_nothing():
    pages = Pages()
    root = pages.build({5: name(5), 70_000: name(6)}, 100_000 * BLOCK)
    pages.added = 0

    assert pages.build({5: name(5)}, 100_000 * BLOCK, pages.open(root)) == root
    assert pages.added == 0


def test_memory_of_a_running_copy_does_not_grow_with_the_disk():
    pages = Pages()
    builder = MapBuilder(Shape(capacity=1_000_000 * BLOCK, block_size=BLOCK), pages, Digester())
    most = 0
    for block in range(0, 1_000_000, 50):
        builder.set(block, [name(block + 1)])
        if block % 10_000 == 0:
            builder.close_below(block)
            most = max(most, len(builder._open))

    assert most < 10_000 // FAN_OUT + 20


def test_a_map_can_be_stored_in_the_middle_and_built_on():
    pages = Pages()
    builder = MapBuilder(Shape(capacity=10_000 * BLOCK, block_size=BLOCK), pages, Digester())
    builder.set(3, [name(1)])
    middle = builder.store()
    builder.set(9_000, [name(2)])
    builder.close_below(9_500)
    later = builder.store()

    assert dict(pages.open(middle).blocks()) == {3: name(1)}
    assert dict(pages.open(later).blocks()) == {3: name(1), 9_000: name(2)}


def test_a_parent_that_was_larger_is_refused():
    pages = Pages()
    base = pages.open(pages.build({}, 10 * BLOCK))

    with pytest.raises(UsageError, match="in full"):
        pages.build({}, 9 * BLOCK, base)


@pytest.mark.parametrize(
    ("blocks", "levels"), [(0, 0), (1, 0), (2, 1), (64, 1), (65, 2), (4096, 2), (4097, 3), (1 << 24, 4)]
)
def test_levels_follow_from_the_number_of_blocks(blocks, levels):
    assert Shape(capacity=blocks * BLOCK, block_size=BLOCK).levels == levels


@given(st.binary(max_size=ROOT_SIZE + 5))
def test_hostile_bytes_are_no_root(data):
    with pytest.raises(CorruptError):
        parse_root(data)


@given(st.integers(0, 23), st.integers(0, 7))
def test_a_root_with_a_flipped_bit_describes_another_disk_or_is_refused(at, bit):
    shape = Shape(capacity=1 << 40, block_size=BLOCK)
    content = bytearray(encode_root(shape, ZERO))
    content[at] ^= 1 << bit
    try:
        assert parse_root(content)[0] != shape
    except CorruptError:
        pass


def test_an_empty_disk_is_one_root_page():
    pages = Pages()
    opened = pages.open(pages.build({}, 1 << 46))

    assert len(pages.pages) == 1
    assert list(opened.blocks()) == list(opened.stored_extents()) == []


def test_stored_extents_end_with_the_disk():
    pages = Pages()
    opened = pages.open(pages.build({0: name(1), 1: name(2), 3: name(3)}, 3 * BLOCK + 512))

    assert list(opened.stored_extents()) == [Extent(0, 2 * BLOCK), Extent(3 * BLOCK, 3 * BLOCK + 512)]


def test_no_page_is_stored_that_the_root_does_not_reach():
    pages = Pages()
    root = pages.build({number * 100: name(number + 1) for number in range(90)}, 10_000 * BLOCK)

    assert {*page_digests(pages.open(root)), bytes.fromhex(root)} == set(pages.pages)


@contextmanager
def counted(pages):
    calls = []
    fetch = pages.fetch
    pages.fetch = lambda wanted, size: calls.append(len(wanted)) or fetch(wanted, size)
    yield calls
    pages.fetch = fetch


def test_the_parents_pages_are_read_many_at_a_time():
    pages = Pages()
    count = 64 * 200
    root = pages.build({block: name(block + 1) for block in range(0, count, 32)}, count * BLOCK)
    with counted(pages) as calls:
        builder = MapBuilder(Shape(capacity=count * BLOCK, block_size=BLOCK), pages, Digester(), base=pages.open(root))
        builder.expect([Extent(0, count * BLOCK)])
        for block in range(0, count, 64):
            builder.set(block, [ZERO])

    assert len([call for call in calls if call]) < 10


@pytest.mark.parametrize("count", [1, 2, 64, 65, 64 * 64 + 1])
def test_what_is_cleared_is_zeros_whatever_was_there_before(count):
    pages = Pages()
    base = pages.open(pages.build({0: name(1)}, BLOCK))  # one block: the grown disk's first page is open at once
    capacity = count * BLOCK
    builder = MapBuilder(Shape(capacity=capacity, block_size=BLOCK), pages, Digester(), base=base)
    builder.set(count - 1, [name(2)])

    builder.clear([Extent(0, capacity)])

    assert builder.store() == pages.build({}, capacity)
