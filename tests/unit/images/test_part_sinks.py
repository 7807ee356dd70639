"""Files in parts: whatever is written arrives once, in memory that does not grow, and a failure ends it soon."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import StoreError
from vmkeep.images import partsinks
from vmkeep.images.partsinks import PartSink

PART = 8


class MemoryParts:
    """Keeps the parts of one file."""

    what = "a file"

    def __init__(self, fails_at=None):
        self.sent = {}
        self.size = None
        self._fails_at = fails_at

    def send(self, number, start, content):
        if number == self._fails_at:
            raise StoreError("no answer")
        assert number not in self.sent
        assert start == number * PART
        self.sent[number] = bytes(content)

    def end(self, size):
        self.size = size

    @property
    def content(self):
        return b"".join(self.sent[number] for number in sorted(self.sent))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(partsinks, "_PART", PART)
    monkeypatch.setattr(partsinks, "_MIB", 1)
    monkeypatch.setattr(partsinks, "_IN_FLIGHT", 4 * PART)


@given(st.lists(st.tuples(st.integers(0, 20), st.binary(max_size=30)), max_size=10), st.integers(0, 30))
def test_what_is_written_in_order_arrives_with_zeros_in_the_gaps(pieces, gap_at_end):
    expected, parts = bytearray(), MemoryParts()
    with ThreadPoolExecutor(2) as threads:
        sink = PartSink(parts, size=1000, threads=threads)
        for gap, data in pieces:
            expected += bytes(gap)
            sink.write_at(len(expected), data)
            expected += data
        expected += bytes(gap_at_end)
        sink.finish(len(expected))
    assert parts.content == expected
    assert all(len(part) == PART for number, part in parts.sent.items() if number < len(parts.sent) - 1)
    assert (parts.size, sink.sha256) == (len(expected), hashlib.sha256(expected).hexdigest())


def test_reserved_bytes_may_come_last_and_cost_only_their_parts():
    parts = MemoryParts()
    with ThreadPoolExecutor(2) as threads:
        sink = PartSink(parts, size=1000, threads=threads)
        sink.reserve(6, 4)
        for offset in range(16, 160, 16):
            sink.write_at(offset, b"d" * 16)
            assert len(sink._filling) <= 4
        sink.write_at(6, b"head")
        sink.finish(160)
    assert parts.content == bytes(6) + b"head" + bytes(6) + b"d" * 144
    assert sink.sha256 is None


def test_reserved_bytes_that_never_come_are_an_error():
    with ThreadPoolExecutor(2) as threads:
        sink = PartSink(MemoryParts(), size=100, threads=threads)
        sink.reserve(0, 4)
        with pytest.raises(ValueError, match="never written"):
            sink.finish(100)


class SlowParts(MemoryParts):
    """Takes its time, and counts the parts that are on their way."""

    def __init__(self):
        super().__init__()
        self.sink = None
        self.most = 0

    def send(self, number, start, content):
        time.sleep(0.001)  # so that a writer that waits for nobody is far ahead
        self.most = max(self.most, len(self.sink._sent) - len(self.sent))
        super().send(number, start, content)


def test_a_writer_that_is_faster_than_the_server_waits_so_that_few_parts_are_in_memory():
    parts = SlowParts()
    with ThreadPoolExecutor(1) as threads:
        parts.sink = PartSink(parts, size=1000, threads=threads)
        parts.sink.write_at(0, b"d" * PART * 100)
        parts.sink.finish(PART * 100)
    assert 1 <= parts.most <= 4 + 1


def test_a_part_that_cannot_be_sent_ends_the_file_soon():
    parts = MemoryParts(fails_at=1)
    with ThreadPoolExecutor(2) as threads:
        sink = PartSink(parts, size=80_000, threads=threads)
        with pytest.raises(StoreError, match="no answer"):
            sink.write_at(0, b"d" * 80_000)
    assert len(parts.sent) < 100
