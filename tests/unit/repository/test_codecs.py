"""Compression of blocks: each keeps its content, and those that cannot be compressed cost little."""

from __future__ import annotations

import random
import threading

import pytest

from vmkeep.repository.frames import codecs
from vmkeep.repository.frames.codecs import Codec, compress, decompress_into

SIZE = 256 << 10
NOISE = random.Random(1).randbytes(SIZE)
TEXT = b"a line that is there again and again\n" * (SIZE // 37)


def stored(*blocks: bytes) -> list[tuple[Codec, int]]:
    """Return codec and size of blocks that one new thread compresses after each other, and read each back."""
    found = []

    def work() -> None:
        for block in blocks:
            codec, payload = compress(Codec.ZSTD, block)
            out = bytearray(len(block))
            decompress_into(codec, payload, memoryview(out))
            assert out == block
            found.append((codec, len(payload)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(found) == len(blocks)
    return found


def test_a_block_behind_one_that_cannot_be_compressed_is_stored_as_small_as_elsewhere():
    (alone,) = stored(TEXT)

    assert stored(NOISE, NOISE, TEXT, TEXT) == [(Codec.NONE, SIZE), (Codec.NONE, SIZE), alone, alone]


@pytest.mark.parametrize(
    ("blocks", "tries"),
    [((TEXT, TEXT, NOISE), 3), ((NOISE, NOISE, NOISE, NOISE), 1), ((NOISE, TEXT, NOISE, NOISE), 3)],
    ids=["what shrinks", "a video", "both"],
)
def test_of_blocks_in_a_row_that_cannot_be_compressed_only_the_first_is_tried_in_earnest(monkeypatch, blocks, tries):
    begun = []

    class Counted:
        def __init__(self, *, level, **_given):
            self.inner, self.level = codecs.zstandard.backend_c.ZstdCompressor(level=level), level

        def compress(self, data):
            begun.append(self.level)
            return self.inner.compress(data)

    monkeypatch.setattr(codecs.zstandard, "ZstdCompressor", Counted)

    stored(*blocks)

    assert begun.count(1) == tries


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 2048])
def test_small_content_comes_back_also_behind_noise(size):
    assert len(stored(NOISE, NOISE[:size], TEXT[:size])) == 3
