"""The filter of a segment: it tells most misses, whatever range the segment has, and never hides what is there."""

from __future__ import annotations

import mmap
import os
import random
import struct
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmkeep.errors import CorruptError
from vmkeep.repository.frames.digests import Kind
from vmkeep.repository.frames.packs import PackContents
from vmkeep.repository.index.columns import columns_of, encode
from vmkeep.repository.index.largesegments import LargeSegment
from vmkeep.repository.index.segments import Segment
from vmkeep.repository.index.smallsegments import encode_few

TOP = (1 << 64) - 1
RULE = 28
"""Where in a segment its filter rule is."""


def pack_of(prefixes):
    count = len(prefixes)
    return PackContents(
        pack_id=b"p" * 16,
        kind=Kind.BLOCK,
        offsets=array("I", range(32, 32 + count)),
        lengths=array("I", [1] * count),
        raw_lengths=array("I", [1] * count),
        digests=b"".join(digest_of(prefix) for prefix in prefixes),
        checksum=0,
    )


def digest_of(prefix):
    return prefix.to_bytes(8, "big") * 4


def content_of(prefixes):
    return encode(columns_of([pack_of(prefixes)]))


def by_the_old_rule(content, *, words=None):
    """The same segment with a filter whose words belong to ranges of all digests, as it was written once."""
    magic, entries, now, packs, _ = struct.unpack_from("<8sQQII", content)
    words = words or now
    prefixes = struct.unpack_from(f"<{entries}Q", content, 32 + 8 * now)
    filled = [0] * words
    for prefix in prefixes:
        for shift in (0, 6, 12, 18):
            filled[(prefix >> 32) * words >> 32] |= 1 << (prefix >> shift & 63)
    rest = content[32 + 8 * now :]
    return struct.pack("<8sQQII", magic, entries, words, packs, 0) + struct.pack(f"<{words}Q", *filled) + rest


def from_file(content, name="segment"):
    """The segment as a large one, after bytes that are not its own."""
    file = os.memfd_create(name)
    os.write(file, b"12345678" + content)
    return LargeSegment(file, start=8)


def all_found(segment, prefixes):
    digests = np.frombuffer(b"".join(map(digest_of, prefixes)), np.uint8).reshape(-1, 32)
    return (
        all(segment.holds(prefix, digest_of(prefix)) for prefix in prefixes)
        and all(segment.find(digest_of(prefix)) is not None for prefix in prefixes)
        and (segment.rows(digests) >= 0).all()
    )


anywhere = st.integers(0, TOP)
near = st.builds(
    lambda base, by: min(max(base + by, 0), TOP), st.sampled_from([0, 1 << 32, 1 << 63, TOP]), st.integers(-40, 40)
)
narrow = st.builds(
    lambda bits, low: (5 << 60) + (low & (1 << bits) - 1), st.sampled_from([1, 31, 32, 33, 50]), anywhere
)


@given(st.lists(anywhere | near, max_size=80) | st.lists(near, max_size=80) | st.lists(narrow, max_size=80))
@example([0, TOP])
@example([TOP])
@example([7] * 30)
@example([0, (1 << 32) - 1])
@example([0, 1 << 32])
@example([1, 1 << 63, TOP])
def test_a_filter_hides_nothing_whatever_the_prefixes(held):
    content = content_of(held)

    assert encode_few([pack_of(held)]) == content
    for made in (content, by_the_old_rule(content), by_the_old_rule(content, words=1)):
        assert all_found(Segment(made), held)
        assert all_found(from_file(made), held)


@given(st.lists(anywhere | near | narrow, max_size=40), st.lists(anywhere | near | narrow, max_size=40))
def test_one_by_one_and_many_at_a_time_find_the_same_by_either_rule(held, asked):
    digests = np.frombuffer(b"".join(map(digest_of, asked)), np.uint8).reshape(-1, 32)
    content = content_of(held)
    for made in (content, by_the_old_rule(content)):
        for segment in (Segment(made), from_file(made)):
            known = [prefix in held for prefix in asked]
            assert [segment.holds(prefix, digest_of(prefix)) for prefix in asked] == known
            assert [segment.find(digest_of(prefix)) is not None for prefix in asked] == known
            assert (segment.rows(digests) >= 0).tolist() == known


@pytest.mark.parametrize("bits", [64, 63, 62, 57, 48, 33])
def test_a_filter_tells_99_of_100_misses_in_a_range_of_any_width(monkeypatch, bits):
    chance = random.Random(bits)
    low = (3 << 60) % (1 << 64) if bits < 62 else 0
    held = [low + chance.getrandbits(bits) for _ in range(4000)]
    segment = Segment(content_of(held))
    searched = []
    monkeypatch.setattr(segment, "row_at", lambda prefix, digest: searched.append(prefix) or -1)
    asked = [low + chance.getrandbits(bits) for _ in range(20_000)]

    assert not any(segment.holds(prefix, digest_of(prefix)) for prefix in asked)
    assert len(searched) <= len(asked) // 100
    assert segment.words == 1000


def test_nothing_is_read_for_a_digest_out_of_range():
    held = [1 << 60, (1 << 60) + 5]
    segment = from_file(content_of(held))
    os.ftruncate(segment._file, 0)  # whatever is read now fails, or kills

    for prefix in (0, (1 << 60) - 1, (1 << 60) + 6, TOP):
        assert segment.find(digest_of(prefix)) is None


def test_a_miss_in_a_large_segment_reads_no_file(monkeypatch):
    chance = random.Random(1)
    segment = from_file(content_of([chance.getrandbits(57) for _ in range(4000)]))
    reads = []
    monkeypatch.setattr(os, "pread", lambda *asked: reads.append(asked) or bytes(asked[1]))
    for _ in range(1000):
        segment.find(digest_of(chance.getrandbits(57)))

    assert len(reads) < 50


@given(st.integers(2, (1 << 32) - 1))
def test_a_filter_rule_from_the_future_is_refused_by_its_number(rule):
    content = bytearray(content_of([1, 2, 3]))
    content[RULE : RULE + 4] = rule.to_bytes(4, "little")

    with pytest.raises(CorruptError, match=f"filter rule {rule}, unknown to this version"):
        Segment(content)


@given(st.lists(anywhere | near, min_size=1, max_size=60) | st.lists(narrow, min_size=1, max_size=60))
@example([0, TOP, 2863311531 << 31, *range(1, 10)])  # in another word if a bit more of it were looked at
def test_the_filter_is_what_the_format_says(held):
    """The formula of docs/format.md, which must not change."""
    first, last, words = min(held), max(held), -(-len(held) // 4)
    shift = max(0, (last - first).bit_length() - 32)
    expected = [0] * words
    for prefix in held:
        word = ((prefix - first) >> shift) * words // (((last - first) >> shift) + 1)
        for low in (0, 6, 12, 18):
            expected[word] |= 1 << (prefix >> low & 63)
    content = content_of(held)

    assert struct.unpack_from("<8sQQII", content) == (b"VKINDEX\0", len(held), words, 1, 1)
    assert list(struct.unpack_from(f"<{words}Q", content, 32)) == expected


def test_giving_memory_back_leaves_the_filter_of_a_large_segment_where_it_is():
    chance = random.Random(3)
    segment = from_file(content_of([chance.getrandbits(64) for _ in range(60_000)]), "measured")
    assert sum(segment.filter) > 0
    assert sum(segment.prefixes) > 0
    segment.release()

    _, _, mapping = Path("/proc/self/smaps").read_text(encoding="utf-8").rpartition("/memfd:measured")
    resident = int(mapping.partition("\nRss:")[2].split()[0]) << 10
    assert segment.filter.nbytes <= resident <= segment.filter.nbytes + 2 * mmap.PAGESIZE


def test_the_filter_of_a_large_segment_outlives_giving_memory_back():
    chance = random.Random(2)
    held = [chance.getrandbits(64) for _ in range(20_000)]
    segment = from_file(content_of(held))
    segment.columns()
    segment.release()

    assert all_found(segment, held[:500])
