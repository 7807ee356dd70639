"""The layout of an index segment: its bytes, and the columns that lie over them.

One blob is one frame of kind INDEX, not compressed, whose content is (little-endian, every column at a multiple
of 8):

    32 bytes        magic ``VKINDEX`` and a zero byte, u64 entries n, u64 filter words w, u32 packs p, u32 filter rule
    u64[w]          filter: for each entry, 4 bits are set in the word that the rule gives to its prefix
    u64[n]          prefixes: the first 8 bytes of each digest as a big-endian number, ascending
    [n][24]         the rest of each digest
    [p][24]         packs: id (16), u32 kind of their frames, u32 0
    u32[n]          pack: row in the table above
    u32[n]          offset of the frame in its pack
    u32[n]          length of the frame with its header

The filter has 16 bits for an entry, and its words lie in the order of the digests. A look-up that misses reads one
word (0.4 to 1 % of them go on); one that hits goes straight to its place. The rules are in
:mod:`vmkeep.repository.index.filters`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Protocol

from vmkeep.repository.frames import DIGEST_SIZE, ID_SIZE, Kind
from vmkeep.repository.index.filters import Scale, words_for

HEADER = struct.Struct("<8sQQII")
MAGIC = b"VKINDEX\0"
PREFIX_SIZE = 8
"""Bytes of a digest that serve as sort key of entries."""
REST_SIZE = DIGEST_SIZE - PREFIX_SIZE
PACK_ROW = struct.Struct("<16sII")
MAX_CONTENT = (1 << 31) - 1
"""Bytes of the largest segment that is written. The cryptography library encrypts no more at once."""
MAX_BLOB = 1 << 32
"""Bytes of the largest blob that is read as a segment. Before :data:`MAX_CONTENT`, only the length in a frame's header
bounded the segments of a repository without encryption."""


def content_size(entries: int, words: int, packs: int) -> int:
    """Return the bytes of a segment's content."""
    return HEADER.size + 8 * words + (DIGEST_SIZE + 12) * entries + PACK_ROW.size * packs


def fits(entries: int, packs: int) -> bool:
    """Return whether one segment may hold that many entries, which lie in that many packs."""
    return content_size(entries, words_for(entries), packs) <= MAX_CONTENT


class Location(NamedTuple):
    """The place of a frame. A tuple, because every successful look-up makes one."""

    pack: bytes
    kind: Kind
    offset: int
    length: int


class LaidOut(Protocol):
    """A segment's columns as views of its content; :class:`~vmkeep.repository.index.Segment` has them."""

    entries: int
    words: int
    packs: int
    first: int
    last: int
    scale: Scale
    filter: memoryview[int]
    prefixes: memoryview[int]
    rests: memoryview[int]
    table: memoryview[int]
    places: tuple[memoryview[int], memoryview[int], memoryview[int]]

    def pack(self, number: int) -> tuple[bytes, Kind]:
        """Return id and kind of the pack in one row of the pack table."""


assert PACK_ROW.size == ID_SIZE + 8
