"""The superblock of the journal of ext3 and ext4: where its ring lies, where it begins, and which features it has."""

from __future__ import annotations

import struct
from typing import Final

from vmkeep.guest.crc32c import crc32c
from vmkeep.lateclass import dataclass

MAGIC: Final = 0xC03B3998
HEADER: Final = struct.Struct(">III")
_SUPERBLOCKS: Final = (3, 4)

_CHECKSUMS_V1: Final = 0x1  # a compatible feature
_REVOKES: Final = 0x1
SIXTY_FOUR_BIT: Final = 0x2
ASYNC_COMMIT: Final = 0x4
_CHECKSUMS_V2: Final = 0x8
CHECKSUMS_V3: Final = 0x10
FAST_COMMIT: Final = 0x20
_KNOWN: Final = _REVOKES | SIXTY_FOUR_BIT | ASYNC_COMMIT | _CHECKSUMS_V2 | CHECKSUMS_V3 | FAST_COMMIT

_CHECKSUM_OF_SUPERBLOCK: Final = slice(0xFC, 0x100)
_CRC32C: Final = 4
MOST_BLOCKS: Final = 1 << 22
"""Longest journal that is replayed: 16 GiB with blocks of 4 KiB. mke2fs makes none above 4 GiB by itself."""


class JournalError(Exception):
    """The journal cannot be replayed. The message is the end of a sentence that begins with its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSuper:
    """The facts of a journal's superblock. Places are numbers of blocks of the journal."""

    block_size: int
    blocks: int
    """Blocks of the ring's end, without the area of fast commits."""
    first: int
    """First block of the ring."""
    sequence: int
    """Number of the first transaction."""
    start: int
    """Block of the first transaction; 0: the journal is empty."""
    features: int
    seed: int
    """The checksum of the journal's UUID, with which all others begin."""
    has_sums: bool
    """A commit block may have the checksum of its transaction's blocks: version 1, which has no others."""

    @property
    def has_checksums(self) -> bool:
        """Whether each block has a checksum of its own: versions 2 and 3."""
        return bool(self.features & (_CHECKSUMS_V2 | CHECKSUMS_V3))

    @property
    def tag_size(self) -> int:
        """Bytes of a tag of a descriptor block, without a UUID."""
        if self.features & CHECKSUMS_V3:
            return 16
        size = 12 + (2 if self.features & _CHECKSUMS_V2 else 0)
        return size if self.features & SIXTY_FOUR_BIT else size - 4


def read_super(block: bytes, *, block_size: int, blocks: int) -> JournalSuper:
    """Read the superblock.

    :param block: the journal's first block.
    :param block_size: of the file system, in bytes.
    :param blocks: of the journal, by its inode.
    :raises JournalError: it is none, it contradicts itself, or vmkeep does not know its features.
    """
    magic, kind, _ = HEADER.unpack_from(block)
    if magic != MAGIC or kind not in _SUPERBLOCKS:
        raise JournalError("has no superblock")
    size, length, first, sequence, start = struct.unpack_from(">5I", block, 12)
    features = struct.unpack_from(">I", block, 0x28)[0] if kind == _SUPERBLOCKS[1] else 0
    unknown = features & ~_KNOWN
    if unknown:
        raise JournalError(f"has features that vmkeep does not know: 0x{unknown:x}")
    if size != block_size or length > blocks or not 0 < first < length or start >= length:
        raise JournalError("has a superblock that contradicts itself")
    if length > MOST_BLOCKS:
        raise JournalError(f"has {length} blocks, and vmkeep replays {MOST_BLOCKS} at most")
    if features & (_CHECKSUMS_V2 | CHECKSUMS_V3):
        _check_super(block)
    fast = (struct.unpack_from(">I", block, 0x54)[0] or 256) if features & FAST_COMMIT else 0
    if fast >= length - first:
        raise JournalError("has a superblock that contradicts itself")
    return JournalSuper(
        block_size=size,
        blocks=length - fast,
        first=first,
        sequence=sequence,
        start=start,
        features=features,
        seed=crc32c(block[0x30:0x40], 0xFFFFFFFF),
        has_sums=kind == _SUPERBLOCKS[1]
        and not features & (_CHECKSUMS_V2 | CHECKSUMS_V3)
        and bool(struct.unpack_from(">I", block, 0x24)[0] & _CHECKSUMS_V1),
    )


def _check_super(block: bytes) -> None:
    if block[0x50] != _CRC32C:
        raise JournalError(f"has checksums of the unknown kind {block[0x50]}")
    (stored,) = struct.unpack(">I", block[_CHECKSUM_OF_SUPERBLOCK])
    blank = bytearray(block[:1024])
    blank[_CHECKSUM_OF_SUPERBLOCK] = bytes(4)
    if crc32c(blank, 0xFFFFFFFF) != stored:
        raise JournalError("has a superblock with a wrong checksum")
