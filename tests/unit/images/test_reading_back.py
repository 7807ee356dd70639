"""Sample of a large file on S3 that is read back: its first part, and a share of all others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from vmkeep.errors import VerificationError
from vmkeep.images import partsinks, readingback
from vmkeep.images.partsinks import PartSink
from vmkeep.model.exports import ExportedDisk, ImageFormat, WrittenFile
from vmkeep.model.overwrite import Verify

PART, PARTS = 8, 2000
SIZE = PART * PARTS


class StoredParts:
    """A file on S3, and the parts of it that are read."""

    what = "web.raw"

    def __init__(self):
        self.stored = bytearray(SIZE)
        self.read_from = []

    def send(self, _number, start, content):
        self.stored[start : start + len(content)] = content

    def end(self, size):
        assert size == SIZE

    def read(self, start, length):
        self.read_from.append(start // PART)
        return bytes(self.stored[start : start + length])


@pytest.fixture
def written(monkeypatch):
    """A file of many small parts, each of other content, and what writes it."""
    monkeypatch.setattr(partsinks, "_PART", PART)
    monkeypatch.setattr(partsinks, "_MIB", 1)
    parts = StoredParts()
    with ThreadPoolExecutor(1) as threads:
        sink = PartSink(parts, size=SIZE, threads=threads)
        sink.write_at(0, b"".join(number.to_bytes(PART) for number in range(PARTS)))
        sink.finish(SIZE)
    return parts, sink


def read_back(sink, verify):
    draft = SimpleNamespace(folder=None, compare=lambda _name, chosen, count: sink.compare(chosen, count))
    disk = ExportedDisk(number=0, label="disk", device_key=1, capacity=SIZE, root="0" * 64, bytes_written=SIZE,
                        files=(WrittenFile(name="web.raw", size=SIZE),))  # fmt: skip
    return readingback.read_back(
        None, draft, disk, ImageFormat.RAW, verify, on_progress=lambda _: None, check=lambda: None, what="web"
    )


@pytest.mark.parametrize("all_below", [SIZE - 1, SIZE])
@pytest.mark.parametrize("verify", [Verify.SAMPLE, Verify.ALL])
def test_the_first_part_and_a_share_of_a_large_file_are_read_and_all_of_a_small_one(
    written, monkeypatch, all_below, verify
):
    parts, sink = written
    monkeypatch.setattr(readingback, "_ALL_BELOW", all_below)
    compared = read_back(sink, verify)
    assert compared == PART * len(parts.read_from)
    if verify is Verify.ALL or all_below == SIZE:
        assert parts.read_from == list(range(PARTS))
    else:
        assert parts.read_from[0] == 0
        assert PARTS / 128 < len(parts.read_from) < PARTS / 32


def test_a_part_of_the_sample_that_reads_back_otherwise_is_found(written, monkeypatch):
    parts, sink = written
    monkeypatch.setattr(readingback, "_ALL_BELOW", 0)
    read_back(sink, Verify.SAMPLE)
    parts.stored[parts.read_from[-1] * PART] ^= 1
    with pytest.raises(VerificationError, match=r"web\.raw: reads back something else"):
        read_back(sink, Verify.SAMPLE)
