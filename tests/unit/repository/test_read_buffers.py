"""The buffers of a reading thread grow with what is read, and take no memory beyond that."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from vmkeep.repository import ReadBuffers

MIB = 1 << 20


def resident():
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


def test_a_large_buffer_takes_memory_only_where_something_was_read():
    buffers = ReadBuffers()
    before = resident()
    buffer = buffers.take(0, 256 * MIB)
    buffer[: 4 * MIB] = b"x" * (4 * MIB)

    assert resident() - before < 64 * MIB


@pytest.mark.parametrize("first", [1, 4096, 200_000, 4 * MIB])
def test_a_buffer_is_used_again_until_more_is_asked_for(first):
    buffers = ReadBuffers()
    buffers.take(0, first)[0] = 1
    again = buffers.take(0, first)
    larger = buffers.take(0, 3 * first)

    assert again[0] == 1
    assert len(larger) >= 3 * first
    larger[0] = 2
    assert again[0] == 1, "a view of the former buffer stays as it is"
    assert buffers.take(1, 1)[0] == 0, "stored and raw bytes have a buffer each"
